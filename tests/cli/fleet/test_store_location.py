"""Which store, and with which key: what is missing or wrong is one clear line, and nothing is made or changed by it."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from mesh_refresh.cli.fleet.support.store_location import StoreLocation, check_name
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.stores import Cipher
from tests.cli.conftest import mode
from tests.cli.fleet.conftest import OpenFleet
from tests.leaks.witness import Witness, planted

COMMANDS = [
    ("import", "-"),
    ("run", "--once"),
    ("status",),
    ("logins",),
    ("mfa", "user-7"),
    ("pause", "coinbase"),
    ("resume", "coinbase"),
    ("salvage", "user-7"),
    ("remove", "user-7"),
    ("key", "reseal"),
    ("migrate",),
]
MAKERS = ("import", "migrate")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    ran = fleet(*command, "-h")
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 110


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_must_be_named(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_STORE")
    ran = fleet(*command)
    assert ran.code == Exit.INVALID
    assert "--store" in ran.err
    assert "MESH_REFRESH_STORE" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_key_is_told_with_the_way_to_one(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    fleet.add("user-7")
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    ran = fleet(*command)
    assert ran.code == Exit.INVALID
    assert "mesh-refresh key generate" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_only_import_and_migrate_make_a_store(fleet: OpenFleet, command: tuple[str, ...], *, is_there: bool) -> None:
    """A path that is mistyped must not look like an empty fleet; nor must an empty file."""
    if is_there:
        fleet.file.touch(mode=0o600)
    ran = fleet(*command)
    assert (fleet.file.exists() and fleet.file.stat().st_size > 0) is (command[0] in MAKERS)
    if command[0] not in MAKERS:
        assert ran.code == Exit.INVALID
        assert f"There is no store at the path in MESH_REFRESH_STORE, {fleet.file}." in ran.err
        assert "`mesh-refresh import`, `migrate` and `serve --create` make a new store" in ran.err
    assert not Path("fleet.db.spool").exists()


def test_a_log_without_its_file_is_no_reason_to_make_a_new_one(fleet: OpenFleet) -> None:
    """The file was removed by mistake; what was written last is in its log still."""
    Path("fleet.db-wal").write_bytes(b"what was committed last")
    for command in COMMANDS:
        assert fleet(*command).code == Exit.STORE
    assert [path.name for path in fleet.cli.folder.iterdir()] == ["fleet.db-wal"]


@pytest.mark.parametrize(
    "name", ["A" * 44, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwbGFudGVkIn0.planted", "no/such", "1//0secret"]
)
def test_what_may_be_no_path_is_not_shown(fleet: OpenFleet, name: str) -> None:
    """A token that got into the wrong variable, say."""
    ran = fleet("status", "--store", name)
    assert ran.code == Exit.INVALID
    assert "There is no store at the path in --store, which is not shown because it may be a key." in ran.err
    assert name not in ran.err


@pytest.mark.parametrize(
    "name", ["no/such.db", "folder/fleet", "folder/no/such", "./fleet", "fleet.data", "A" * 50 + ".db"]
)
def test_a_path_that_is_not_there_is_shown(fleet: OpenFleet, name: str) -> None:
    Path("folder").mkdir()
    for given in (name, f"sqlite:///{name}", Path(name).absolute()):
        ran = fleet("status", "--store", given)
        assert ran.code == Exit.INVALID
        assert f"There is no store at the path in --store, {Path(name).absolute()}." in ran.err


NO_STORES = [
    "host=db.internal user=fleet password=planted-secret",
    " password = 'planted-secret' host=db",
    "password=planted-secret",
    "fleet password=planted-secret",
    "Data Source=db;Password=planted-secret",
    "db.internal/fleet?user=fleet&password=planted-secret",
    "postgresql:/fleet:planted-secret@db/fleet",
    "postgresql:fleet:planted-secret@db/fleet",
    "postgres//planted-secret@db/fleet",
    "postgres//db/planted-secret",
    "postgresqlx://fleet:planted-secret@db/fleet",
    "POSTGRESQL://fleet:planted-secret@db/fleet",
    " postgresql://fleet:planted-secret@db/fleet",
    "'postgresql://fleet:planted-secret@db/fleet'",
    "postgresql+asyncpg://fleet:planted-secret@db/fleet",
    "mysql://fleet:planted-secret@db/fleet",
    "https://example.com/planted-secret",
    "://fleet:planted-secret@db/fleet",
    "//fleet:planted-secret@db/fleet",
    "//planted-secret@db/fleet",
    "fleet:planted-secret@db/fleet",
    "planted-secret@db/fleet",
    "db:5432/planted-secret",
    "file:planted-secret.db",
    "sqlite:///host=db password=planted-secret",
    "sqlite:///",
    "-planted-secret".ljust(43, "x") + "=",
]


@pytest.mark.parametrize("name", NO_STORES)
def test_what_is_no_path_and_no_url_is_refused_and_makes_no_file(fleet: OpenFleet, name: str) -> None:
    """SQLite would make one of that name, with the password in it."""
    for command in COMMANDS:
        ran = fleet(*command, f"--store={name}")
        assert ran.code == Exit.INVALID
        assert re.fullmatch(r"\S+ The name in --store looks like .*\./NAME.*postgresql://USER@HOST.*\n", ran.err)
        assert "planted-secret" not in ran.err + ran.out
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_STORE", name)
    ran = fleet("run", "--once")
    assert ran.code == Exit.INVALID
    assert "The name in MESH_REFRESH_STORE looks like" in ran.err
    for stores, which in (((name, "other.db"), "FROM"), (("fleet.db", name), "TO")):
        ran = fleet("copy", "--", *stores)
        assert ran.code == Exit.INVALID
        assert f"The name in {which} looks like" in ran.err
        assert "planted-secret" not in ran.err
    assert not list(fleet.cli.folder.iterdir())


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgres+psycopg"])
def test_a_scheme_that_names_a_driver_is_named(fleet: OpenFleet, scheme: str) -> None:
    ran = fleet("status", "--store", f"{scheme}://fleet:planted-secret@db/fleet")
    assert ran.code == Exit.INVALID
    assert f"a URL that begins with {scheme}" in ran.err
    assert "planted-secret" not in ran.err


@pytest.mark.parametrize("command", [it for it in COMMANDS if it[0] != "import"])
def test_a_file_with_two_names_is_refused_in_words(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    """Nothing is made beside it, and nothing is written."""
    fleet.add("user-7")
    before = fleet.file.read_bytes()
    Path("other.db").hardlink_to("fleet.db")
    for name in ("fleet.db", "other.db"):
        ran = fleet(*command, "--store", name)
        assert ran.code == Exit.STORE
        assert complaints(ran.err) == 1
        assert f"The store {Path(name).absolute()} has 2 names (hard links)" in ran.err
        assert "Mount the folder that holds it instead." in ran.err
    assert fleet.file.read_bytes() == before


@pytest.mark.parametrize("command", [it for it in COMMANDS if it[0] not in ("import", "pause", "resume")])
def test_a_connection_string_without_quotes_is_not_repeated(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    ran = fleet(*command, "--store", "host=db", "user=fleet", "password=planted-secret")
    assert ran.code == Exit.INVALID
    assert "unexpected extra arguments\n" in ran.err
    assert "planted-secret" not in ran.err


def test_a_url_in_the_place_of_the_command_is_not_repeated(fleet: OpenFleet) -> None:
    ran = fleet("postgresql://fleet:planted-secret@db/fleet", "status")
    assert ran.code == Exit.INVALID
    assert "No such command.\n" in ran.err
    assert "planted-secret" not in ran.err
    assert "No such command 'statsu'. Did you mean 'status'?" in fleet("statsu").err


@pytest.mark.parametrize(
    "name",
    [
        "fleet", "fleet.db", "my fleet.db", "fleet@prod.db", "fleet-2=.db", "folder/fleet@prod.db", "folder//fleet.db",
        "postgres/fleet.db", "folder/host=1.db", "./host=1.db", "./a:b@c.db", "../{folder}/a=b.db", "./password=x y.db",
        "{absolute}/host=1 password=2:3.db", "sqlite:///fleet.db", "sqlite:///{absolute}/host=1.db", "C:\\x.db",
    ],
)  # fmt: skip
def test_a_path_is_one_whatever_it_is_called(fleet: OpenFleet, name: str) -> None:
    for folder in ("folder", "postgres"):
        Path(folder).mkdir()
    name = name.format(absolute=fleet.cli.folder, folder=fleet.cli.folder.name)
    assert fleet("migrate", "--store", name).code == 0
    assert Path(name.removeprefix("sqlite:///")).is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_another_key_is_refused_and_nothing_is_changed(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    fleet.add("user-7")
    before = fleet.login("user-7")
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", Cipher.generate_key())
    ran = fleet(*command, stdin=fleet.line("user-7", fleet.fake.login("coinbase")))
    assert ran.code == Exit.STORE
    assert "MESH_REFRESH_KEYS" in ran.err
    assert fleet.login("user-7") == before
    assert not fleet.fake.requests


def test_what_is_no_key_is_not_shown(fleet: OpenFleet) -> None:
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", f"{fleet.key},planted-secret")
    ran = fleet("run")
    assert ran.code == Exit.INVALID
    assert "MESH_REFRESH_KEYS" in ran.err
    assert "planted-secret" not in ran.err


@pytest.mark.parametrize("variable", ["MESH_REFRESH_KEYS", "MESH_REFRESH_KEY"])
def test_one_key_or_several_open_the_store(fleet: OpenFleet, variable: str) -> None:
    fleet.add("user-7")
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    fleet.cli.monkeypatch.setenv(variable, f" {Cipher.generate_key()} , {fleet.key}")
    assert fleet("status").code == 0


def test_the_option_goes_before_the_variable(fleet: OpenFleet) -> None:
    fleet("import", "-", "--store", "other.db", stdin=fleet.line("user-7", fleet.fake.login("coinbase")))
    assert Path("other.db").exists()
    assert not fleet.file.exists()


def test_the_file_is_for_its_owner_only(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert mode(fleet.file) == 0o600


def test_a_file_that_everybody_can_read_is_remarked_on(fleet: OpenFleet) -> None:
    """And left as it is: who made it so may have had a reason. A group may be meant to share it."""
    fleet.add("user-7")
    for bits, told in ((0o600, False), (0o660, False), (0o644, True)):
        fleet.file.chmod(bits)
        ran = fleet("status")
        assert ran.code == 0
        assert (f"other users can read the store's files: chmod 600 {fleet.file}" in ran.err) is told
        assert mode(fleet.file) == bits


def test_what_lies_beside_the_file_is_remarked_on_too(fleet: OpenFleet) -> None:
    """A log that was made when others could read the file stays so; and a folder that other users can write to."""
    fleet.add("user-7")
    with closing(sqlite3.connect(fleet.file)) as other:
        with other:
            other.execute("UPDATE login SET due_at = due_at")
        Path("fleet.db-wal").chmod(0o644)
        assert f"chmod 600 {fleet.file}-wal\n" in fleet("status").err
    assert fleet("status").err == ""
    fleet.cli.folder.chmod(0o777)
    assert f"other users can write to {fleet.cli.folder}, and replace the store or its log" in fleet("status").err
    fleet.cli.folder.chmod(0o700)


def test_a_link_to_the_file_has_the_spool_of_the_file(fleet: OpenFleet) -> None:
    """What waits there is taken up at the next start, by any name."""
    Path("link.db").symlink_to("fleet.db")
    spools = {StoreLocation(name).spool(None) for name in ("fleet.db", "link.db", "./fleet.db", str(fleet.file))}
    assert spools == {Path(f"{fleet.file}.spool")}


def test_plain_text_must_be_said(fleet: OpenFleet) -> None:
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    line = fleet.line("user-7", fleet.fake.login("coinbase"))
    assert fleet("import", "-", stdin=line).code == Exit.INVALID
    assert fleet("import", "-", "--plaintext", stdin=line).code == 0
    assert json.loads(fleet("status", "--plaintext", "--json").out)["logins"] == 1
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", fleet.key)
    ran = fleet("status")
    assert ran.code == Exit.STORE
    assert "--plaintext" in ran.err


def test_plain_text_does_not_open_what_is_sealed(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert fleet("status", "--plaintext").code == Exit.INVALID, "a key, and none: which of both?"
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    ran = fleet("status", "--plaintext")
    assert ran.code == Exit.STORE
    assert "is sealed" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    fleet: OpenFleet, command: tuple[str, ...]
) -> None:
    ran = fleet(*command, "--store", "postgres://u:planted-secret@127.0.0.1:9/fleet")
    assert ran.code == Exit.TRY_AGAIN
    assert "127.0.0.1:9/fleet" in ran.err
    assert "planted-secret" not in ran.err + ran.out


@pytest.mark.parametrize("command", [it for it in COMMANDS if it[0] in MAKERS])
def test_a_folder_that_is_not_there_is_no_reason_to_run_it_again(fleet: OpenFleet, command: tuple[str, ...]) -> None:
    ran = fleet(*command, "--store", "no/such.db")
    assert ran.code == Exit.STORE
    assert "No such file or directory" in ran.err


def test_a_file_that_is_no_store_is_left_as_it_is(fleet: OpenFleet) -> None:
    fleet.file.write_bytes(b"something else entirely, and long enough to be looked at\n" * 20)
    before = fleet.file.read_bytes()
    for command in COMMANDS:
        ran = fleet(*command)
        assert ran.code == Exit.STORE
        assert complaints(ran.err) == 1
    assert fleet.file.read_bytes() == before


def complaints(err: str) -> int:
    """How many lines there are but the one in which a worker says with what it begins."""
    return sum(" INFO mesh-refresh " not in line for line in err.splitlines())


def test_looking_needs_no_keys_of_mesh(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    for name in ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET", "MESH_BASE_URL"):
        fleet.cli.monkeypatch.delenv(name)
    for command in (("status",), ("logins",), ("pause", "--all"), ("resume", "--all"), ("key", "reseal")):
        assert fleet(*command).code == 0
    for command in (("run", "--once"), ("run",), ("mfa", "user-7")):
        ran = fleet(*command)
        assert ran.code == Exit.INVALID
        assert "MESH_CLIENT_ID and MESH_CLIENT_SECRET" in ran.err
    assert fleet("remove", "user-7", "--yes").code == 0


def test_a_spool_without_a_home_is_told(fleet: OpenFleet) -> None:
    """Without HOME and without an entry for the user, there is no place for the spool of a database."""

    def nobody(_: int) -> NoReturn:
        raise KeyError

    fleet.cli.monkeypatch.setattr("pwd.getpwuid", nobody)
    for variable in ("HOME", "XDG_STATE_HOME"):
        fleet.cli.monkeypatch.delenv(variable, raising=False)
    ran = fleet("remove", "user-7", "--yes", "--plaintext", "--store", "postgres://u:planted@127.0.0.1:9/fleet")
    assert ran.code == Exit.INVALID
    assert "--spool" in ran.err
    assert "Traceback" not in ran.err
    assert "bug" not in ran.err


def test_the_scheme_of_another_library_is_named(fleet: OpenFleet) -> None:
    """And nothing else of the URL."""
    ran = fleet("migrate", "--store=postgresql+asyncpg://user:planted-secret@host/db")
    assert "a URL that begins with postgresql+asyncpg://" in ran.err
    assert "planted-secret" not in ran.err


@pytest.mark.parametrize("name", ["postgre://me:{}@host/db", "host=db password={}", "me:{}@host/db"])
def test_no_frame_of_the_refusal_shows_a_name(name: str) -> None:
    """A tool that reports errors with the locals of their frames would show a password."""
    witness, secret = Witness(), planted("password")
    witness.also(secret)
    with pytest.raises(Failure) as refused:
        check_name(name.format(secret), "--store")
    witness.look_at(refused.value)
    assert not witness.found

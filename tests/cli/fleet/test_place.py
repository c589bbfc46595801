"""Which store, and with which key: what is missing or wrong is one clear line, and nothing is made or changed by it."""

import json
from pathlib import Path

import pytest

from mesh_refresh.cli.exits import Exit
from mesh_refresh.stores import Cipher
from tests.cli.conftest import mode
from tests.cli.fleet.conftest import Fleet

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
MAKERS = ("import", "run", "migrate")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal(fleet: Fleet, command: tuple[str, ...]) -> None:
    ran = fleet(*command, "-h")
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 110


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_must_be_named(fleet: Fleet, command: tuple[str, ...]) -> None:
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_STORE")
    ran = fleet(*command)
    assert ran.code == Exit.INVALID
    assert "--store" in ran.err
    assert "MESH_REFRESH_STORE" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_key_is_told_with_the_way_to_one(fleet: Fleet, command: tuple[str, ...]) -> None:
    fleet.add("user-7")
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    ran = fleet(*command)
    assert ran.code == Exit.INVALID
    assert "mesh-refresh key generate" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_only_import_and_run_make_a_store(fleet: Fleet, command: tuple[str, ...]) -> None:
    """A path that is mistyped must not look like an empty fleet."""
    ran = fleet(*command)
    assert fleet.file.exists() is (command[0] in MAKERS)
    if command[0] not in MAKERS:
        assert ran.code == Exit.INVALID
        assert f"There is no store at the path in MESH_REFRESH_STORE, {fleet.file}:" in ran.err


@pytest.mark.parametrize("name", ["A" * 43 + "=", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwbGFudGVkIn0.planted", "no/such.db"])
def test_what_may_be_no_path_is_not_shown(fleet: Fleet, name: str) -> None:
    """A key that got into the wrong variable, say."""
    ran = fleet("status", "--store", name)
    assert ran.code == Exit.INVALID
    assert "There is no store at the path in --store:" in ran.err
    assert name not in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_another_key_is_refused_and_nothing_is_changed(fleet: Fleet, command: tuple[str, ...]) -> None:
    fleet.add("user-7")
    before = fleet.login("user-7")
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", Cipher.generate_key())
    ran = fleet(*command, stdin=fleet.line("user-7", fleet.fake.login("coinbase")))
    assert ran.code == Exit.STORE
    assert "MESH_REFRESH_KEYS" in ran.err
    assert fleet.login("user-7") == before
    assert not fleet.fake.requests


def test_what_is_no_key_is_not_shown(fleet: Fleet) -> None:
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", f"{fleet.key},planted-secret")
    ran = fleet("run")
    assert ran.code == Exit.INVALID
    assert "MESH_REFRESH_KEYS" in ran.err
    assert "planted-secret" not in ran.err


@pytest.mark.parametrize("variable", ["MESH_REFRESH_KEYS", "MESH_REFRESH_KEY"])
def test_one_key_or_several_open_the_store(fleet: Fleet, variable: str) -> None:
    fleet.add("user-7")
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    fleet.cli.monkeypatch.setenv(variable, f" {Cipher.generate_key()} , {fleet.key}")
    assert fleet("status").code == 0


def test_the_option_goes_before_the_variable(fleet: Fleet) -> None:
    fleet("import", "-", "--store", "other.db", stdin=fleet.line("user-7", fleet.fake.login("coinbase")))
    assert Path("other.db").exists()
    assert not fleet.file.exists()


def test_the_file_is_for_its_owner_only(fleet: Fleet) -> None:
    fleet.add("user-7")
    assert mode(fleet.file) == 0o600


def test_a_file_that_everybody_can_read_is_remarked_on(fleet: Fleet) -> None:
    """And left as it is: who made it so may have had a reason. A group may be meant to share it."""
    fleet.add("user-7")
    for bits, told in ((0o600, False), (0o660, False), (0o644, True)):
        fleet.file.chmod(bits)
        ran = fleet("status")
        assert ran.code == 0
        assert ("others can read the store's file; chmod 600 it" in ran.err) is told
        assert mode(fleet.file) == bits


def test_plain_text_must_be_said(fleet: Fleet) -> None:
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    line = fleet.line("user-7", fleet.fake.login("coinbase"))
    assert fleet("import", "-", stdin=line).code == Exit.INVALID
    assert fleet("import", "-", "--plaintext", stdin=line).code == 0
    assert json.loads(fleet("status", "--plaintext", "--json").out)["logins"] == 1
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", fleet.key)
    ran = fleet("status")
    assert ran.code == Exit.STORE
    assert "plain text" in ran.err


def test_plain_text_does_not_open_what_is_sealed(fleet: Fleet) -> None:
    fleet.add("user-7")
    assert fleet("status", "--plaintext").code == Exit.INVALID, "a key, and none: which of both?"
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    ran = fleet("status", "--plaintext")
    assert ran.code == Exit.STORE
    assert "is sealed" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_cannot_be_reached_is_told_without_its_password(fleet: Fleet, command: tuple[str, ...]) -> None:
    ran = fleet(*command, "--store", "postgres://u:planted-secret@127.0.0.1:9/fleet")
    assert ran.code == Exit.TRY_AGAIN
    assert "127.0.0.1:9/fleet" in ran.err
    assert "planted-secret" not in ran.err + ran.out


def test_another_url_is_no_path(fleet: Fleet) -> None:
    assert fleet("run", "--store", "https://example.com/fleet").code == Exit.INVALID
    assert not list(fleet.cli.folder.iterdir())


def test_a_file_that_is_no_store_is_left_as_it_is(fleet: Fleet) -> None:
    fleet.file.write_bytes(b"something else entirely, and long enough to be looked at\n" * 20)
    before = fleet.file.read_bytes()
    for command in COMMANDS:
        ran = fleet(*command)
        assert ran.code == Exit.STORE
        assert ran.err.count("\n") == 1
    assert fleet.file.read_bytes() == before


def test_looking_needs_no_keys_of_mesh(fleet: Fleet) -> None:
    fleet.add("user-7")
    for name in ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET", "MESH_BASE_URL"):
        fleet.cli.monkeypatch.delenv(name)
    for command in (("status",), ("logins",), ("pause", "--all"), ("resume", "--all"), ("key", "reseal")):
        assert fleet(*command).code == 0
    for command in (("run", "--once"), ("run",), ("mfa", "user-7")):
        ran = fleet(*command)
        assert ran.code == Exit.INVALID
        assert "MESH_CLIENT_ID and MESH_CLIENT_SECRET" in ran.err
    assert fleet("remove", "user-7").code == 0

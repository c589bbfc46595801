"""A login that is sealed with a key that is not at hand hides none of the others, and what is said of it is true."""

import json

import pytest
from attrs import evolve

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from tests.cli.fleet.conftest import OpenFleet
from tests.cli.test_codes import person

PROBLEM = "cannot be opened with these keys"


@pytest.fixture
def mixed(fleet: OpenFleet) -> OpenFleet:
    """Three logins; the one in the middle was written by a process whose first key this one does not have."""
    fleet.add("user-1")
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", f"{Cipher.generate_key()},{fleet.key}")
    fleet.add("user-2", "vanguard", mfa=True)
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", fleet.key)
    fleet.add("user-3")
    return fleet


def test_the_others_are_listed_beside_it(mixed: OpenFleet) -> None:
    ran = mixed("logins")
    assert ran.code == Exit.STORE
    lines = [line.split() for line in ran.out.splitlines()[1:]]
    assert [(line[0], line[1], line[3]) for line in lines] == (
        [("user-1", "coinbase", "active"), ("user-2", "vanguard", "active"), ("user-3", "coinbase", "active")]
    )
    assert PROBLEM in ran.out.splitlines()[2]
    assert f"1 login {PROBLEM}: add the key that sealed it at the end of MESH_REFRESH_KEYS" in ran.err
    assert "Nothing was changed" not in ran.err


def test_in_json_it_is_a_document_of_its_own(mixed: OpenFleet) -> None:
    ran = mixed("logins", "--json")
    assert ran.code == Exit.STORE
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [(it["login"], it["broker"], it["state"], it["opened"]) for it in found] == [
        ("user-1", "coinbase", "active", True),
        ("user-2", "vanguard", "active", False),
        ("user-3", "coinbase", "active", True),
    ]
    assert found[1]["problem"] == PROBLEM


@pytest.mark.parametrize(
    ("options", "code", "ids"),
    [
        (["--broker", "coinbase"], 0, ["user-1", "user-3"]),
        (["--broker", "vanguard"], Exit.STORE, ["user-2"]),
        (["--state", "mfa_required"], 0, []),
        (["--state", "active", "--after", "user-1"], Exit.STORE, ["user-2", "user-3"]),
        (["--limit", "1"], 0, ["user-1"]),
        (["--limit", "1", "--after", "user-1"], Exit.STORE, ["user-2"]),
    ],
)
def test_it_is_chosen_by_what_the_store_shows_of_it(
    mixed: OpenFleet, options: list[str], code: int, ids: list[str]
) -> None:
    ran = mixed("logins", "--json", *options)
    assert ran.code == code
    assert [json.loads(line)["login"] for line in ran.out.splitlines()] == ids


def test_what_cannot_be_read_at_all_is_no_matter_of_keys(fleet: OpenFleet) -> None:
    fleet.add("user-1")
    fleet.add("user-2")

    async def spoil(store: SqliteStore) -> None:
        row = await store.read("user-1")
        assert row is not None
        text = Cipher([fleet.key]).seal('{"accounts": 7}', "login:user-1")
        assert await store.swap(evolve(row, sealed=text))

    fleet.store(spoil)
    ran = fleet("logins")
    assert ran.code == Exit.STORE
    assert "user-2" in ran.out
    assert "1 login cannot be read. The store is unchanged" in ran.err
    assert "key" not in ran.err


def test_it_can_be_removed(mixed: OpenFleet) -> None:
    assert mixed("remove", "user-2", "--yes").code == 0
    assert set(mixed.states()) == {"user-1", "user-3"}


def test_a_person_is_told_before_it_is_removed(mixed: OpenFleet) -> None:
    with person(mixed.cli, "remove", "user-2") as somebody:
        somebody.sees(rf"Delete user-2 \(vanguard\) and its tokens, which {PROBLEM}\?")
        somebody.types("y")
        somebody.leaves()
        assert somebody.process.returncode == 0
    assert set(mixed.states()) == {"user-1", "user-3"}


@pytest.mark.parametrize("command", [("mfa", "user-2"), ("salvage", "user-2")])
def test_commands_that_need_what_is_in_it_say_what_is_missing(mixed: OpenFleet, command: tuple[str, ...]) -> None:
    ran = mixed(*command)
    assert ran.code == Exit.STORE
    assert f"A login {PROBLEM}: add the key that sealed it at the end of MESH_REFRESH_KEYS" in ran.err
    assert "Nothing was changed" not in ran.err


def test_an_import_goes_on_beside_it(mixed: OpenFleet) -> None:
    lines = [mixed.line(f"user-{number}", mixed.fake.login("vanguard")) for number in (2, 4)]
    ran = mixed("import", "-", stdin="".join(lines))
    assert ran.code == Exit.STORE
    assert f"line 1: the store has this login, and it {PROBLEM}" in ran.err
    assert "1 added, 0 already known, 1 bad" in ran.err


def test_a_file_of_the_spool_with_another_key_is_named(fleet: OpenFleet) -> None:
    """The store itself is open then, and it is not said that it is not."""
    fleet.add("user-1")
    fleet.cli.folder.joinpath("fleet.db.spool").mkdir(0o700)
    sealed = Cipher([Cipher.generate_key()]).seal("something", "spool")
    fleet.cli.folder.joinpath("fleet.db.spool/one.settlement").write_bytes(sealed)
    ran = fleet.once("-q")
    assert ran.code == Exit.STORE
    assert "one.settlement of the spool is not sealed with any of these keys" in ran.err
    assert "The store does not open" not in ran.err


def test_the_others_are_sealed_anew_beside_it(mixed: OpenFleet) -> None:
    """It is named, and the exit code tells it; with its key behind the others, it goes too."""
    new = Cipher.generate_key()
    mixed.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", f"{new},{mixed.key}")
    ran = mixed("key", "reseal")
    assert ran.code == Exit.STORE
    assert "2 logins are sealed with the first key." in ran.err
    assert "1 login cannot be opened with these keys, and not changed:\nmesh-refresh: user-2\n" in ran.err
    assert "add the key that sealed it at the end of MESH_REFRESH_KEYS" in ran.err
    mixed.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", new)
    assert {it["login"] for it in map(json.loads, mixed("logins", "--json").out.splitlines()) if it["opened"]} == {
        "user-1",
        "user-3",
    }

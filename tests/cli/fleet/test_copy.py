"""`copy`: what it says before it begins, what became of moved logins, and the way back from a store that is lost."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper import Way
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from tests.cli.fleet.conftest import OpenFleet
from tests.cli.test_codes import person

pytestmark = pytest.mark.once


@pytest.fixture
def three(fleet: OpenFleet) -> OpenFleet:
    for number in range(3):
        fleet.add(f"user-{number}", access_lifetime=timedelta(hours=1))
    return fleet


def remove_from(path: str, fleet: OpenFleet, *login_ids: str) -> None:
    for login_id in login_ids:
        assert fleet("remove", "--yes", "--store", path, login_id).code == 0


def moving(fleet: OpenFleet) -> dict[str, str | None]:
    return {it["login"]: it["moving"] for it in fleet.listed()}


# Before it begins.


def test_it_says_what_it_will_do_and_does_nothing_unasked(three: OpenFleet) -> None:
    """Without a terminal it must be said; neither store is touched, and TO is not made."""
    ran = three("copy", "fleet.db", "other.db", stdin="y\n")
    assert ran.code == Exit.INVALID
    assert "nothing was moved. There is no terminal to ask at: give --yes." in ran.err
    assert "3 logins of FROM will move to TO, which is a new file." in ran.err
    assert not Path("other.db").exists()
    assert moving(three) == dict.fromkeys(("user-0", "user-1", "user-2"))
    assert three("copy", "--yes", "fleet.db", "other.db").err == "mesh-refresh: 3 logins moved.\n"
    assert (
        "0 logins of FROM will move to TO, which has 3 logins; 3 moved before."
        in three("copy", "fleet.db", "other.db").err
    )


@pytest.mark.parametrize(("said", "code", "state"), [("y", 0, Way.MOVED), ("n", 130, None), ("", 130, None)])
def test_a_person_is_asked(fleet: OpenFleet, said: str, code: int, state: Way | None) -> None:
    fleet.add("user-7")
    with person(fleet.cli, "copy", "fleet.db", "other.db") as somebody:
        somebody.sees("1 login of FROM will move")
        somebody.sees(r"Go on\? \[y/N\]")
        somebody.types(said)
        somebody.leaves()
        assert somebody.process.returncode == code
    assert moving(fleet) == {"user-7": state}
    assert Path("other.db").exists() is (state is not None)


def test_what_will_not_do_is_said_before_the_question(three: OpenFleet) -> None:
    """Keys of TO that are none, a TO that is sealed with other keys, and one store by two names."""
    three.cli.monkeypatch.setenv("MESH_REFRESH_TO_KEYS", "no key")
    ran = three("copy", "fleet.db", "other.db")
    assert ran.code == Exit.INVALID
    assert "MESH_REFRESH_TO_KEYS: This is not a key" in ran.err
    three.cli.monkeypatch.setenv("MESH_REFRESH_TO_KEYS", Cipher.generate_key())
    assert three("import", "--store", "other.db", "-", stdin="").code == 0
    assert three("copy", "fleet.db", "other.db").code == Exit.STORE
    three.cli.monkeypatch.delenv("MESH_REFRESH_TO_KEYS")
    Path("same.db").write_bytes(Path("fleet.db").read_bytes())
    ran = three("copy", "fleet.db", "same.db")
    assert ran.code == Exit.INVALID
    assert "a copy of the other's file" in ran.err
    assert three("copy", "--take-back", "--no-wait", "fleet.db", "same.db").code == Exit.INVALID


# What became of moved logins.


def test_what_was_removed_in_the_new_store_is_named(three: OpenFleet) -> None:
    """With the exit code 0: it was meant, most likely."""
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    remove_from("other.db", three, "user-0", "user-2")
    ran = three("copy", "--yes", "fleet.db", "other.db")
    assert ran.code == 0
    assert "2 logins at home in TO before, and no longer there: removed, or TO was restored" in ran.err
    assert re.findall(r"^mesh-refresh: (user-\d)$", ran.err, re.MULTILINE) == ["user-0", "user-2"]
    assert "nothing to move" not in ran.err


def test_a_new_store_in_the_place_of_a_lost_one_is_told(three: OpenFleet) -> None:
    """ "Nothing to move" would say that all is well."""
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    Path("other.db").unlink()
    ran = three("copy", "--yes", "-q", "fleet.db", "other.db")
    assert ran.code == Exit.STORE
    assert "3 logins moved to a third store before, and not in TO" in ran.err
    assert "mesh-refresh: user-0" in ran.err
    assert "--take-back" in ran.err


def test_a_restored_backup_is_the_same_store(three: OpenFleet) -> None:
    """It has the same id, and what was moved after it was made is named."""
    assert three("import", "--store", "other.db", "-", stdin="").code == 0
    Path("backup.db").write_bytes(Path("other.db").read_bytes())
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    Path("backup.db").rename("other.db")
    ran = three("copy", "--yes", "fleet.db", "other.db")
    assert ran.code == 0
    assert "3 logins at home in TO before" in ran.err


def test_a_long_list_is_cut(fleet: OpenFleet) -> None:
    lines = "".join(fleet.line(f"user-{it:02}", fleet.fake.login("coinbase")) for it in range(30))
    assert fleet("import", "-", "-q", stdin=lines).code == 0
    assert fleet("copy", "--yes", "-q", "fleet.db", "other.db").code == 0
    Path("other.db").unlink()
    told = fleet("copy", "--yes", "-q", "fleet.db", "other.db").err.splitlines()
    assert len([line for line in told if ": user-" in line]) == 20
    assert "mesh-refresh: and 10 more" in told


# TakeBack back.


def test_a_fleet_comes_back_from_a_lost_file(three: OpenFleet) -> None:
    """Asked first; and each login is refreshed again after a while."""
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    Path("other.db").unlink()
    ran = three("copy", "--take-back", "fleet.db", "other.db")
    assert ran.code == Exit.INVALID
    assert "nothing was taken back. There is no terminal" in ran.err
    assert "3 logins of FROM were moved, or are on their way. TO cannot be opened (there is no such file)" in ran.err
    assert "Stop the workers on TO first" in ran.err
    assert set(moving(three).values()) == {"moved"}
    ran = three("copy", "--take-back", "--yes", "--resend-after", "0s", "fleet.db", "other.db")
    assert ran.code == 0
    assert ran.err.startswith("mesh-refresh: 3 logins taken back")
    assert not Path("other.db").exists()
    assert set(moving(three).values()) == {None}
    assert three.account("user-0").last_error == "taken back"


def test_what_the_new_store_holds_is_left_there(three: OpenFleet) -> None:
    """It is named, and the exit code tells it; what it lacks comes back."""
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    remove_from("other.db", three, "user-1")
    ran = three("copy", "--take-back", "fleet.db", "other.db")
    assert "TO has 2 logins: logins in TO stay there; the others will be taken back. FROM has" in ran.err
    ran = three("copy", "--take-back", "--yes", "fleet.db", "other.db")
    assert ran.code == Exit.STORE
    assert "1 login taken back" in ran.err
    assert "2 logins in TO, and not taken back (`mesh-refresh copy TO FROM` moves logins back):" in ran.err
    assert moving(three) == {"user-0": "moved", "user-1": None, "user-2": "moved"}


def test_another_store_than_the_one_that_they_went_to_is_told(three: OpenFleet) -> None:
    """It lacks them all: a wrong name would take back a fleet that is at work."""
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    assert three("import", "--store", "third.db", "-", stdin="").code == 0
    assert (
        "TO is another store than the one that they moved to."
        in three("copy", "--take-back", "fleet.db", "third.db").err
    )


def test_a_store_that_cannot_be_opened_is_lost_too(three: OpenFleet) -> None:
    """A file that is damaged, say; the question has the reason."""
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    Path("other.db").write_bytes(b"something else\n" * 1_000)
    assert three("copy", "--yes", "fleet.db", "other.db").code == Exit.STORE
    ran = three("copy", "--take-back", "fleet.db", "other.db")
    assert re.search(r"TO cannot be opened \(The store \S+ is not a database", ran.err)
    assert three("copy", "--take-back", "--yes", "fleet.db", "other.db").code == 0
    assert set(moving(three).values()) == {None}


def test_the_id_of_a_store_outlives_a_change_of_keys(three: OpenFleet) -> None:
    """It is sealed with them."""
    assert three("copy", "--yes", "fleet.db", "other.db").code == 0
    new = Cipher.generate_key()

    async def changed() -> tuple[str, str]:
        async with SqliteStore.open("other.db", cipher=Cipher([new, three.key])) as store:
            before = store.store_id
            await store.reseal()
        async with SqliteStore.open("other.db", cipher=Cipher([new])) as store:
            return before, store.store_id

    before, after = asyncio.run(changed())
    assert before == after
    assert len(before) == 16

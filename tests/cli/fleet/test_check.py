"""`mesh-refresh check`: what is wrong with a store, and what to do about it."""

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore, migrating
from mesh_refresh.stores.sqlite.queries import migrations
from tests.cli.fleet.conftest import OpenFleet
from tests.keeper.making import brought, success

pytestmark = pytest.mark.once


def found(fleet: OpenFleet, code: Exit, *kinds: str) -> dict[str, Any]:
    """What it says in JSON. The file is as it was, and people are told a next step for each finding."""
    before = fleet.file.read_bytes()
    ran = fleet("check", "--json")
    assert (ran.code, ran.err) == (code, "")
    document: dict[str, Any] = json.loads(ran.out)
    assert [it["kind"] for it in document["findings"]] == list(kinds)
    assert document["ok"] is (code == 0)
    told = fleet("check")
    assert told.code == code
    assert told.out.count("Next: ") == len(kinds)
    assert all(it["next"] for it in document["findings"])
    assert fleet.file.read_bytes() == before
    return document


def reseal(fleet: OpenFleet, login_id: str, *, with_key: str | None = None) -> None:
    """Seal a login with another key, or damage it."""

    async def write(store: SqliteStore) -> bool:
        row = await store.read(login_id)
        assert row is not None
        damaged = row.sealed[:-1] + bytes([row.sealed[-1] ^ 1])
        sealed = damaged if with_key is None else Cipher([with_key]).seal("something", f"login:{login_id}")
        return await store.swap(evolve(row, sealed=sealed))

    assert fleet.store(write)


def test_a_sound_store(fleet: OpenFleet) -> None:
    """Nothing is written, and no spool is made."""
    fleet.add("user-7")
    fleet.add("user-8", "etoro", accounts=2)
    document = found(fleet, Exit.REFRESHED)
    assert (document["logins"], document["accounts"], document["unread_logins"]) == (2, 3, 0)
    assert "Nothing is wrong." in fleet("check").out
    assert [path.name for path in Path().iterdir()] == ["fleet.db"]


def test_logins_that_do_not_open_are_named(fleet: OpenFleet) -> None:
    for name in ("good", "other", "damaged"):
        fleet.add(name)
    reseal(fleet, "other", with_key=Cipher.generate_key())
    reseal(fleet, "damaged")
    document = found(fleet, Exit.STORE, "other_key", "unreadable_row")
    assert [it["logins"] for it in document["findings"]] == [["other"], ["damaged"]]
    assert (document["logins"], document["unread_logins"]) == (1, 2)


def test_a_store_of_another_key(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", Cipher.generate_key())
    found(fleet, Exit.STORE, "not_opened")


def test_a_store_of_an_older_version_is_not_upgraded(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    more = {**migrations(), 2: "CREATE TABLE more (n INTEGER);"}
    fleet.cli.monkeypatch.setattr(migrating, "migrations", lambda: more)
    document = found(fleet, Exit.STORE, "not_read")
    assert "mesh-refresh migrate" in document["findings"][0]["what"]


def test_a_damaged_file(fleet: OpenFleet) -> None:
    """A page of an index that was overwritten: everything can be read, and SQLite's own check finds it."""
    fleet.add("user-7")
    content = bytearray(fleet.file.read_bytes())
    where = content.rfind(b"coinbaseuser-7")  # in the index of brokers and ids
    content[where : where + 8] = b"coinbasf"
    fleet.file.write_bytes(content)
    document = found(fleet, Exit.STORE, "damaged")
    assert "login_broker" in document["findings"][0]["what"]
    assert document["logins"] == 1


def test_what_waits_in_the_spool(fleet: OpenFleet) -> None:
    """And what is set aside there, or does not open."""
    fleet.add("user-7")
    login = fleet.login("user-7")
    attempt = Attempt.of(login, login.accounts[0], datetime.now(UTC))
    spool = Spool("fleet.db.spool", Cipher([fleet.key]))
    write = spool.write(attempt, success(brought(Tokens("coinbase", "fake-r", access_token="fake-a"))))
    waiting = asyncio.run(write)
    document = found(fleet, Exit.NOT_SAVED, "spool_waiting")
    assert (document["spooled"], document["findings"][0]["logins"]) == (1, ["user-7"])
    waiting.rename(waiting.with_suffix(".orphan"))
    found(fleet, Exit.REFRESHED, "spool_set_aside")
    (Path("fleet.db.spool") / "a.settlement").write_bytes(Cipher([Cipher.generate_key()]).seal("something", "spool"))
    (Path("fleet.db.spool") / "b.damaged").write_bytes(b"")
    os.mkfifo("fleet.db.spool/c.settlement")
    ran = fleet("check", "--json")
    assert ran.code == Exit.STORE
    kinds = [it["kind"] for it in json.loads(ran.out)["findings"]]
    assert sorted(kinds) == ["spool_damaged", "spool_not_opened", "spool_not_opened", "spool_set_aside"]


def test_files_that_others_can_read(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    fleet.file.chmod(0o644)
    Path("fleet.db.spool").mkdir(mode=0o755)
    Path("fleet.db.spool").chmod(0o755)
    document = found(fleet, Exit.STORE, "open_to_others", "spool_unfit")
    assert document["findings"][0]["next"] == f"chmod 600 {fleet.file}"


@pytest.mark.parametrize(
    "options",
    [("--store", "nosuch.db"), ("--store", "mysql://a@b/c"), ("--plaintext",), ("--app", "no_such_module:make")],
)
def test_what_cannot_be_checked_is_an_error(fleet: OpenFleet, options: tuple[str, ...]) -> None:
    fleet.add("user-7")
    ran = fleet("check", *options)
    assert (ran.code, ran.out, ran.err.count("\n")) == (Exit.INVALID, "", 1)

"""Several processes on one file, and processes that end in odd ways."""

# ruff: noqa: ASYNC240 - nobody else is held up in a test's loop

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from mesh_refresh.stores import PlainText
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing.conformance.store_kit import a_row, fill, kept

pytestmark = pytest.mark.once

_HEAD = """
import asyncio, json, os, sys
from datetime import timedelta
from attrs import evolve
from mesh_refresh.stores import PlainText
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing.conformance.store_kit import *
path, me = sys.argv[1:]
"""

_KEEPER = """
async def main():
    claims = []
    async with SqliteStore.open(path, cipher=PlainText()) as store:
        while rows := await store.claim(a_request(owner=me, limit=7)):
            claims += [row.login_id for row in rows]
            settled = (store.swap(evolve(row, due_at=None, sealed=me.encode()), owner=me) for row in rows)
            assert all(await asyncio.gather(*settled))
    print(json.dumps(claims))
asyncio.run(main())
"""

_OPENER = """
async def main():
    async with SqliteStore.open(path, cipher=PlainText()) as store:
        assert await store.insert(a_row(me))
asyncio.run(main())
"""

_FORGETFUL = """
async def main():
    global store
    store = await SqliteStore.open(path, cipher=PlainText())
    for number in range(200):
        asyncio.ensure_future(store.insert(a_row(str(number))))
    await asyncio.sleep(0)
asyncio.run(main())
"""

_FORKED = """
async def main(store):
    try:
        await store.read("a")
    except Exception as error:
        print(json.dumps([type(error).__name__]))
async def opened():
    return await SqliteStore.open(path, cipher=PlainText())
store = asyncio.run(opened())
if os.fork() == 0:
    asyncio.run(main(store))
else:
    assert os.wait()[1] == 0
"""


def _start(code: str, path: Path, me: str = "me") -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-c", _HEAD + code, str(path), me]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _ended(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    return out


async def test_no_row_is_claimed_by_two_processes(tmp_path: Path) -> None:
    """Each is claimed once, by one of them, and what that one wrote is there."""
    path = tmp_path / "fleet.db"
    async with SqliteStore.open(path, cipher=PlainText()) as store:
        await asyncio.gather(*(store.insert(a_row(str(number))) for number in range(1_000)))
        keepers = {name: _start(_KEEPER, path, name) for name in ("one", "two", "three")}
        claims = {name: json.loads(await asyncio.to_thread(_ended, keeper)) for name, keeper in keepers.items()}
        assert Counter(chain.from_iterable(claims.values())) == Counter(str(number) for number in range(1_000))
        for name, ids in claims.items():
            for login_id in ids:
                row = await kept(store, login_id)
                assert (row.sealed, row.revision, row.attempt) == (name.encode(), 3, 1)


async def test_many_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    """One makes the tables, the others find them."""
    openers = [_start(_OPENER, tmp_path / "fleet.db", str(number)) for number in range(5)]
    for opener in openers:
        _ended(opener)
    async with SqliteStore.open(tmp_path / "fleet.db", cipher=PlainText()) as store:
        for number in range(5):
            await kept(store, str(number))


async def test_many_stores_of_one_process_may_make_the_file_at_once(tmp_path: Path) -> None:
    """Each in a thread of its own."""
    stores = await asyncio.gather(
        *(_entered(SqliteStore.open(tmp_path / "fleet.db", cipher=PlainText())) for _ in range(8))
    )
    for number, store in enumerate(stores):
        await fill(store, a_row(str(number)))
    await asyncio.gather(*(store.aclose() for store in stores))


async def _entered(store: SqliteStore) -> SqliteStore:
    return await store


def test_a_process_that_forgot_to_close_ends_and_loses_nothing(tmp_path: Path) -> None:
    """What was asked for is written first, though `asyncio.run` cancelled who asked."""
    _ended(_start(_FORGETFUL, tmp_path / "fleet.db"))
    connection = sqlite3.connect(tmp_path / "fleet.db")
    assert connection.execute("SELECT count(*) FROM login").fetchone() == (200,)
    connection.close()


def test_a_forked_process_is_told_to_open_its_own(tmp_path: Path) -> None:
    """Its copy of the store has no thread, and would wait for ever."""
    out = _ended(_start(_FORKED, tmp_path / "fleet.db"))
    assert json.loads(out) == ["StoreUnavailable"]


async def test_a_forgotten_store_lets_go(tmp_path: Path) -> None:
    """Its thread ends, and the last one to close takes the log away."""
    import gc

    store = await SqliteStore.open(tmp_path / "fleet.db", cipher=PlainText())
    await fill(store, a_row())
    assert len(list(tmp_path.iterdir())) == 3
    del store
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.db"]

"""A process that has the file open forks, and both sides go on with it."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import asyncio, os, sys
from mesh_refresh.stores import Page, PlainText
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing.conformance.store_kit import *
path, how = sys.argv[1:]
to_child, to_parent = os.pipe(), os.pipe()

async def child():
    async with SqliteStore.open(path, cipher=PlainText()) as store:
        assert await store.insert(a_row("child's first"))
        os.write(to_parent[1], b"x")
        os.read(to_child[0], 1)  # the parent has closed the file
        assert await store.insert(a_row("child's last"))

def forked():
    if pid := os.fork():
        return pid
    try:
        asyncio.run(child())
    finally:
        os._exit(sys.exc_info()[0] is not None)

async def parent():
    async with SqliteStore.open(path, cipher=PlainText()) as store:
        await store.insert(a_row("before"))
        writes = asyncio.gather(*(store.insert(a_row(f"meanwhile {number}")) for number in range(50)))
        if how != "with verbs under way":
            await writes
        if how == "with a scan open":
            await store.rows(Page(1))
        pid = await asyncio.to_thread(forked)
        await writes
        await asyncio.to_thread(os.read, to_parent[0], 1)
        await store.insert(a_row("parent's last"))
        assert len(await store.rows(Page(1000))) == 53
    os.write(to_child[1], b"x")
    return pid

assert os.waitpid(asyncio.run(parent()), 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("how", ["at rest", "with verbs under way", "with a scan open"])
def test_a_fork_loses_no_write_of_either_side(tmp_path: Path, how: str) -> None:
    """SQLite's list of locks is not inherited: the parent that closes the file leaves the child's log where it is."""
    path = tmp_path / "fleet.db"
    program = [sys.executable, "-c", _PROGRAM, str(path), how]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr

    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM login").fetchone() == (54,)
    connection.close()

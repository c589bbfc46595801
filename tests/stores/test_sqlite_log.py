"""The log beside a store's file stays short, whoever reads it, and what it costs who writes is bounded."""

# ruff: noqa: ASYNC240 - nobody else is held up in a test's loop

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mesh_refresh.stores import PlainText
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing.conformance.store_kit import a_row, fill
from tests.stores.stopping import Opened

pytestmark = pytest.mark.once

LONG = 500_000


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("mesh_refresh.stores.sqlite.connection.connecting.LONG_LOG", LONG)
    return tmp_path / "fleet.db"


@pytest.fixture
def readers(path: Path) -> Iterator[threading.Event]:
    """Three readers, of which one at least has a transaction open at each moment, once there is a store."""
    begin, over = threading.Event(), threading.Event()
    turns = [threading.Event() for _ in range(3)]
    turns[0].set()

    def read(number: int) -> None:
        begin.wait()
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            while not over.is_set():
                turns[number].wait()
                turns[number].clear()
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM login").fetchone()
                turns[(number + 1) % 3].set()  # the next one begins while this one reads
                time.sleep(0.02)
                reader.execute("ROLLBACK")
        for turn in turns:
            turn.set()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    yield begin
    over.set()
    begin.set()
    for thread in threads:
        thread.join()


async def written(store: SqliteStore, path: Path, megabytes: int) -> int:
    """Write so much, and give the greatest size that the log had."""
    longest = 0
    for number in range(20 * megabytes):
        await fill(store, a_row(str(number), sealed=bytes(50_000)))
        longest = max(longest, Path(f"{path}-wal").stat().st_size)
    return longest


async def test_readers_that_overlap_do_not_let_it_grow(path: Path, readers: threading.Event) -> None:
    async with SqliteStore.open(path, cipher=PlainText()) as store:
        readers.set()
        assert await written(store, path, 10) < 4_000_000


async def test_a_reader_that_never_ends_is_told(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each doubling; the store goes on, and the log is short once the reader has ended."""
    caplog.set_level(logging.WARNING)
    # Each write tries. With pauses, a try that took long on a busy machine puts the next one off beyond a doubling.
    monkeypatch.setattr("mesh_refresh.stores.sqlite.connection.session._PAUSES", 0)
    async with SqliteStore.open(path, cipher=PlainText(), busy_timeout=timedelta(milliseconds=1)) as store:
        await fill(store, a_row())
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM login").fetchone()
            assert await written(store, path, 3) > 3_000_000
        told = [record.getMessage() for record in caplog.records]
        assert 3 <= len(told) <= 4, "at 0.5, 1, 2 and perhaps 4 MB"
        assert all("because a program reads the store without a pause" in text for text in told)
        while Path(f"{path}-wal").stat().st_size > LONG:
            await fill(store, a_row(f"still more {time.monotonic_ns()}"))


async def test_a_log_that_is_short_again_is_left_alone(path: Path) -> None:
    """What only reads does not begin it anew once more, for which it would wait for writers of other processes."""
    async with Opened.open(path, cipher=PlainText()) as store:
        await store.watch_statements()
        number = 0
        while not store.count("PRAGMA wal_checkpoint"):
            await fill(store, a_row(str(number), sealed=bytes(50_000)))
            await store.read("0")  # when this is answered, the log was begun anew if it had to be
            number += 1
        for _ in range(3):
            await store.read("0")
        assert store.count("PRAGMA wal_checkpoint") == 1

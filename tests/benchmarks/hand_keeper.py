"""The least that somebody writes to keep a fleet in SQLite: what a keeper costs at all, before it is careful.

One table, one thread, a claim and a settle in transactions that last (``synchronous = FULL``), settles in groups,
tokens sealed by AES-GCM with one key, a task for each login. It keeps what `MeshClient` gives, and knows of no error:
no attempts, epochs, siblings, codes, breakers, events or spool, and nothing that sees a row changed by somebody else.
"""

import asyncio
import gc
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh_refresh import MeshClient, Tokens
from tests.benchmarks.grown_fleet import name_of, some_tokens

_T = TypeVar("_T")
_NONCE = 12
_LEASE, _LATER = 60, 3_600
_TABLE = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE login (id TEXT PRIMARY KEY, due REAL NOT NULL, until REAL, sealed BLOB NOT NULL);
CREATE INDEX login_due ON login (due);
"""
_DUE = "SELECT id, sealed FROM login WHERE due <= ?1 AND (until IS NULL OR until < ?1) ORDER BY due LIMIT ?2"
_INSERT = "INSERT INTO login VALUES (?, ?, NULL, ?)"

_Settle = tuple[float, bytes, str]


class Box:
    """Seals and opens."""

    def __init__(self) -> None:
        self._key = AESGCM(AESGCM.generate_key(256))

    def seal(self, login_id: str, tokens: Tokens) -> bytes:
        """The tokens, for that login only."""
        nonce = os.urandom(_NONCE)
        return nonce + self._key.encrypt(nonce, orjson.dumps(tokens.to_document()), login_id.encode())

    def open(self, login_id: str, sealed: bytes) -> Tokens:
        """What was sealed."""
        text = self._key.decrypt(sealed[:_NONCE], sealed[_NONCE:], login_id.encode())
        return Tokens.from_document(orjson.loads(text))


class Table:
    """The file, and the thread that uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[tuple[_Settle, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def fill(self, rows: Sequence[tuple[str, float, bytes]]) -> None:
        """A new file with these rows."""
        await self._run(partial(self._open, rows))

    async def insert(self, rows: Sequence[tuple[str, float, bytes]]) -> None:
        """These too."""
        await self._run(partial(self._in_one, _INSERT, rows))

    async def claim(self, many: int) -> list[tuple[str, bytes]]:
        """So many that are due, at the most."""
        return await self._run(partial(self._claim, many))

    async def settle(self, row: _Settle) -> None:
        """Until it is on the disk, with all that wait."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._settle_all())
        await done

    async def aclose(self) -> None:
        """Close the file, and end the thread."""
        await self._run(self._connection.close)
        self._thread.shutdown()

    async def _settle_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            rows = [row for row, _ in waiting]
            await self._run(partial(self._write, rows))
            for _, done in waiting:
                done.set_result(None)

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, rows: Sequence[tuple[str, float, bytes]]) -> None:
        self._path.unlink(missing_ok=True)
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.executescript(_TABLE)
        self._in_one(_INSERT, rows)

    def _claim(self, many: int) -> list[tuple[str, bytes]]:
        now = time.time()
        self._connection.execute("BEGIN IMMEDIATE")
        found = self._connection.execute(_DUE, (now, many)).fetchall()
        self._connection.executemany("UPDATE login SET until = ? WHERE id = ?", [(now + _LEASE, it[0]) for it in found])
        self._connection.execute("COMMIT")
        return found

    def _write(self, rows: Sequence[_Settle]) -> None:
        self._in_one("UPDATE login SET due = ?, until = NULL, sealed = ? WHERE id = ?", rows)

    def _in_one(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(sql, rows)
        self._connection.execute("COMMIT")


async def by_hand(mesh: MeshClient, path: Path, many: int, in_flight: int) -> float:
    """Refreshes a second, of `many` logins that are all due."""
    now, box, table = datetime.now(UTC), Box(), Table(path)
    names = [name_of(number) for number in range(many)]
    await table.fill([(it, 0.0, box.seal(it, some_tokens(n, now, due=True))) for n, it in enumerate(names)])
    room = asyncio.Semaphore(in_flight)

    async def refresh(name: str, sealed: bytes) -> None:
        try:
            outcome = await mesh.refresh(box.open(name, sealed))
            await table.settle((time.time() + _LATER, box.seal(name, outcome.tokens), name))
        finally:
            room.release()

    gc.collect()
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        left = many
        while left:
            free = min(await _taken(room), left)
            for name, sealed in await table.claim(free):
                tasks.create_task(refresh(name, sealed))
            left -= free
    taken = time.perf_counter() - begun
    await table.aclose()
    return many / taken


async def _taken(room: asyncio.Semaphore) -> int:
    """Wait for a place, and take all that are free."""
    await room.acquire()
    places = 1
    while not room.locked():
        await room.acquire()
        places += 1
    return places

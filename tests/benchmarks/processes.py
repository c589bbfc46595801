"""The rows about ``run --processes``: two workers on one SQLite file against one, with the same limits of the whole.

The workers use all cores. The server answers each request with the same bytes, in 5 ms, and needs little of a core.
What is compared runs in turns.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from aiohttp import ClientError, ClientSession, UnixConnector
from attrs import frozen

from mesh_refresh.stores import Page
from mesh_refresh.stores.store import ALL_BROKERS
from tests.benchmarks.clients import CLIENT_ID, CLIENT_SECRET
from tests.benchmarks.cores import cores, pin
from tests.benchmarks.figures import ratios, spread
from tests.benchmarks.grown_fleet import Fleet, insert
from tests.benchmarks.report import How, Report, Target, at_least, at_most, shown, target_table

DELAY = timedelta(milliseconds=5)
IN_FLIGHT = 64
_PATIENCE = 120.0
"""Seconds for processes to start, or to end."""


@frozen
class Turn:
    """What one run gave."""

    per_second: float
    server: float
    """The server's share of a core."""
    twice: int
    """Logins that were refreshed more than once."""


def section(how: How) -> Report:
    """The rows of several processes."""
    many, rounds = (3_000, 3) if how.quick else (10_000, 9)
    pin(*cores())
    turns = [(_turn(how, many, 1), _turn(how, many, 2)) for _ in range(rounds)]
    one, two = ([turn.per_second for turn in runs] for runs in zip(*turns, strict=True))
    what = "run --processes 2 on one SQLite file"
    twice = sum(turn.twice for runs in turns for turn in runs)
    found = [
        at_least(f"{what}, x one process, refreshes/s", 1.6, ratios(two, one)),
        Target(f"{what}, logins refreshed twice", "0", str(twice), twice == 0),
        at_most(f"{what}, the server's share of a core", 0.1, spread(second.server for _, second in turns)),
        shown(f"{what}, refreshes/s", spread(two)),
    ]
    return Report([target_table(found)], found)


def _turn(how: How, many: int, processes: int) -> Turn:
    """Let so many processes refresh `many` logins, from a moment on at which all of them work."""
    fleet = Fleet(how.disk / f"{processes}-{os.urandom(4).hex()}.db", how.key)
    asyncio.run(_make_due(fleet, many))
    command = [sys.executable, "-m", "tests.benchmarks.noting_server", str(many), str(DELAY.total_seconds())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            with _working(fleet, int(server.stdout.readline()), processes):
                asyncio.run(_resume(fleet))
                clock, cpu = json.loads(server.stdout.readline())
        finally:
            server.kill()
    # From the first tenth to the last one: the start and the end have fewer in flight.
    begin, end = many // 10, many - many // 10
    taken = clock[end] - clock[begin]
    return Turn((end - begin) / taken, (cpu[end] - cpu[begin]) / taken, asyncio.run(_count_twice(fleet, many)))


@contextmanager
def _working(fleet: Fleet, port: int, processes: int) -> Iterator[None]:
    """Inside, the processes work."""
    socket = fleet.path.with_suffix(".sock")
    command = (sys.executable, "-m", "mesh_refresh", "run", "--processes", str(processes), "--quiet")
    options = (
        "--store",
        str(fleet.path),
        "--concurrency",
        str(IN_FLIGHT),
        "--poll",
        "50ms",
        "--listen",
        f"unix:{socket}",
    )
    environment = {
        **os.environ,
        "MESH_BASE_URL": f"http://127.0.0.1:{port}",
        "MESH_CLIENT_ID": CLIENT_ID,
        "MESH_CLIENT_SECRET": CLIENT_SECRET,
        "MESH_REFRESH_KEYS": fleet.key,
    }
    with subprocess.Popen((*command, *options), env=environment) as process:
        try:
            asyncio.run(_until_ready(socket, process))
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(_PATIENCE) == 0
        finally:
            process.kill()


async def _until_ready(socket: Path, process: "subprocess.Popen[bytes]") -> None:
    async with asyncio.timeout(_PATIENCE), ClientSession(connector=UnixConnector(str(socket))) as session:
        while True:
            assert process.poll() is None
            with suppress(ClientError, OSError):
                async with session.get("http://localhost/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


async def _make_due(fleet: Fleet, many: int) -> None:
    """A file of its own, with logins that are due and held back."""
    async with fleet.opened() as store:
        await store.pause(ALL_BROKERS)
        await insert(store, range(many), due=True)


async def _resume(fleet: Fleet) -> None:
    async with fleet.opened() as store:
        await store.pause(ALL_BROKERS, paused=False)


async def _count_twice(fleet: Fleet, many: int) -> int:
    """How many logins were refreshed twice. Each was refreshed."""
    async with fleet.opened() as store:
        rows = await store.rows(Page(many + 1))
    attempts = [row.attempt for row in rows]
    assert len(attempts) == many
    assert min(attempts) == 1
    return sum(attempt > 1 for attempt in attempts)

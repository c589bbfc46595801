"""The section on `mesh_refresh.sync`: `tokens()` a second from one thread and from fifty, beside the async keeper."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from attrs import frozen

from mesh_refresh import sync
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from tests.benchmarks.cores import apart, pin
from tests.benchmarks.figures import Spread, spread
from tests.benchmarks.grown_fleet import Fleet, grown, name_of
from tests.benchmarks.keeping import Setting, answers, client_of
from tests.benchmarks.report import How, Report, Table, at_least

THREADS = 50
_NOWHERE = "http://127.0.0.1:9"
"""No token is due, so nothing is sent."""


@frozen
class Round:
    """`tokens()` a second."""

    asynchronous: float
    one: float
    fifty: float


def section(how: How) -> Report:
    """The rows of a keeper on SQLite whose tokens are all fresh."""
    asked, rounds = (1_000, 3) if how.quick else (5_000, 15)
    fleet = grown(Fleet(how.disk / "blocking.db", how.key), 1_000)
    found = apart(in_turns, how.client_core, fleet, asked, rounds)
    one, fifty = spread(each.one for each in found), spread(each.fifty for each in found)
    beside = spread(each.asynchronous for each in found)
    table = Table("tokens() on SQLite", ["a second"], list(_rows(beside, one, fifty)))
    return Report([table], [at_least("tokens()/s through mesh_refresh.sync, 50 threads", 3_000, fifty, digits=0)])


def _rows(beside: Spread, one: Spread, fifty: Spread) -> Iterator[tuple[str, list[str]]]:
    yield "await, one after the other", [beside.text(0)]
    yield "mesh_refresh.sync, one thread", [one.text(0)]
    yield f"mesh_refresh.sync, {THREADS} threads", [fifty.text(0)]


def in_turns(core: int, fleet: Fleet, asked: int, rounds: int) -> list[Round]:
    """Rounds of all, in turns, on one core with the loop's and the store's threads."""
    pin(core)
    names = [name_of(number % fleet.size) for number in range(asked)]
    found = []
    store = partial(SqliteStore.open, fleet.path, cipher=Cipher([fleet.key]))
    with (
        sync.Keeper(partial(client_of, Setting(_NOWHERE, asked)), store) as keeper,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        for _ in range(rounds + 1):
            begun = time.perf_counter()
            for name in names:
                keeper.tokens(name)
            one = time.perf_counter() - begun
            begun = time.perf_counter()
            list(pool.map(keeper.tokens, names))
            fifty = time.perf_counter() - begun
            found.append(Round(asyncio.run(_awaited(fleet, asked)), asked / one, asked / fifty))
    return found[1:]  # the first one warms up


async def _awaited(fleet: Fleet, asked: int) -> float:
    async with fleet.opened() as store:
        return await answers(_NOWHERE, fleet, store, asked)

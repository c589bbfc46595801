"""Bursts of refreshes in turns, each client's in every round. Runs in a process of its own for each event loop."""

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from attrs import frozen

from tests.benchmarks.clients import Refresh, every_client
from tests.benchmarks.cores import pin
from tests.benchmarks.loops import ASYNCIO, run_on
from tests.benchmarks.report import How

CONCURRENCIES = (1, 16, 64)
LATENCIES_AT = 16
_numbers = itertools.count()


@frozen
class Cost:
    """Of one refresh, in seconds."""

    cpu: float
    wall: float


@frozen
class Measured:
    """What one event loop gave."""

    costs: Mapping[int, Mapping[str, Sequence[Cost]]]
    """By concurrency and client, one for each round."""
    latencies: Mapping[str, Sequence[float]]
    """By client, in seconds, one for each refresh; of asyncio only, the loops differ little in this."""


def fresh_token() -> str:
    """One that was never sent before: `MeshClient` answers for others from memory."""
    return f"benchmark-old-{next(_numbers)}"


async def burst(refresh: Refresh, concurrency: int, requests: int) -> Cost:
    """What one of `requests` refreshes takes, `concurrency` of them at a time."""
    left = iter(range(requests))

    async def worker() -> None:
        for _ in left:
            await refresh(fresh_token())

    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return Cost((time.process_time() - cpu) / requests, (time.perf_counter() - wall) / requests)


async def timed(refresh: Refresh, concurrency: int, requests: int) -> list[float]:
    """How long each refresh took."""
    left = iter(range(requests))
    taken: list[float] = []

    async def worker() -> None:
        for _ in left:
            begun = time.perf_counter()
            await refresh(fresh_token())
            taken.append(time.perf_counter() - begun)

    gc.collect()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return taken


@asynccontextmanager
async def _opened(how: How, base_url: str) -> AsyncIterator[dict[str, Refresh]]:
    async with AsyncExitStack() as stack:
        makers = every_client(how.generated)
        yield {name: await stack.enter_async_context(make(base_url)) for name, make in makers.items()}


async def _rounds(how: How, clients: Mapping[str, Refresh], concurrency: int) -> dict[str, list[Cost]]:
    rounds, seconds, least = (3, 0.03, concurrency) if how.quick else (21, 0.1, 2 * concurrency)
    # Bursts of equal length in time, not in number: the slowest client takes twenty times what the fastest does.
    requests = {}
    for name, refresh in clients.items():
        await burst(refresh, concurrency, concurrency)  # connects
        cost = await burst(refresh, concurrency, 2 * concurrency)
        requests[name] = max(least, round(seconds / cost.wall))
    found: dict[str, list[Cost]] = {name: [] for name in clients}
    for number in range(rounds):
        for name in list(clients)[:: 1 if number % 2 else -1]:
            found[name].append(await burst(clients[name], concurrency, requests[name]))
    return found


async def _latencies(how: How, clients: Mapping[str, Refresh]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(5):
        for name, refresh in clients.items():
            found[name] += await timed(refresh, LATENCIES_AT, 100 if how.quick else 1_000)
    return found


async def _all(how: How, base_url: str, *, waits: bool) -> Measured:
    async with _opened(how, base_url) as clients:
        gc.collect()
        gc.freeze()  # what all of them imported is not looked at again in everybody's bursts
        costs = {concurrency: await _rounds(how, clients, concurrency) for concurrency in CONCURRENCIES}
        return Measured(costs, await _latencies(how, clients) if waits else {})


def measured(how: How, loop: str, base_url: str) -> Measured:
    """All of it, on that loop."""
    pin(how.client_core)
    return run_on(loop, _all(how, base_url, waits=loop == ASYNCIO))

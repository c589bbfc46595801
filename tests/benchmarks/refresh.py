"""CPU of one refresh, as a ratio against hand-written aiohttp, in interleaved rounds of one run."""

import asyncio
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta

from tests.benchmarks.clients import BASELINE, CLIENTS, Refresh


@contextmanager
def answering(core: int, delay: timedelta = timedelta()) -> Iterator[str]:
    """The base URL of the constant server, on `core`, which takes `delay` for each answer."""
    command = [sys.executable, "-m", "tests.benchmarks.server", str(core), str(delay.total_seconds())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def _burst(refresh: Refresh, concurrency: int, requests: int) -> float:
    """CPU seconds of one request, `concurrency` of them at a time."""
    left = iter(range(requests))

    async def worker() -> None:
        for _ in left:
            await refresh()

    gc.collect()
    begun = time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return (time.process_time() - begun) / requests


async def ratios(base_url: str, concurrency: int, *, rounds: int, requests: int) -> dict[str, list[float]]:
    """For each client, the ratio of each round."""
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(make(base_url)) for name, make in CLIENTS.items()}
        for refresh in clients.values():
            await _burst(refresh, concurrency, requests)
        found: dict[str, list[float]] = {name: [] for name in clients}
        for number in range(rounds):
            names = list(clients)
            order = names if number % 2 else names[::-1]
            cost = {name: await _burst(clients[name], concurrency, requests) for name in order}
            for name in names:
                found[name].append(cost[name] / cost[BASELINE])
        return found


def table(base_url: str, *, rounds: int, requests: int) -> Iterator[str]:
    """The rows that are printed, the header first."""
    yield f"{'CPU a refresh, x hand-written aiohttp':<40}" + "".join(f"{f'c={c}':>18}" for c in (1, 16, 64))
    measured = {
        concurrency: asyncio.run(ratios(base_url, concurrency, rounds=rounds, requests=requests))
        for concurrency in (1, 16, 64)
    }
    for name in CLIENTS:
        cells = ""
        for concurrency in measured:
            values = sorted(measured[concurrency][name])
            low, high = values[len(values) // 4], values[-1 - len(values) // 4]
            cells += f"{f'{statistics.median(values):.2f} ({low:.2f}-{high:.2f})':>18}"
        yield f"{name:<40}{cells}"

"""Memory that a pending refresh holds, beside one of hand-written aiohttp."""

import asyncio
import gc
from collections.abc import Iterator

from tests.benchmarks.bursts import fresh_token
from tests.benchmarks.clients import BASELINE, CLIENTS, OURS
from tests.benchmarks.cores import apart, resident
from tests.benchmarks.figures import ratios
from tests.benchmarks.report import How, Target, at_most

PENDING = 4_000


def targets(how: How) -> Iterator[Target]:
    """The row of it."""
    ours, theirs = [], []
    for _ in range(1 if how.quick else 5):
        ours.append(apart(pending, OURS))
        theirs.append(apart(pending, BASELINE))
    yield at_most("memory of a pending refresh, x hand-written aiohttp", 1.0, ratios(ours, theirs))


def pending(name: str) -> float:
    """KB of each of many refreshes: a hundred are sent and wait for an answer, the others wait for a connection."""
    return asyncio.run(_pending(name))


async def _pending(name: str) -> float:
    over = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with CLIENTS[name](f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as refresh:
        gc.collect()
        before = resident()
        waiting = [asyncio.ensure_future(refresh(fresh_token())) for _ in range(PENDING)]
        await asyncio.wait(waiting, timeout=1.5)
        held = 1024 * (resident() - before) / PENDING
        # Nobody will ever answer them: end the connections, and with them all that waits.
        for task in waiting:
            task.cancel()
        over.set()
        server.close()
        await asyncio.gather(*waiting, return_exceptions=True)
    return held

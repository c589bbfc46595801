"""Memory that a pending refresh holds, beside one of hand-written aiohttp.

Run for one client as a process of its own: ``python -m tests.benchmarks.memory NAME`` prints bytes a refresh.
"""

import asyncio
import os
import statistics
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.clients import BASELINE, CLIENTS

PENDING = 4_000
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


async def _hold(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def measure(name: str) -> None:
    """Print the memory of each of many pending refreshes: a hundred are sent, the others wait for a connection."""
    server = await asyncio.start_server(_hold, "127.0.0.1", 0)
    async with CLIENTS[name](f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as refresh:
        before = _resident()
        pending = [asyncio.ensure_future(refresh()) for _ in range(PENDING)]
        await asyncio.wait(pending, timeout=2)
        print((_resident() - before) / PENDING, flush=True)
        os._exit(0)  # nobody will ever answer them


def ratio(rounds: int) -> float:
    """The median ratio of interleaved runs."""

    def once(name: str) -> float:
        command = [sys.executable, "-m", "tests.benchmarks.memory", name]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return statistics.median(once("MeshClient") / once(BASELINE) for _ in range(rounds))


if __name__ == "__main__":
    asyncio.run(measure(sys.argv[1]))

"""The constant server, which notes when it answered: ``python -m tests.benchmarks.noting_server MANY DELAY``.

It runs on any core, and prints its port. After `MANY` answers it prints, as JSON, when each of them was given, and the
seconds of CPU that it took from the first to the last.
"""

import asyncio
import json
import sys
import time

from tests.benchmarks.loops import FASTEST, run_on
from tests.benchmarks.server import Answer, main


class Noting(Answer):
    """Notes each answer."""

    many = 0
    times: tuple[list[float], list[float]] = ([], [])
    """Of the clock, and of the CPU."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = self  # type: ignore[assignment]
        self.inner = transport

    def write(self, answer: bytes) -> None:
        """Write an answer to the client."""
        self.inner.write(answer)  # type: ignore[attr-defined]
        for times, now in zip(self.times, (time.monotonic(), time.process_time()), strict=True):
            times.append(now)
        if len(self.times[0]) == self.many:
            print(json.dumps(self.times), flush=True)


if __name__ == "__main__":
    Noting.many = int(sys.argv[1])
    run_on(FASTEST, main(-1, float(sys.argv[2]), Noting))

"""Time as a value that is passed in: pure code never reads a clock, and tests move their own."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the client reads time from. `mesh_refresh.testing.ManualClock` is one that a test moves."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC. Lifetimes of tokens are told in it."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never running backwards. How long something is remembered is told in it."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """`time.monotonic`."""
        return time.monotonic()

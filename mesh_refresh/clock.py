"""Time as a value that is passed in: pure code never reads a clock, and tests move their own."""

import time
from datetime import UTC, datetime
from typing import Protocol

# Linux' monotonic clock stands still in suspend, and this one does not. On macOS CLOCK_MONOTONIC counts on, while
# Python's `time.monotonic` there does not; on Windows `time.monotonic` does.
_SINCE_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class Clock(Protocol):
    """The clock of a client. `mesh_refresh.testing.ManualClock` is one that a test moves."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC. Lifetimes of tokens are told in it."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never running backwards, and counted while the machine is suspended too.

        How long something is remembered is told in it, and how much is left of a lease.
        """
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The time since the machine was started."""
        return time.clock_gettime(_SINCE_BOOT) if _SINCE_BOOT is not None else time.monotonic()

"""The clock that leases are told by: it neither jumps with the wall clock nor stands still in suspend."""

import time
from datetime import timedelta
from pathlib import Path

from attrs import frozen

from mesh_refresh.clock import Clock, SystemClock

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MICROSECOND = timedelta(microseconds=1)
_MOST = 2**63 - 1


@frozen
class Lease:
    """A lease or a hold, as it is kept."""

    boot: str
    since: int | None
    until: int

    def left(self, clock: "LeaseClock", at: int) -> timedelta:
        """How much of it is left; nothing where it is of another boot."""
        if self.boot != clock.boot or (self.since is not None and self.since > at):
            return timedelta()
        return timedelta(microseconds=max(0, self.until - at))


class LeaseClock:
    """Microseconds since the machine was started, and a name for that start.

    On Linux, ``CLOCK_BOOTTIME`` and the kernel's boot id: a lease of another boot has run out. Elsewhere there is no
    such name, and the beginning of a lease is kept beside its end: one that would begin only later is of an earlier
    boot. One that is not seen to be is waited for once more, which takes no longer than it was given for.

    A `clock` of the caller's is read instead, and takes every start for the same.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._exact: int | None = getattr(time, "CLOCK_BOOTTIME", None) if clock is None else None
        self.boot = "" if clock is None else "of the caller's clock"
        if self._exact is not None:
            try:
                self.boot = _BOOT.read_text("ascii").strip()
            except OSError:  # a container without /proc
                self.boot = ""

    def now(self) -> int:
        """Microseconds."""
        if self._exact is not None:
            return time.clock_gettime_ns(self._exact) // 1000
        return round(self._clock.monotonic() * 1_000_000)

    def lease(self, length: timedelta, at: int) -> Lease:
        """A lease or a hold of `length` from `at` on."""
        return Lease(self.boot, None if self.boot else at, min(at + length // _MICROSECOND, _MOST))

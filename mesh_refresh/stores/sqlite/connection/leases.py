"""The clock of leases. It neither jumps with the wall clock nor stands still while the machine is suspended."""

import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from attrs import frozen

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.stores.sqlite.connection import mounts

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_OFFSETS = Path("/proc/self/timens_offsets")
_MICROSECOND = timedelta(microseconds=1)
_MOST = 2**63 - 1


@frozen
class Lease:
    """A lease or a hold, as it is kept."""

    boot: str
    since: int
    until: int

    def left(self, clock: "LeaseClock", at: int) -> timedelta:
        """How much time of it is left; none where it is of another boot."""
        is_of_another_boot = self.boot and clock.boot and self.boot != clock.boot
        if is_of_another_boot or self.since > at:
            return timedelta()
        return timedelta(microseconds=max(0, self.until - at))


class LeaseClock:
    """Microseconds since the machine was started, and a name for that start.

    On Linux these are ``CLOCK_BOOTTIME`` and the kernel's boot id: a lease of another boot has run out. Where there is
    no such name, the beginning of the lease decides, which is kept beside its end: a lease that would begin only later
    is of an earlier boot. An old lease that passes this check delays its row once, by no more than its own length.

    Containers of one machine may share a file. Some have a boot id of their own (LXC, systemd-nspawn), which counts as
    none; some have an offset to the machine's clock (a time namespace), which is taken off.

    A `clock` of the caller's is read instead, and takes every start for the same.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._exact: int | None = getattr(time, "CLOCK_BOOTTIME", None) if clock is None else None
        self.boot = "" if clock is None else "of the caller's clock"
        self._offset = 0
        if self._exact is not None:
            self.boot, self._offset = _boot_id(), _offset()

    def now(self) -> int:
        """Microseconds since the machine was started."""
        if self._exact is not None:
            return (time.clock_gettime_ns(self._exact) - self._offset) // 1000
        return round(self._clock.monotonic() * 1_000_000)

    def lease(self, length: timedelta, at: int) -> Lease:
        """A lease or a hold of `length` from `at` on."""
        return Lease(self.boot, at, min(at + length // _MICROSECOND, _MOST))


def _boot_id() -> str:
    """The kernel's boot id; empty where it cannot be read, or where another file lies in its place."""
    place = mounts.mount(mounts.mount_number(str(_BOOT)))
    if place is None or place.kind != "proc":
        return ""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""


def _offset() -> int:
    """Nanoseconds that this process's ``CLOCK_BOOTTIME`` is ahead of the machine's. See time_namespaces(7)."""
    with suppress(OSError, ValueError):
        for name, seconds, nanoseconds in map(str.split, _OFFSETS.read_text("ascii").splitlines()):
            if name == "boottime":
                return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0

"""A clock of the user's, which may be wrong but can cost no token."""

import logging
from datetime import UTC, datetime
from math import isfinite

from mesh_refresh.clock import Clock, SystemClock

_log = logging.getLogger("mesh_refresh")


def guarded(clock: Clock) -> Clock:
    """`clock`, which nothing can go wrong with."""
    return clock if type(clock) is SystemClock else GuardedClock(clock)


class GuardedClock:
    """Tells what `clock` tells. Where that raises or tells no time, the machine's clocks go on from what it told last.

    It is asked when a reply has come, which is too late to refuse it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._system = SystemClock()
        self._last: float | None = None
        self._at = self._system.monotonic()
        """What the machine's clock told when `_last` was told."""
        self._said = False

    def now(self) -> datetime:
        """The wall clock: aware, in UTC."""
        try:
            now = self._clock.now()
            if isinstance(now, datetime) and now.utcoffset() is not None:
                return now if now.tzinfo is UTC else now.astimezone(UTC)
            self._complain("told no aware datetime")
        except Exception as error:  # noqa: BLE001 - a clock of the user's may raise anything
            self._complain(f"raised {type(error).__name__}")
        return self._system.now()

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        try:
            told = self._clock.monotonic()
            if isinstance(told, int | float) and isfinite(told):
                self._last = float(told) if self._last is None else max(self._last, told)
                self._at = self._system.monotonic()
                return self._last
            self._complain("told no number of seconds")
        except Exception as error:  # noqa: BLE001 - the same
            self._complain(f"raised {type(error).__name__}")
        now = self._system.monotonic()
        self._last, self._at = (self._last or 0.0) + now - self._at, now
        return self._last

    def _complain(self, how: str) -> None:
        if not self._said:
            self._said = True
            _log.error("the clock %s; the machine's own is used in its place", how)

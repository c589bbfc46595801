"""A guard around a clock of the user's: a clock that fails must not cost a token."""

import logging
from datetime import UTC, datetime
from math import isfinite

from mesh_refresh.clock import Clock, SystemClock

_log = logging.getLogger("mesh_refresh")


def guarded(clock: Clock) -> Clock:
    """`clock`, with a guard unless it is the machine's own."""
    return clock if type(clock) is SystemClock else GuardedClock(clock)


class GuardedClock:
    """Tells the time of `clock`. Where that raises or tells no time, the machine's clock goes on from its last time.

    The time is read when a reply has come: too late to refuse the clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._system = SystemClock()
        self._last: float | None = None
        self._at = self._system.monotonic()
        """The machine's time at `_last`."""
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

"""When a receiver of webhooks may be sent something. Pure: told the time, in seconds of a clock that never jumps."""

import math
from datetime import timedelta

from attrs import define

AT_ONCE = 10
"""Attempts under way at the same time."""
_RUN = 5
"""After so many failures in a row, of any notices, the receiver counts as down."""
_PROBE = 60.0
"""Seconds between two attempts at a receiver that is down."""


@define
class ReceiverBreaker:
    """One receiver has one breaker, for the notices of all logins.

    It knows nothing of refusals that are about one notice: while others are taken, no run of failures comes about.
    """

    _failures: int = 0
    """In a row."""
    _under_way: int = 0
    _probe_at: float = 0.0
    _held_until: float = 0.0
    """What the receiver asked for with ``Retry-After``."""
    _is_gone: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the receiver counts as down: one probe a minute, and nothing else."""
        return self._failures >= _RUN

    @property
    def is_gone(self) -> bool:
        """Whether the receiver has said that it is gone for good."""
        return self._is_gone

    def capacity(self, now: float) -> int:
        """How many attempts may begin now."""
        if self.wait(now) > 0:
            return 0
        return max(0, (1 if self.is_open else AT_ONCE) - self._under_way)

    def wait(self, now: float) -> float:
        """For how many seconds none may begin: without end where the receiver is gone."""
        if self._is_gone:
            return math.inf
        return max(0.0, self._held_until - now, self._probe_at - now if self.is_open else 0.0)

    def begin(self) -> None:
        """An attempt begins. It ends with `end`."""
        self._under_way += 1

    def end(self) -> None:
        """An attempt has ended, with any outcome or none."""
        self._under_way -= 1

    def succeed(self) -> bool:
        """A notice was taken: the receiver is up. Returns whether it counted as down."""
        was_open, self._failures = self.is_open, 0
        return was_open

    def fail(self, now: float, retry_after: timedelta | None = None) -> bool:
        """An attempt failed. Returns whether the receiver counts as down from now on."""
        was_open, self._failures = self.is_open, self._failures + 1
        self._probe_at = now + _PROBE
        if retry_after is not None:
            self._held_until = max(self._held_until, now + retry_after.total_seconds())
        return self.is_open and not was_open

    def stop(self) -> None:
        """The receiver has said that it is gone for good."""
        self._is_gone = True

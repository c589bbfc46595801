"""A clock that the test moves."""

from datetime import UTC, datetime, timedelta

from mesh_refresh.clock import SystemClock

DEFAULT_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ManualClock:
    """A `mesh_refresh.clock.Clock` that stands still until you move it.

    `advance` moves both of its hands, as time does; `jump` and `set` move the wall clock alone, as an administrator or
    NTP does.
    """

    def __init__(self, start: datetime = DEFAULT_START, *, monotonic: float = 1000.0) -> None:
        self._now = _aware(start)
        self._monotonic = monotonic

    def now(self) -> datetime:
        """The wall clock: aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; only `advance` moves them."""
        return self._monotonic

    def advance(self, by: timedelta | float) -> datetime:
        """Let `by` pass (a timedelta, or seconds) on both hands; gives the new wall time."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta():
            raise ValueError("Time only goes forward: use jump for a wall clock that is put back.")
        self._now += step
        self._monotonic += step.total_seconds()
        return self._now

    def advance_to(self, moment: datetime) -> datetime:
        """Let time pass on both hands until the wall clock shows `moment`."""
        return self.advance(_aware(moment) - self._now)

    def jump(self, by: timedelta | float) -> datetime:
        """Put the wall clock alone forward, or back (a timedelta, or seconds)."""
        self._now += by if isinstance(by, timedelta) else timedelta(seconds=by)
        return self._now

    def set(self, moment: datetime) -> None:
        """Set the wall clock alone."""
        self._now = _aware(moment)

    def __repr__(self) -> str:
        return f"ManualClock({self._now.isoformat()}, monotonic={self._monotonic})"


class MovableClock:
    """The machine's clocks, which go on, put forward by as much as you say: for a server that others drive."""

    def __init__(self) -> None:
        self._clock, self._by, self._jumped = SystemClock(), timedelta(), timedelta()

    def now(self) -> datetime:
        """The wall clock: aware, in UTC."""
        return self._clock.now() + self._by + self._jumped

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return self._clock.monotonic() + self._by.total_seconds()

    def advance(self, by: timedelta) -> datetime:
        """Let `by` pass at once; gives the new wall time."""
        if by < timedelta():
            raise ValueError("Time only goes forward.")
        self._by += by
        return self.now()

    def jump(self, by: timedelta) -> datetime:
        """Put the wall clock alone forward, or back; gives the new wall time."""
        self._jumped += by
        return self.now()


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("A clock needs an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC).")
    return moment.astimezone(UTC)

"""Clocks that show the simulated time."""

from datetime import UTC, datetime, timedelta

from tests.simulation.loop import Loop

BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """One machine's: `jump` moves its wall clock alone."""

    def __init__(self, loop: Loop, skew: float = 0.0) -> None:
        self._loop = loop
        self._ahead = timedelta(seconds=skew)

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self._loop.now) + self._ahead

    def monotonic(self) -> float:
        return 1000.0 + self._loop.now

    def jump(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)

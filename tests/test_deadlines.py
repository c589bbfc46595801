"""Time limits with one timer for all of them, on a loop whose time a test sets."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from attrs import define, field

from mesh_refresh.tasks import Deadlines


@define(eq=False)
class Timer:
    """A handle of `Loop.call_at`."""

    at: float
    call: Callable[[], object]
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Do not call it."""
        self.is_cancelled = True


@define
class Loop:
    """As much of an event loop as deadlines need."""

    now: float = 0.0
    timers: list[Timer] = field(factory=list)

    def time(self) -> float:
        """The time that the test has set."""
        return self.now

    def call_at(self, at: float, call: Callable[..., object], *args: Any) -> Timer:
        """Note a timer."""
        timer = Timer(at, lambda: call(*args))
        self.timers.append(timer)
        return timer

    def call_soon(self, call: Callable[..., object], *args: Any) -> None:
        """Call it at once."""
        call(*args)

    def move_to(self, now: float) -> None:
        """Set the time, and call the timers that are due."""
        self.now = now
        while due := [timer for timer in self.timers if timer.at <= now and not timer.is_cancelled]:
            for timer in due:
                self.timers.remove(timer)
                timer.call()


@define(eq=False)
class Item:
    """Notes when it expired."""

    loop: Loop
    expired: list[float] = field(factory=list)

    def expire(self) -> None:
        """The deadline has passed."""
        self.expired.append(self.loop.now)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def deadlines(loop: Loop) -> Deadlines:
    return Deadlines(cast("asyncio.AbstractEventLoop", loop), 10.0)


def test_one_timer_serves_all(loop: Loop, deadlines: Deadlines) -> None:
    """Many items need one timer, and each expires once, at its own deadline."""
    items = [Item(loop) for _ in range(3)]
    for start, item in enumerate(items):
        loop.now = float(start)
        deadlines.add(item)
        assert len(loop.timers) == 1
    for now in (9.0, 10.0, 11.0, 11.5, 12.0, 30.0):
        loop.move_to(now)
    assert [item.expired for item in items] == [[10.0], [11.0], [12.0]]
    assert not loop.timers


def test_what_is_removed_does_not_expire(loop: Loop, deadlines: Deadlines) -> None:
    """An item that is done in time does not expire, and removing it twice is harmless."""
    done, late = Item(loop), Item(loop)
    deadlines.add(done)
    loop.now = 5.0
    deadlines.add(late)
    deadlines.remove(done)
    deadlines.remove(done)
    loop.move_to(30.0)
    assert (done.expired, late.expired) == ([], [30.0])


def test_an_item_that_has_begun_expires_before_older_ones(loop: Loop, deadlines: Deadlines) -> None:
    """Its time counts from when it began, by a timer of its own, which goes with it."""
    loop.now = 8.0
    other, begun, done = Item(loop), Item(loop), Item(loop)
    deadlines.add(other)
    deadlines.add(begun, begun=1.0)
    deadlines.add(done, begun=2.0)
    deadlines.remove(done)
    loop.move_to(11.0)
    loop.move_to(18.0)
    assert (other.expired, begun.expired, done.expired) == ([18.0], [11.0], [])


def test_no_timer_is_left_once_stopped(loop: Loop, deadlines: Deadlines) -> None:
    """The timer of an idle client is cancelled, and a later item gets a new one."""
    first, second = Item(loop), Item(loop)
    deadlines.add(first)
    deadlines.remove(first)
    deadlines.stop()
    assert all(timer.is_cancelled for timer in loop.timers)
    loop.now = 3.0
    deadlines.add(second)
    loop.move_to(13.0)
    assert (first.expired, second.expired) == ([], [13.0])

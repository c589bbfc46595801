"""Time limits of equal length, with one timer for all of them."""

import asyncio
from typing import Protocol

_PASSES = 10
"""Passes of the event loop between a deadline and its `expire`."""


class HasDeadline(Protocol):
    """Work that has to be done by its deadline."""

    def expire(self) -> None:
        """The deadline has passed. Must do nothing where the work is done already, and must not raise."""


class Deadlines:
    """Calls `expire` on each item that is not removed within `length` seconds after it was added.

    All items have equally long, so they expire in the order in which they were added: one timer, for the oldest, is
    enough. A timer for each item would cost an exchange a tenth of its CPU time.

    An item expires some passes of the event loop after its deadline. An answer that has arrived comes first: it may
    wait in the socket, and a process that was stopped for long finds its timers late before it finds what has arrived.
    Each pass looks at the sockets once: for bytes, for TLS, for a body in pieces, for the task that reads it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, length: float) -> None:
        self._loop = loop
        self._length = length
        self._ends: dict[HasDeadline, float] = {}
        self._own: dict[HasDeadline, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: HasDeadline, begun: float | None = None) -> None:
        """Its time starts now, or has started at `begun`, in the loop's time.

        An item that has `begun` expires out of order, and gets a timer of its own: there are few of them.
        """
        if begun is not None:
            self._own[item] = self._loop.call_at(begun + self._length, self._expire_after, _PASSES, item)
            return
        end = self._loop.time() + self._length
        self._ends[item] = end
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._ring)

    def remove(self, item: HasDeadline) -> None:
        """It is done: it does not expire. An item that is not here is passed over."""
        self._ends.pop(item, None)
        if self._own and (timer := self._own.pop(item, None)) is not None:
            timer.cancel()

    def stop(self) -> None:
        """Cancel the timer. The caller has removed every item."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer, now = None, self._loop.time()
        for item in [item for item, end in self._ends.items() if end <= now]:
            del self._ends[item]
            self._expire_after(_PASSES, item)
        oldest = next(iter(self._ends.values()), None)
        if oldest is not None:
            self._timer = self._loop.call_at(oldest, self._ring)

    def _expire_after(self, passes: int, item: HasDeadline) -> None:
        if passes:
            self._loop.call_soon(self._expire_after, passes - 1, item)
        else:
            item.expire()

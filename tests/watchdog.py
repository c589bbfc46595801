"""A test that hangs fails by itself, without holding up the others; one that is only slow does not.

A machine that does other work makes an honest test as slow as it likes, so a hang is told by no progress: the loop has
not had anything to do for so many looks, and a look is taken only while this process runs. What is busy for ever makes
progress of a kind: that ends after minutes, before pytest's own time-out ends the whole run.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import pytest

LOOK_EVERY = 0.5
"""Seconds between two looks."""
IDLE_LOOKS = 60
"""Looks without progress after which a test hangs. A program that it starts may take as long to say its first word."""
MOST_LOOKS = 280
"""Looks in all. Together shorter than `faulthandler_timeout` in pyproject.toml."""


class Patience:
    """Counts looks at something that should make progress."""

    def __init__(self, *, idle_looks: int = IDLE_LOOKS, most_looks: int = MOST_LOOKS) -> None:
        self._idle_looks = idle_looks
        self._most_looks = most_looks
        self._seen: object = None
        self.idle = 0
        self.looks = 0

    def look(self, progress: object) -> bool:
        """Whether it hangs. `progress` is another value than at the last look where anything was done."""
        self.looks += 1
        self.idle = 0 if progress != self._seen else self.idle + 1
        self._seen = progress
        return self.idle >= self._idle_looks or self.looks >= self._most_looks


class Counted:
    """How many callbacks a loop was given by what is at work in it. Timers alone do not count."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.calls = 0
        self._loop = loop
        self._before = loop.call_soon

    def __enter__(self) -> Self:
        self._loop.call_soon = self._call_soon  # type: ignore[method-assign, assignment]
        return self

    def _call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        self.calls += 1
        return self._before(*args, **kwargs)

    def __exit__(self, *_: object) -> None:
        del self._loop.call_soon  # what its class has is in force again


def watch(items: Iterable[pytest.Item], which: Callable[[Path], bool]) -> None:
    """Watch the coroutine tests of the files that are meant."""
    for item in items:
        if isinstance(item, pytest.Function) and which(item.path) and inspect.iscoroutinefunction(item.obj):
            item.obj = watched(item.obj)


def watched(test: Any, patience: Callable[[], Patience] = Patience, look_every: float = LOOK_EVERY) -> Any:
    """`test`, which fails where it hangs."""

    @functools.wraps(test)
    async def under_watch(*args: Any, **kwargs: Any) -> None:
        loop, patient = asyncio.get_running_loop(), patience()
        over: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(test(*args, **kwargs))

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        def look() -> None:
            if patient.look(counted.calls):
                end()
            elif not over.done():
                loop.call_later(look_every, look)

        task.add_done_callback(end)
        with Counted(loop) as counted:
            loop.call_later(look_every, look)
            await over
        if task.done():
            task.result()
            return
        # Once is not enough: leaving a client or a keeper waits for what is under way, and may hang again.
        for _ in range(20):
            task.cancel()
            if (await asyncio.wait((task,), timeout=0.05))[0]:
                break
        pytest.fail(f"it hangs: {patient.idle} looks without progress, {patient.looks} in all")

    return under_watch

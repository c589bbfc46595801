"""Gate: requests wait at it until the test releases them, so that no test sleeps."""

import asyncio
from types import CodeType, CoroutineType
from typing import Any
from weakref import WeakSet

from mesh_refresh.client import MeshClient
from mesh_refresh.keeper import Keeper

_PATIENCE = 2.0
"""Seconds after which a gate opens by itself, because its test cannot open it any more."""
_LOOK_EVERY = 0.1
GATES: "WeakSet[Gate]" = WeakSet()
"""All that are in use."""
_CLOSING: frozenset[CodeType] = frozenset(
    verb.__code__ for verb in (MeshClient.aclose, MeshClient.__aexit__, Keeper.__aexit__)
)
"""Verbs that wait for the requests under way: a test inside of one cannot open a gate."""


class Gate:
    """Where `FakeMesh.hold` keeps a request: ``await gate.entered.wait()``, look around, ``gate.release()``.

    Where the test has failed before its `release`, or waits itself for a client or a keeper to close, the gate opens by
    itself after two seconds.
    """

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        """Set once a request has arrived at the gate."""
        self.waiting = 0
        """How many wait at it now."""
        self._open = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._owner = _current_task()
        self._loop: asyncio.AbstractEventLoop | None = None
        GATES.add(self)

    def release(self) -> None:
        """Let all waiting requests pass, and all that come later."""
        self._open.set()

    def release_from_outside(self) -> None:
        """As `release`, but from any thread. Does nothing where the loop of the server has ended."""
        if self._loop is None:
            self.release()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.release)

    async def arrivals(self, count: int) -> None:
        """Wait until `count` requests wait at the gate at once."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.waiting >= count)

    async def pass_through(self) -> None:
        """Stand at the gate until it opens. For the server."""
        self._loop = asyncio.get_running_loop()
        self.waiting += 1
        self.entered.set()
        try:
            async with self._arrived:
                self._arrived.notify_all()
            await self._opened()
        finally:
            self.waiting -= 1

    async def _opened(self) -> None:
        if self._owner is None:
            await self._open.wait()
            return
        loop, stuck_since = asyncio.get_running_loop(), None
        opening = loop.create_task(self._open.wait())
        try:
            while not opening.done():
                await asyncio.wait((opening,), timeout=_LOOK_EVERY)
                if not _is_stuck(self._owner):
                    stuck_since = None
                elif stuck_since is None:
                    stuck_since = loop.time()
                elif loop.time() - stuck_since >= _PATIENCE - _LOOK_EVERY:
                    self.release()
        finally:
            opening.cancel()

    def __repr__(self) -> str:
        return f"Gate({'open' if self._open.is_set() else 'closed'}, waiting={self.waiting})"


def _current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _is_stuck(owner: "asyncio.Task[Any]") -> bool:
    """Whether the task that made a gate cannot open it: it is over, or waits for what waits at the gate."""
    if owner.done():
        return True
    inner: object = owner.get_coro()
    while isinstance(inner, CoroutineType):
        if inner.cr_code in _CLOSING:
            return True
        inner = inner.cr_await
    return False

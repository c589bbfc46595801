"""Tasks of this process that wait for a change, and the changes that wake them.

A change of one login wakes its own callers and those that wait for anything, such as the loop or a caller that needs a
place. Callers of other logins sleep on: each of them would read and unseal its row for nothing.
"""

import asyncio
from typing import Self

_Waiters = set["asyncio.Future[None]"]


class Wakeups:
    """The waiting tasks of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.changes = 0
        """How many changes there were."""
        self._waiting: _Waiters = set()
        self._sleeping: _Waiters = set()
        self._followed: dict[str, Followed] = {}

    def wake(self, login_id: str | None = None) -> None:
        """Wake the tasks that wait for anything; with `login_id`, its callers too."""
        self.changes += 1
        _release_all(self._waiting)
        followed = None if login_id is None else self._followed.get(login_id)
        if followed is not None:
            followed.changes += 1
            _release_all(followed.waiting)

    def wake_all(self) -> None:
        """Wake every task, those of `sleep` included."""
        self.wake()
        _release_all(self._sleeping)
        for followed in self._followed.values():
            followed.changes += 1
            _release_all(followed.waiting)

    def wake_waiting(self) -> None:
        """Wake the tasks that wait for anything, without counting a change."""
        _release_all(self._waiting)

    async def change(self, seconds: float | None, *, since: int | None = None) -> None:
        """Wait for a change, or for so long; not at all where `changes` is no longer `since`."""
        if since is None or since == self.changes:
            await self._wait(self._waiting, seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait for so long, or until `wake_all`."""
        await self._wait(self._sleeping, seconds)

    def follow(self, login_id: str) -> "Followed":
        """The changes of one login, counted while this is entered."""
        found = self._followed.get(login_id)
        if found is None:
            found = self._followed[login_id] = Followed(self, login_id)
        return found

    def unfollow(self, login_id: str) -> None:
        """Nothing of the process waits for this login any more."""
        del self._followed[login_id]

    async def _wait(self, among: _Waiters, seconds: float | None) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        among.add(waiter)
        timer = None if seconds is None else self._loop.call_later(seconds, _release, waiter)
        try:
            await waiter
        finally:
            among.discard(waiter)
            if timer is not None:
                timer.cancel()


class Followed:
    """One login, for as long as callers wait for it."""

    def __init__(self, wakeups: Wakeups, login_id: str) -> None:
        self.login_id = login_id
        self._wakeups = wakeups
        self._followers = 0
        self.changes = 0
        """How many changes there were since the first of the callers came."""
        self.waiting: _Waiters = set()

    def __enter__(self) -> Self:
        self._followers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._followers -= 1
        if not self._followers:
            self._wakeups.unfollow(self.login_id)

    async def change(self, seconds: float, *, since: int | None = None) -> None:
        """Wait for a change of this login, or for so long; not at all where `changes` is no longer `since`."""
        if since is None or since == self.changes:
            await self._wakeups._wait(self.waiting, seconds)  # noqa: SLF001 - both are one thing


def _release_all(waiting: _Waiters) -> None:
    for waiter in waiting:
        _release(waiter)
    waiting.clear()


def _release(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)

"""What the store was asked for is done to its end, whatever becomes of the caller."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, TypeVar

from mesh_refresh.stores.postgres.connection.failures import closed, failure
from mesh_refresh.stores.postgres.connection.pool import ConnectionPool, Work
from mesh_refresh.tasks import ForeignTask

_T = TypeVar("_T")


class VerbRunner:
    """Tasks that neither a caller's cancel nor a shutdown stops. asyncpg's time-outs work in them."""

    def __init__(self, links: ConnectionPool, shown: str) -> None:
        self._links = links
        self.shown = shown
        """Where the store is."""
        self.patience = links.patience
        """How long an answer may take, in seconds."""
        self._tasks: set[ForeignTask] = set()
        self.orphans: dict[Hashable, set[asyncio.Future[None]]] = {}
        """What cancelled callers asked for, and is under way: by the login, or what else is written."""
        self.closed = False

    async def write(self, key: Hashable, work: Work[_T]) -> _T:
        """What `work` gives, which writes `key`. Raises what the store's verbs raise.

        It is done to its end, whatever becomes of its caller; what is written of the same key later waits for that.
        """
        return await self.whole(lambda: self._links.run(work), key)

    async def do(self, work: Work[_T]) -> _T:
        """The same for what is no one's in particular: nobody waits for it but its caller."""
        return await self.whole(lambda: self._links.run(work))

    async def whole(self, story: Callable[[], Awaitable[_T]], key: Hashable = None) -> _T:
        """The same for what is done in several steps, each of them by `run`."""
        await self.settled(key)
        future: asyncio.Future[_T] = self.future()
        end = self.future()
        self.start(self._into(future, end, story))
        try:
            return await future
        except asyncio.CancelledError:
            self.orphan(key, end)
            raise

    async def look(self, work: Work[_T], *, long: bool = False) -> _T:
        """What `work` reads. Where its caller is cancelled, the server is told to leave it.

        What is `long` leaves half of the connections to others.
        """
        future: asyncio.Future[_T] = self.future()
        end = self.future()
        break_off = self.start(self._into(future, end, lambda: self._links.run(work, long=long)))
        try:
            return await future
        except asyncio.CancelledError:
            if not end.done():
                break_off()
            raise

    async def settled(self, key: Hashable) -> None:
        """Until what a cancelled caller wrote of `key` is done: what comes after sees it, or finds it not done.

        Nothing else is ordered: other keys, claims and readers wait for nobody.
        """
        while pending := self.orphans.get(key):
            await asyncio.wait(set(pending))

    def orphan(self, key: Hashable, end: "asyncio.Future[None] | None") -> None:
        """A caller was cancelled, and what they wrote of `key` is under way until `end`."""
        if key is None or end is None or end.done():
            return
        self.orphans.setdefault(key, set()).add(end)

        def over(_: object) -> None:
            pending = self.orphans[key]
            pending.discard(end)
            if not pending:
                del self.orphans[key]

        end.add_done_callback(over)

    async def run(self, work: Work[_T], *, patient: bool = True) -> _T:
        """What `work` gives, for a task of these. Unless `patient`, a lock is not waited for long."""
        return await self._links.run(work, patient=patient)

    async def leave(self) -> None:
        """What is to be done once the callers were told."""
        await self._links.leave()

    def future(self) -> "asyncio.Future[Any]":
        """For what a caller waits for. Raises `StoreUnavailable` where it is too late."""
        if self.closed:
            raise closed(self.shown)
        return asyncio.get_running_loop().create_future()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run it to its end; what is given back breaks it off."""
        task = ForeignTask(coroutine, loop=asyncio.get_running_loop(), name="mesh_refresh store")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.end

    def failed(self, future: "asyncio.Future[Any]", error: BaseException) -> None:
        """Tell a caller who still waits."""
        if not future.done():
            future.set_exception(failure(error, self.shown))

    async def aclose(self) -> None:
        """Until all that was asked for is done."""
        self.closed = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._links.aclose()

    async def _into(
        self, future: "asyncio.Future[_T]", end: "asyncio.Future[None]", story: Callable[[], Awaitable[_T]]
    ) -> None:
        try:
            result = await story()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - goes to the caller
            self.failed(future, error)
        else:
            give(future, result)
        finally:
            end.set_result(None)
        await self.leave()


def give(future: "asyncio.Future[_T]", result: _T) -> None:
    """To a caller who still waits."""
    if not future.done():
        future.set_result(result)

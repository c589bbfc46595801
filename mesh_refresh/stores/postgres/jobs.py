"""What the store was asked for is done to its end, whatever becomes of the caller."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from mesh_refresh.stores.postgres.failures import closed, failure, is_of_one_row
from mesh_refresh.stores.postgres.links import Links, Work
from mesh_refresh.tasks import ForeignTask

_In = TypeVar("_In")
_T = TypeVar("_T")

_MOST = 500
"""Rows in one statement: more would hold up the first of them."""


class Jobs:
    """Tasks that neither a caller's cancel nor a shutdown stops. asyncpg's time-outs work in them."""

    def __init__(self, links: Links, shown: str) -> None:
        self._links = links
        self._shown = shown
        self._tasks: set[ForeignTask] = set()
        self._orphans: set[asyncio.Future[Any]] = set()
        """What cancelled callers asked for, and is under way."""
        self.closed = False

    async def do(self, work: Work[_T]) -> _T:
        """What `work` gives. Raises what the store's verbs raise."""
        await self.settled()
        future: asyncio.Future[_T] = self.future()
        end = self.future()
        self.start(self._into(future, end, work))
        try:
            return await future
        except asyncio.CancelledError:
            self.orphan(end)
            raise

    async def settled(self) -> None:
        """Until what a cancelled caller asked for is done: what is asked for after it sees it, or finds it not done."""
        while self._orphans:
            await asyncio.wait(set(self._orphans))

    def orphan(self, end: "asyncio.Future[None] | None") -> None:
        """A caller was cancelled, and what they asked for is under way until `end`."""
        if end is not None and not end.done():
            self._orphans.add(end)
            end.add_done_callback(self._orphans.discard)

    async def run(self, work: Work[_T]) -> _T:
        """What `work` gives, for a task of these."""
        return await self._links.run(work)

    async def leave(self) -> None:
        """What is to be done once the callers were told."""
        await self._links.leave()

    def future(self) -> "asyncio.Future[Any]":
        """For what a caller waits for. Raises `StoreUnavailable` where it is too late."""
        if self.closed:
            raise closed(self._shown)
        return asyncio.get_running_loop().create_future()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it to its end."""
        task = ForeignTask(coroutine, loop=asyncio.get_running_loop(), name="mesh_refresh store")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def failed(self, future: "asyncio.Future[Any]", error: BaseException) -> None:
        """Tell a caller who still waits."""
        if not future.done():
            future.set_exception(failure(error, self._shown))

    async def aclose(self) -> None:
        """Until all that was asked for is done."""
        self.closed = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._links.aclose()

    async def _into(self, future: "asyncio.Future[_T]", end: "asyncio.Future[None]", work: Work[_T]) -> None:
        try:
            result = await self._links.run(work)
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


class Group(Generic[_In, _T]):
    """Calls of one verb: those that wait at the same time are one statement and one commit.

    While one statement is under way the next one gathers, so that a lonely call waits for nobody.
    """

    def __init__(
        self,
        jobs: Jobs,
        work: Callable[[Any, Sequence[_In]], Coroutine[Any, Any, Sequence[_T]]],
        key: Callable[[_In], str],
    ) -> None:
        self._jobs = jobs
        self._work = work
        self._key = key
        self._waiting: list[tuple[_In, asyncio.Future[_T]]] = []
        self._running = False
        self._end: asyncio.Future[None] | None = None
        """Of the statement under way."""

    async def ask(self, it: _In) -> _T:
        """What comes of `it`."""
        await self._jobs.settled()
        future: asyncio.Future[_T] = self._jobs.future()
        self._waiting.append((it, future))
        if not self._running:
            self._running = True
            self._jobs.start(self._all())
        try:
            return await future
        except asyncio.CancelledError:
            self._jobs.orphan(self._end)
            raise

    async def _all(self) -> None:
        try:
            while pairs := self._next():
                self._end = asyncio.get_running_loop().create_future()
                try:
                    await self._some(pairs)
                finally:
                    self._end.set_result(None)
                await self._jobs.leave()
        finally:
            self._running = False

    def _next(self) -> list[tuple[_In, "asyncio.Future[_T]"]]:
        """In the order of their keys, so that two groups that meet do not lock up; no two for one login."""
        chosen: dict[str, tuple[_In, asyncio.Future[_T]]] = {}
        left = []
        for pair in self._waiting:
            key = self._key(pair[0])
            if pair[1].done():
                continue  # its caller was cancelled before it was begun
            if key in chosen or len(chosen) == _MOST:
                left.append(pair)
            else:
                chosen[key] = pair
        self._waiting = left
        return [chosen[key] for key in sorted(chosen)]

    async def _some(self, pairs: Sequence[tuple[_In, "asyncio.Future[_T]"]]) -> BaseException | None:
        """Answer them all; gives what went wrong with all of them."""
        asked = [it for it, _ in pairs]
        try:
            results = await self._jobs.run(lambda connection: self._work(connection, asked))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - goes to the callers
            if len(pairs) == 1 or not is_of_one_row(error):
                return self._failed(pairs, error)
        else:
            for (_, future), result in zip(pairs, results, strict=True):
                give(future, result)
            return None
        for done, pair in enumerate(pairs):
            wrong = await self._some([pair])
            if wrong is not None and not is_of_one_row(wrong):
                # A server that is gone is waited for once, and not by each of hundreds.
                return self._failed(pairs[done + 1 :], wrong)
        return None

    def _failed(self, pairs: Sequence[tuple[_In, "asyncio.Future[_T]"]], error: BaseException) -> BaseException:
        for _, future in pairs:
            self._jobs.failed(future, error)
        return error

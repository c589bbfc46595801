"""What the store was asked for is done to its end, whatever becomes of the caller."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from mesh_refresh.stores.postgres.failures import closed, failure, is_of_one_row
from mesh_refresh.stores.postgres.links import Links, Work
from mesh_refresh.tasks import ForeignTask

_In = TypeVar("_In")
_How = TypeVar("_How")
_T = TypeVar("_T")

_MOST = 500
"""Rows in one statement: more would hold up the first of them."""


_Asked = tuple[str, _In, _How, "asyncio.Future[_T]"]
"""A login, what is asked of it and how, and what its caller waits for."""


class Jobs:
    """Tasks that neither a caller's cancel nor a shutdown stops. asyncpg's time-outs work in them."""

    def __init__(self, links: Links, shown: str) -> None:
        self._links = links
        self._shown = shown
        self._tasks: set[ForeignTask] = set()
        self.orphans: set[asyncio.Future[Any]] = set()
        """What cancelled callers asked for, and is under way."""
        self.closed = False

    async def do(self, work: Work[_T]) -> _T:
        """What `work` gives. Raises what the store's verbs raise."""
        return await self.whole(lambda: self._links.run(work))

    async def whole(self, story: Callable[[], Awaitable[_T]]) -> _T:
        """The same for what is done in several steps, each of them by `run`: no wait for others lies between them."""
        await self.settled()
        future: asyncio.Future[_T] = self.future()
        end = self.future()
        self.start(self._into(future, end, story))
        try:
            return await future
        except asyncio.CancelledError:
            self.orphan(end)
            raise

    async def settled(self) -> None:
        """Until what a cancelled caller asked for is done: what is asked for after it sees it, or finds it not done."""
        while self.orphans:
            await asyncio.wait(set(self.orphans))

    def orphan(self, end: "asyncio.Future[None] | None") -> None:
        """A caller was cancelled, and what they asked for is under way until `end`."""
        if end is not None and not end.done():
            self.orphans.add(end)
            end.add_done_callback(self.orphans.discard)

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


class Group(Generic[_In, _How, _T]):
    """Calls of one verb: those that wait at the same time are one statement and one commit.

    While one statement is under way the next one gathers, so that a lonely call waits for nobody.
    """

    def __init__(
        self, jobs: Jobs, work: Callable[[Any, Sequence[_In], _How], Coroutine[Any, Any, Sequence[_T]]]
    ) -> None:
        self._jobs = jobs
        self._work = work
        self._waiting: list[_Asked[_In, _How, _T]] = []
        self._running = False
        self._end: asyncio.Future[None] | None = None
        """Of the statement under way."""

    async def ask(self, login_id: str, it: _In, how: _How) -> _T:
        """What comes of `it`. What is asked for in different ways is not in one statement."""
        if self._jobs.orphans:
            await self._jobs.settled()
        future: asyncio.Future[_T] = self._jobs.future()
        self._waiting.append((login_id, it, how, future))
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
            while asked := self._next():
                self._end = asyncio.get_running_loop().create_future()
                try:
                    await self._some(asked)
                finally:
                    self._end.set_result(None)
                await self._jobs.leave()
        finally:
            self._running = False

    def _next(self) -> "list[_Asked[_In, _How, _T]]":
        """In the order of their ids, so that two groups that meet do not lock up; no two for one login.

        What is asked of a login is done in the order in which it was asked.
        """
        chosen: dict[str, _Asked[_In, _How, _T]] = {}
        left = []
        passed: set[str] = set()
        first: _How | None = None
        for asked in self._waiting:
            login_id, _, how, future = asked
            if future.done():
                continue  # its caller was cancelled before it was begun
            if not chosen:
                first = how
            if login_id in chosen or login_id in passed or how != first or len(chosen) == _MOST:
                left.append(asked)
                passed.add(login_id)
            else:
                chosen[login_id] = asked
        self._waiting = left
        return [chosen[login_id] for login_id in sorted(chosen)]

    async def _some(self, asked: "Sequence[_Asked[_In, _How, _T]]") -> BaseException | None:
        """Answer them all; gives what went wrong with all of them."""
        them, how = [it for _, it, _, _ in asked], asked[0][2]
        try:
            results = await self._jobs.run(lambda connection: self._work(connection, them, how))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - goes to the callers
            if len(asked) == 1 or not is_of_one_row(error):
                return self._failed(asked, error)
        else:
            for (_, _, _, future), result in zip(asked, results, strict=True):
                give(future, result)
            return None
        for done, one in enumerate(asked):
            wrong = await self._some([one])
            if wrong is not None and not is_of_one_row(wrong):
                # A server that is gone is waited for once, and not by each of hundreds.
                return self._failed(asked[done + 1 :], wrong)
        return None

    def _failed(self, asked: "Sequence[_Asked[_In, _How, _T]]", error: BaseException) -> BaseException:
        for *_, future in asked:
            self._jobs.failed(future, error)
        return error

"""Does verbs that wait at the same time as one statement. A row that another program has locked delays no other row."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar, cast

from attrs import define

from mesh_refresh.stores.postgres.connection.failures import is_locked, is_of_one_row, locked
from mesh_refresh.stores.postgres.connection.pool import FIRST_PAUSE, longer
from mesh_refresh.stores.postgres.jobs import VerbRunner, give

_In = TypeVar("_In")
_How = TypeVar("_How")
_T = TypeVar("_T")

_MOST = 500
"""Rows in one statement: more would hold up the first of them."""
_LOCKED_IN_A_ROW = 2
"""So many single rows that are locked, one after the other, and it is the table that is locked."""


@define(eq=False)
class _Asked(Generic[_In, _How, _T]):
    """One call, about one login."""

    login_id: str
    it: _In
    how: _How
    future: "asyncio.Future[_T]"
    """The result, for its caller."""
    end: "asyncio.Future[None] | None" = None
    """Set when the call is begun, and done when it is over, also where its caller was cancelled."""
    until: float = 0.0
    """Until when a lock of another program is waited for, on the loop's clock."""


_Work = Callable[[Any, Sequence[_In], _How], Coroutine[Any, Any, Sequence[_T]]]
_PassingWork = Callable[[Any, Sequence[_In], _How], Coroutine[Any, Any, "Sequence[_T | None]"]]


class Group(Generic[_In, _How, _T]):
    """Calls of one verb: those that wait at the same time are one statement and one commit.

    While one statement is under way the next one gathers, so that a single call does not wait for others. `passing` is
    `work` that passes over locked rows and gives None for them. Those are put aside and tried again beside the others;
    they hold no connection in between.
    """

    def __init__(
        self, jobs: VerbRunner, work: "_Work[_In, _How, _T]", passing: "_PassingWork[_In, _How, _T] | None" = None
    ) -> None:
        self._jobs = jobs
        self._work = work
        self._passing = passing
        self._waiting: list[_Asked[_In, _How, _T]] = []
        self._aside: dict[str, _Asked[_In, _How, _T]] = {}
        """Calls that wait for a lock of another program, by login."""
        self._again_at = self._pauses = 0.0
        """When those are tried again, and how long the last pause was."""
        self._more: asyncio.Future[None] | None = None
        """Done when a call comes during a pause."""
        self._running = False

    async def ask(self, login_id: str, it: _In, how: _How) -> _T:
        """The result for `it`. Calls with different `how` are not in one statement."""
        if login_id in self._jobs.orphans:
            await self._jobs.settled(login_id)
        asked: _Asked[_In, _How, _T] = _Asked(login_id, it, how, self._jobs.future())
        self._waiting.append(asked)
        self._begin()
        try:
            return await asked.future
        except asyncio.CancelledError:
            self._jobs.orphan(login_id, asked.end)
            raise

    def _begin(self) -> None:
        if not self._running:
            self._running = True
            self._jobs.start(self._all())
        elif self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def _all(self) -> None:
        """All in one task: `asyncio.run` waits at its end for those that are there, not for what they start."""
        try:
            while self._waiting or self._aside:
                if self._aside and asyncio.get_running_loop().time() >= self._again_at:
                    await self._ask_again()
                elif asked := self._next():
                    await self._tell(asked, self._work)
                elif self._aside:
                    await self._pause()
                await self._jobs.links.leave()
        finally:
            self._running = False

    async def _pause(self) -> None:
        """Wait until another call comes, or until it is time for those that were put aside."""
        loop = asyncio.get_running_loop()
        self._more = loop.create_future()
        await asyncio.wait((self._more,), timeout=self._again_at - loop.time())
        self._more = None

    def _next(self) -> "list[_Asked[_In, _How, _T]]":
        """The calls of the next statement, in the order of their ids, so that two groups that meet do not deadlock.

        No two are about one login: calls about a login are done in the order in which they came.
        """
        chosen: dict[str, _Asked[_In, _How, _T]] = {}
        left = []
        passed = set(self._aside)
        first: _How | None = None
        for asked in self._waiting:
            login_id = asked.login_id
            if asked.future.done():
                continue  # the caller was cancelled before the call was begun
            if login_id in chosen or login_id in passed or (chosen and asked.how != first) or len(chosen) == _MOST:
                left.append(asked)
                passed.add(login_id)
            else:
                if not chosen:
                    first = asked.how
                chosen[login_id] = asked
        self._waiting = left
        return [chosen[login_id] for login_id in sorted(chosen)]

    async def _tell(
        self, asked: "Sequence[_Asked[_In, _How, _T]]", work: "_PassingWork[_In, _How, _T]"
    ) -> BaseException | None:
        """Answer all of `asked`, or put them aside. Gives the error, where one hit all of them."""
        self._mark(asked)
        error = await self._tried(asked, work)
        if error is not None and is_locked(error) and self._passing is not None and work is not self._passing:
            error = await self._tried(asked, self._passing)
        if error is None:
            return None
        if len(asked) == 1 or not (is_of_one_row(error) or is_locked(error)):
            return self._failed(asked, error)
        locks = 0
        for done, one in enumerate(asked):
            wrong = await self._tell([one], work)
            locks = locks + 1 if wrong is not None and is_locked(wrong) else 0
            gone = wrong is not None and not (is_of_one_row(wrong) or is_locked(wrong))
            if wrong is not None and (gone or locks == _LOCKED_IN_A_ROW):
                # A server that is gone is waited for once, and not by each of hundreds.
                return self._failed(asked[done + 1 :], wrong)
        return None

    def _mark(self, asked: "Sequence[_Asked[_In, _How, _T]]") -> None:
        loop = asyncio.get_running_loop()
        for one in asked:
            if one.end is None:
                one.end, one.until = loop.create_future(), loop.time() + self._jobs.patience

    async def _tried(
        self, asked: "Sequence[_Asked[_In, _How, _T]]", work: "_PassingWork[_In, _How, _T]"
    ) -> BaseException | None:
        them, how = [one.it for one in asked], asked[0].how
        try:
            results = await self._jobs.links.run(lambda connection: work(connection, them, how), patient=False)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - goes to the callers
            return await self._jobs.cause_of(error)
        for one, result in zip(asked, results, strict=True):
            if result is None and work is self._passing:
                self._put_aside(one)
            else:
                give(one.future, cast("_T", result))
                self._over(one)
        return None

    def _failed(self, asked: "Sequence[_Asked[_In, _How, _T]]", error: BaseException) -> BaseException:
        for one in asked:
            if is_locked(error):
                self._put_aside(one)
            else:
                self._jobs.failed(one.future, error)
                self._over(one)
        return error

    def _over(self, one: "_Asked[_In, _How, _T]") -> None:
        if one.end is not None and not one.end.done():
            one.end.set_result(None)

    # Rows that another program has locked.

    def _put_aside(self, one: "_Asked[_In, _How, _T]") -> None:
        """Try it again for as long as an answer may take. Later calls about the same login wait behind it."""
        if asyncio.get_running_loop().time() >= one.until:
            self._jobs.failed(one.future, locked(self._jobs.shown))
            self._over(one)
            return
        if not self._aside:
            self._again_at, self._pauses = asyncio.get_running_loop().time() + FIRST_PAUSE, FIRST_PAUSE
        self._aside[one.login_id] = one

    async def _ask_again(self) -> None:
        """Try the calls that were put aside. Rows that are still locked are passed over."""
        asked = [self._aside[login_id] for login_id in sorted(self._aside)]
        for how in dict.fromkeys(one.how for one in asked):
            these = [one for one in asked if one.how == how]
            for start in range(0, len(these), _MOST):
                await self._tell(these[start : start + _MOST], self._passing or self._work)
        for one in asked:
            if one.end is not None and one.end.done():
                del self._aside[one.login_id]
        self._pauses = longer(self._pauses)
        self._again_at = asyncio.get_running_loop().time() + self._pauses

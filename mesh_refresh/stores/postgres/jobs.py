"""Runs the store's verbs to their end, also where the caller is cancelled; and single statements by their names."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from mesh_refresh.stores.errors import StoreOfNewerVersion
from mesh_refresh.stores.postgres.connection.failures import closed, failure, is_of_tables
from mesh_refresh.stores.postgres.connection.pool import ConnectionPool, Work
from mesh_refresh.stores.postgres.values import given_back, kept
from mesh_refresh.tasks import ForeignTask

_T = TypeVar("_T")

_LONG = 3600
"""Seconds for what reads a whole table."""


class VerbRunner:
    """Runs verbs in tasks that neither a caller's cancel nor a shutdown stops. asyncpg's time-outs work in them."""

    def __init__(self, links: ConnectionPool, shown: str, check: Work[None]) -> None:
        """`check` raises `StoreOfNewerVersion` where the tables are of a version that this one must not use."""
        self.links, self._check = links, check
        self.shown = shown
        """Where the store is."""
        self.patience = links.patience
        """How long an answer may take, in seconds."""
        self._tasks: set[ForeignTask] = set()
        self.orphans: dict[Hashable, set[asyncio.Future[None]]] = {}
        """Writes of cancelled callers that are under way, by their keys."""
        self.closed = False

    async def write(self, key: Hashable, work: Work[_T]) -> _T:
        """The result of `work`, which writes `key`. Raises what the store's verbs raise.

        It is done to its end, also where the caller is cancelled. Later writes of the same key wait for that; None is
        no key.
        """
        return await self.whole(lambda: self.links.run(work), key)

    async def whole(self, story: Callable[[], Awaitable[_T]], key: Hashable = None) -> _T:
        """The same for several steps, each of them by `links`."""
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
        """The result of `work`, which reads. Where the caller is cancelled, the server cancels the statement.

        Work that is `long` leaves half of the connections to others.
        """
        future: asyncio.Future[_T] = self.future()
        end = self.future()
        break_off = self.start(self._into(future, end, lambda: self.links.run(work, long=long)))
        try:
            return await future
        except asyncio.CancelledError:
            if not end.done():
                break_off()
            raise

    async def settled(self, key: Hashable) -> None:
        """Wait until the writes of `key` by cancelled callers are done, so that later verbs see them done or not done.

        Nothing else is ordered: other keys, claims and readers do not wait.
        """
        while pending := self.orphans.get(key):
            await asyncio.wait(set(pending))

    def orphan(self, key: Hashable, end: "asyncio.Future[None] | None") -> None:
        """A caller was cancelled whose write of `key` is under way until `end`."""
        if key is None or end is None or end.done():
            return
        self.orphans.setdefault(key, set()).add(end)

        def over(_: object) -> None:
            pending = self.orphans[key]
            pending.discard(end)
            if not pending:
                del self.orphans[key]

        end.add_done_callback(over)

    def future(self) -> "asyncio.Future[Any]":
        """A future for a caller to wait for. Raises `StoreUnavailable` once the store is closed."""
        if self.closed:
            raise closed(self.shown)
        return asyncio.get_running_loop().create_future()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run `coroutine` to its end. Gives a function that breaks it off."""
        task = ForeignTask(coroutine, loop=asyncio.get_running_loop(), name="mesh_refresh store")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.end

    def failed(self, future: "asyncio.Future[Any]", error: BaseException) -> None:
        """Give `error` to the caller, where it still waits."""
        if not future.done():
            future.set_exception(failure(error, self.shown))

    async def cause_of(self, error: BaseException) -> BaseException:
        """`error`, or why: a newer version may have changed the tables under a process that still runs."""
        if is_of_tables(error):
            try:
                await self.links.run(self._check)
            except StoreOfNewerVersion as newer:
                return newer
            except Exception:  # noqa: BLE001 - then the first one says more
                return error
        return error

    async def aclose(self) -> None:
        """Wait until every verb that was called is done, and close the connections."""
        self.closed = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.links.aclose()

    async def _into(
        self, future: "asyncio.Future[_T]", end: "asyncio.Future[None]", story: Callable[[], Awaitable[_T]]
    ) -> None:
        try:
            result = await story()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - goes to the caller
            self.failed(future, await self.cause_of(error))
        else:
            give(future, result)
        finally:
            end.set_result(None)
        await self.links.leave()


def give(future: "asyncio.Future[_T]", result: _T) -> None:
    """Give `result` to the caller, where it still waits."""
    if not future.done():
        future.set_result(result)


class Statements:
    """Those of a store that is open. `runner` raises `StoreUnavailable` where it is not.

    Parameters and columns are as the caller has them: `kept` and `given_back` turn them into PostgreSQL's, and back.
    """

    def __init__(self, runner: Callable[[], VerbRunner], queries: Callable[[], Mapping[str, str]]) -> None:
        self._runner = runner
        self._queries = queries

    async def write(self, name: str, *values: Any, key: Hashable = None) -> int:
        """How many rows the statement `name` gives, one for each that it changed: see `VerbRunner.write`."""
        return len(await self.rows(name, *values, key=key))

    async def rows(self, name: str, *values: Any, key: Hashable = None) -> list[tuple[Any, ...]]:
        """The same, and the rows themselves."""
        sql, asked = self._queries()[name], [*map(kept, values)]
        return await self._runner().write(key, lambda connection: _fetched(connection, sql, asked))

    async def look(self, name: str, *values: Any, long: bool = False) -> list[tuple[Any, ...]]:
        """The rows of the statement `name`, which reads: see `VerbRunner.look`."""
        sql, asked, timeout = self._queries()[name], [*map(kept, values)], _LONG if long else None
        return await self._runner().look(lambda connection: _fetched(connection, sql, asked, timeout), long=long)


async def _fetched(
    connection: Any, sql: str, asked: Sequence[Any], timeout: float | None = None
) -> list[tuple[Any, ...]]:
    # Here, since a future's repr shows a row as it came.
    return [tuple(map(given_back, row)) for row in await connection.fetch(sql, *asked, timeout=timeout)]

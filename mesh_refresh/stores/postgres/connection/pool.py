"""A few connections, each made when it is first needed. One that broke is replaced when it is needed again."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

from mesh_refresh.stores.postgres.connection.addresses import Target
from mesh_refresh.stores.postgres.connection.connecting import connect
from mesh_refresh.stores.postgres.connection.failures import is_locked, is_worth_again, keeps_the_connection
from mesh_refresh.stores.postgres.connection.sessions import TRANSACTION

_T = TypeVar("_T")

Work = Callable[[Any], Awaitable[_T]]
"""What is done with a connection of asyncpg's."""

_TIMES = 5
_GOODBYE = 1.0
FIRST_PAUSE = 0.05
"""Seconds after which a lock of another program's is asked for again."""


def longer(pause: float) -> float:
    """The pause that follows `pause`, in seconds."""
    return min(pause * 1.5, 0.5)


class ConnectionPool:
    """At most `most` connections. asyncpg's own pool costs a round trip for each use, to reset what we never set."""

    def __init__(self, to: Target, most: int) -> None:
        self._to = to
        self._most = most
        self._places, self._long, self._again = self._semaphores()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Any] = []
        self._late: list[Any] = []

    @property
    def patience(self) -> float:
        """How long an answer may take, in seconds."""
        return self._to.patience.total_seconds()

    async def run(self, work: Work[_T], *, patient: bool = True, long: bool = False) -> _T:
        """The result of `work`, in one transaction or as one statement. Raises what asyncpg raises.

        A lock of another program is waited for as long as an answer, but without holding a connection: work that waits
        tries again, one after the other, so that all of it takes at most one connection from other work. Unless
        `patient`, the error is raised at once. Work that is `long` takes at most half of the connections.
        """
        self._of_this_loop()
        until = asyncio.get_running_loop().time() + self.patience
        undone, pause, turns = 0, FIRST_PAUSE, [self._long] if long else []
        while True:
            try:
                async with AsyncExitStack() as held:
                    for turn in (*turns, self._places):
                        await held.enter_async_context(self._turn(turn))
                    return await self._once(work)
            except Exception as error:
                if is_locked(error) and patient and asyncio.get_running_loop().time() + pause < until:
                    turns = [*turns, self._again] if self._again not in turns else turns
                elif is_worth_again(error) and undone < _TIMES - 1:
                    undone += 1
                    continue
                else:
                    raise
            await asyncio.sleep(pause)
            pause = longer(pause)

    async def leave(self) -> None:
        """Close the connections whose answer did not come, after their callers were told.

        asyncpg first tells the server to cancel the statement: a server whose client is gone goes on, and would claim
        rows that no worker gets.
        """
        while self._late:
            await close(self._late.pop())

    async def aclose(self) -> None:
        """Close the idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await close(connection)

    @asynccontextmanager
    async def _turn(self, of: asyncio.Semaphore) -> AsyncGenerator[None]:
        """Wait for a turn as long as for an answer, and no longer: hundreds of callers may wait one after the other."""
        async with asyncio.timeout(self.patience):
            await of.acquire()
        try:
            yield
        finally:
            of.release()

    def _semaphores(self) -> tuple[asyncio.Semaphore, asyncio.Semaphore, asyncio.Semaphore]:
        return asyncio.Semaphore(self._most), asyncio.Semaphore(max(1, self._most // 2)), asyncio.Semaphore(1)

    def _of_this_loop(self) -> None:
        """Connections of a loop that is gone are of no use in another."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop = loop
            self._places, self._long, self._again = self._semaphores()
            idle, self._idle = self._idle, []
            for connection in idle:
                with suppress(RuntimeError):  # that loop is closed
                    connection.terminate()

    async def _once(self, work: Work[_T]) -> _T:
        connection = await self._taken()
        good = late = False
        try:
            result = await (self._within(connection, work) if self._to.pooled else work(connection))
            good = True
        except (Exception, asyncio.CancelledError) as error:
            good, late = keeps_the_connection(error), isinstance(error, TimeoutError | asyncio.CancelledError)
            raise
        finally:
            if late:
                self._late.append(connection)
            else:
                self._back(connection, good=good)
        return result

    async def _within(self, connection: Any, work: Work[_T]) -> _T:
        """In a transaction: what is prepared, and what is executed, must meet the same server."""

        async def with_settings(connection: Any) -> _T:
            await connection.execute(TRANSACTION)
            return await work(connection)

        return await in_transaction(connection, with_settings)

    async def _taken(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await connect(self._to)

    def _back(self, connection: Any, *, good: bool) -> None:
        if not good:
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append(connection)


async def in_transaction(connection: Any, work: Work[_T]) -> _T:
    """The result of `work`, whose statements are done together or not at all."""
    transaction = connection.transaction(isolation="read_committed")
    await transaction.start()
    try:
        result = await work(connection)
    except Exception as error:
        if keeps_the_connection(error):
            await transaction.rollback()
        raise
    await transaction.commit()
    return result


async def close(connection: Any) -> None:
    """Close it. A statement that is under way is cancelled in the server."""
    try:
        async with asyncio.timeout(_GOODBYE):
            await connection.close()
    except Exception:  # noqa: BLE001 - it is gone in either way
        connection.terminate()

"""A few connections, each made when it is first needed; one that broke is replaced by the next who needs it."""

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
    """The seconds after that pause."""
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
        """What `work` gives, in one transaction or as one statement. Raises what asyncpg raises.

        A lock of somebody else's is waited for as long as for an answer, but not with a connection in hand: what waits
        asks again, one at a time, so that it takes no more than one connection from what does not. Unless `patient`,
        the error is raised at once. What is `long` takes half of the connections at the most.
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
        """Close those whose answer did not come, in a task that comes to its end, after its caller was told.

        asyncpg then tells the server first to leave what it is at: a server whose client is gone goes on, and would
        claim rows for nobody once it gets at them.
        """
        while self._late:
            await _close(self._late.pop())

    async def aclose(self) -> None:
        """Close what is idle."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await _close(connection)

    @asynccontextmanager
    async def _turn(self, of: asyncio.Semaphore) -> AsyncGenerator[None]:
        """Whoever waits for a connection as long as for an answer is told: hundreds may wait, each after the other."""
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
    """What `work` gives, in several statements that are done together or not at all."""
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


async def _close(connection: Any) -> None:
    try:
        async with asyncio.timeout(_GOODBYE):
            await connection.close()
    except Exception:  # noqa: BLE001 - it is gone in either way
        connection.terminate()

"""A few connections, each made when it is first needed; one that broke is replaced by the next who needs it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from mesh_refresh.stores.postgres.addresses import Target
from mesh_refresh.stores.postgres.connecting import connect
from mesh_refresh.stores.postgres.failures import is_worth_again, keeps_the_connection
from mesh_refresh.stores.postgres.sessions import TRANSACTION

_T = TypeVar("_T")

Work = Callable[[Any], Awaitable[_T]]
"""What is done with a connection of asyncpg's."""

_TIMES = 5
_GOODBYE = 1.0


class Links:
    """At most `most` connections. asyncpg's own pool costs a round trip for each use, to reset what we never set."""

    def __init__(self, to: Target, most: int) -> None:
        self._to = to
        self._most = most
        self._places = asyncio.Semaphore(most)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Any] = []
        self._late: list[Any] = []

    async def run(self, work: Work[_T]) -> _T:
        """What `work` gives, in one transaction or as one statement. Raises what asyncpg raises."""
        async with self._place():
            for left in reversed(range(_TIMES)):
                try:
                    return await self._once(work)
                except Exception as error:
                    if not left or not is_worth_again(error):
                        raise
        raise AssertionError

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
    async def _place(self) -> AsyncGenerator[None]:
        """Whoever waits for a connection as long as for an answer is told: hundreds may wait, each after the other."""
        places = self._of_this_loop()
        async with asyncio.timeout(self._to.patience.total_seconds()):
            await places.acquire()
        try:
            yield
        finally:
            places.release()

    def _of_this_loop(self) -> asyncio.Semaphore:
        """Connections of a loop that is gone are of no use in another."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop, self._places = loop, asyncio.Semaphore(self._most)
            idle, self._idle = self._idle, []
            for connection in idle:
                with suppress(RuntimeError):  # that loop is closed
                    connection.terminate()
        return self._places

    async def _once(self, work: Work[_T]) -> _T:
        connection = await self._taken()
        good = late = False
        try:
            if self._to.pooled:
                # What is prepared, and what is executed, must meet the same server.
                async with connection.transaction(isolation="read_committed"):
                    await connection.execute(TRANSACTION)
                    result = await work(connection)
            else:
                result = await work(connection)
            good = True
        except Exception as error:
            good, late = keeps_the_connection(error), isinstance(error, TimeoutError)
            raise
        finally:
            if late:
                self._late.append(connection)
            else:
                self._back(connection, good=good)
        return result

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


async def _close(connection: Any) -> None:
    try:
        async with asyncio.timeout(_GOODBYE):
            await connection.close()
    except Exception:  # noqa: BLE001 - it is gone in either way
        connection.terminate()

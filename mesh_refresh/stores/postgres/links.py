"""A few connections, each made when it is first needed; one that broke is replaced by the next who needs it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mesh_refresh.stores.postgres.connecting import Target, connect
from mesh_refresh.stores.postgres.failures import is_worth_again, keeps_the_connection

_T = TypeVar("_T")

Work = Callable[[Any], Awaitable[_T]]
"""What is done with a connection of asyncpg's."""

_TIMES = 5


class Links:
    """At most `most` connections. asyncpg's own pool costs a round trip for each use, to reset what we never set."""

    def __init__(self, to: Target, most: int) -> None:
        self._to = to
        self._places = asyncio.Semaphore(most)
        self._idle: list[Any] = []

    async def run(self, work: Work[_T]) -> _T:
        """What `work` gives, in one transaction or as one statement. Raises what asyncpg raises."""
        async with self._places:
            for left in reversed(range(_TIMES)):
                try:
                    return await self._once(work)
                except Exception as error:
                    if not left or not is_worth_again(error):
                        raise
        raise AssertionError

    async def aclose(self) -> None:
        """Close what is idle."""
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=1)
            except Exception:  # noqa: BLE001 - it is gone in either way
                connection.terminate()

    async def _once(self, work: Work[_T]) -> _T:
        connection = await self._taken()
        good = False
        try:
            if self._to.pooled:
                # What is prepared, and what is executed, must meet the same server.
                async with connection.transaction(isolation="read_committed"):
                    result = await work(connection)
            else:
                result = await work(connection)
            good = True
        except Exception as error:
            good = keeps_the_connection(error)
            raise
        finally:
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

"""A SqliteStore whose thread a test stops, so that verbs wait together, and uses as the verbs do."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.stores.sqlite.connection.session import SqliteSession

T = TypeVar("T")


class Opened(SqliteStore):
    """A store whose thread a test can stop, and whose statements it sees."""

    statements: list[str]

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Verbs asked for in here are done together after it."""
        reached, goes_on = threading.Event(), threading.Event()

        def wait(session: SqliteSession) -> None:
            reached.set()
            assert goes_on.wait(60)

        waiting = asyncio.ensure_future(self.do(wait))
        await asyncio.to_thread(reached.wait, 60)
        try:
            yield
            await turn()
        finally:
            goes_on.set()
            await waiting

    async def do(self, verb: Callable[[SqliteSession], T], *, writes: bool = False) -> T:
        """What a verb of the test's own gives; in a transaction, if it writes."""
        return await self._thread().run(verb, writes=writes)

    async def scan(self, verb: Callable[[SqliteSession], T]) -> T:
        """The same, as what reads a whole table does it."""
        return await self._scan(verb)

    async def execute(self, sql: str) -> list[Any]:
        """The rows that a statement of the test's own gives."""
        return await self.do(lambda session: session.connection.execute(sql).fetchall())

    def of_boot(self, name: str) -> None:
        """As if the system had been started since, with this name for it."""
        self._clock.boot = name

    async def watch_statements(self) -> None:
        """Remember the statements from now on."""
        self.statements = []
        await self.do(lambda session: session.connection.set_trace_callback(self.statements.append))

    def count(self, statement: str) -> int:
        return sum(it.startswith(statement) for it in self.statements)


async def turn() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)

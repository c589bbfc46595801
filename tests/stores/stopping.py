"""A SqliteStore whose thread a test stops, so that verbs wait together."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.stores.sqlite.connection.session import SqliteSession


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

        waiting = asyncio.ensure_future(self._thread().run(wait, writes=False))
        await asyncio.to_thread(reached.wait, 60)
        try:
            yield
            await turn()
        finally:
            goes_on.set()
            await waiting

    async def watch_statements(self) -> None:
        """Remember the statements from now on."""
        self.statements = []
        await self._thread().run(
            lambda session: session.connection.set_trace_callback(self.statements.append), writes=False
        )

    def count(self, statement: str) -> int:
        return sum(it.startswith(statement) for it in self.statements)


async def turn() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)

"""A store in PostgreSQL that loses its connection at a statement that a test has picked."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import asyncpg
from attrs import frozen

from mesh_refresh.stores.postgres.connection.addresses import Target
from mesh_refresh.stores.postgres.connection.pool import ConnectionPool, Work
from tests.keeper.processes.scene import until
from tests.stores.postgres.postgres_handles import OpenPostgres

Moment = Literal["before", "during", "after"]
"""The server ends the connection before the statement, or while it waits for a lock; or it is done and committed, and
the way back is cut."""
MOMENTS: tuple[Moment, ...] = ("before", "during", "after")


class LosingStore(OpenPostgres):
    """Statements are named as in the ``.sql`` files."""

    planned: Counter[tuple[str, Moment]]
    """What is still to be lost, and how often."""
    admin: str
    """The URL for who ends connections."""

    async def begin(self, admin: str) -> None:
        """From here on it loses what is planned. It was opened before."""
        assert self._jobs is not None
        self.planned, self.admin = Counter(), admin
        links, self._jobs.links = self._jobs.links, _LosingLinks(self, self._to, self._connections)
        await links.aclose()

    def lose(self, statement: str, moment: Moment, times: int = 1) -> None:
        self.planned[statement, moment] += times

    @property
    def all_lost(self) -> bool:
        """Whether all that was planned has happened."""
        return not self.planned.total()

    def next(self, sql: str) -> Moment | None:
        """How the connection is lost at this statement, if it is."""
        for (statement, moment), left in self.planned.items():
            if left and sql.startswith(self._sql[statement].partition("{filters}")[0]):
                self.planned[statement, moment] -= 1
                return moment
        return None


class _LosingLinks(ConnectionPool):
    def __init__(self, store: LosingStore, to: Target, most: int) -> None:
        super().__init__(to, most)
        self._store = store

    async def run(self, work: Work[Any], *, patient: bool = True, long: bool = False) -> Any:
        def losing(connection: Any) -> Any:
            return work(_Losing(connection, self._store))

        return await super().run(losing, patient=patient, long=long)


@frozen
class _Losing:
    """Stands before a connection of asyncpg's."""

    connection: Any
    store: LosingStore

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.connection, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return method

        async def call(sql: str, *values: Any, **options: Any) -> Any:
            return await self._called(lambda: method(sql, *values, **options), self.store.next(sql))

        return call

    async def _called(self, call: Callable[[], Any], moment: Moment | None) -> Any:
        if moment == "before":
            admin = await asyncpg.connect(self.store.admin)
            await self._ended_by(admin)
            await admin.close()
        elif moment == "during":
            return await self._while_it_waits(call)
        result = await call()
        if moment == "after":
            self.connection.terminate()
            raise ConnectionResetError
        return result

    async def _while_it_waits(self, call: Callable[[], Any]) -> Any:
        admin = await asyncpg.connect(self.store.admin)
        schema, pid = self.store.schema, self.connection.get_server_pid()
        async with admin.transaction():
            await admin.execute(f'LOCK TABLE "{schema}".login, "{schema}".pause IN ACCESS EXCLUSIVE MODE')
            calling = asyncio.ensure_future(call())
            waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
            await until(lambda: admin.fetchval(waits, pid))
            await self._ended_by(admin)
            await asyncio.wait((calling,))
        await admin.close()
        return calling.result()

    async def _ended_by(self, admin: Any) -> None:
        assert await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", self.connection.get_server_pid())

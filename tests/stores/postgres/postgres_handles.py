"""Stores in PostgreSQL, each in a schema of its own, and told a time that the tests move."""

import itertools
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from mesh_refresh.stores import PlainText, Row, Store
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.connection.listener import NotificationListener
from mesh_refresh.stores.postgres.floors import Floors
from mesh_refresh.stores.postgres.jobs import VerbRunner
from mesh_refresh.testing import ManualClock

_numbers = itertools.count()

_CLOCK = """
CREATE SCHEMA {clock};
CREATE TABLE {clock}.moved (at timestamptz NOT NULL);
INSERT INTO {clock}.moved VALUES ('2026-01-01 12:00:00Z');
CREATE FUNCTION {clock}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM {clock}.moved';
"""


def new_schema(kind: str = "fleet") -> str:
    """The name of a schema that no test had."""
    return f"{kind}_{os.getpid()}_{next(_numbers)}"


async def execute(url: str, sql: str, *values: Any) -> Any:
    """Run some SQL by itself; gives the first value."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql, *values) if values else await connection.execute(sql)
    finally:
        await connection.close()


class OpenPostgres(PostgresStore):
    """A PostgresStore into which a test looks, and in which it changes what it likes."""

    @property
    def statements(self) -> dict[str, str]:
        """What its verbs send, as named in the ``.sql`` files. Others may be put in their place."""
        return self._sql

    @property
    def floors(self) -> Floors:
        """From where on claims look for what is due. Others may be put in their place."""
        return self._floors

    @floors.setter
    def floors(self, floors: Floors) -> None:
        self._floors = floors

    @property
    def schema(self) -> str:
        """Where its tables are."""
        return self._to.schema

    @property
    def verbs(self) -> VerbRunner:
        """What runs its verbs."""
        return self._open_jobs()

    @property
    def listener(self) -> NotificationListener | None:
        """What hears notifications."""
        return self._ears

    async def fetchval(self, sql: str) -> Any:
        """The first value that a statement of the test's own gives."""
        return await self.verbs.write(None, lambda link: link.fetchval(sql))

    async def swap_many(self, connection: Any, rows: Sequence[Row], owner: str, hold: timedelta) -> None:
        """By that connection, in one statement."""
        await self._swap(connection, [(row, ()) for row in rows], (owner, hold))

    async def read_many(self, connection: Any, login_ids: Sequence[str]) -> None:
        """By that connection, in one statement."""
        await self._read(connection, [*login_ids], None)


def on_clock(store: OpenPostgres, clock: str) -> OpenPostgres:
    """`store`, told the time by the function `clock_timestamp` of the schema `clock`."""
    for name, text in store.statements.items():
        store.statements[name] = text.replace("clock_timestamp()", f"{clock}.clock_timestamp()")
    return store


class PostgresHandles:
    """Stores, each in a schema of its own."""

    partitions = 0

    def __init__(self, url: str) -> None:
        self.clock = ManualClock()
        self._server = url
        self._schema = self._clock = ""

    async def make(self) -> Store:
        self._schema, self._clock = new_schema(), new_schema("clock")
        await execute(self._server, _CLOCK.format(clock=self._clock))
        async with self._open(migrate=True, partitions=self.partitions):
            pass
        return await self.another(None)

    async def another(self, store: Store | None) -> Store:
        return await self._open()

    async def pass_time(self, by: timedelta) -> None:
        self.clock.advance(by)
        await execute(self._server, f"UPDATE {self._clock}.moved SET at = at + $1 RETURNING 1", by)

    def _open(self, **options: Any) -> OpenPostgres:
        store = OpenPostgres.open(self._server, cipher=PlainText(), schema=self._schema, **options)
        store.floors = Floors(self.clock.monotonic)
        return on_clock(store, self._clock)


class PartitionedHandles(PostgresHandles):
    """The logins of each lie in three tables."""

    partitions = 3

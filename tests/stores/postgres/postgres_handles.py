"""Stores in PostgreSQL, each in a schema of its own, and told a time that the tests move."""

import itertools
import os
from datetime import timedelta
from typing import Any

import asyncpg

from mesh_refresh.stores import PlainText, Store
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.floors import Floors
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


def on_clock(store: PostgresStore, clock: str) -> PostgresStore:
    """`store`, told the time by the function `clock_timestamp` of the schema `clock`."""
    store._sql = {
        name: text.replace("clock_timestamp()", f"{clock}.clock_timestamp()") for name, text in store._sql.items()
    }
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

    def _open(self, **options: Any) -> PostgresStore:
        store = PostgresStore.open(self._server, cipher=PlainText(), schema=self._schema, **options)
        store._floors = Floors(self.clock.monotonic)
        return on_clock(store, self._clock)


class PartitionedHandles(PostgresHandles):
    """The logins of each lie in three tables."""

    partitions = 3

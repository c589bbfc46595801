"""A schema of its own for each test, and somebody beside the stores who sees, holds up and ends what they do."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from mesh_refresh.stores import PlainText
from mesh_refresh.stores.postgres.queries import quoted
from tests.stores.postgres.postgres_handles import OpenPostgres


class Fleet:
    """A schema, with a connection of the test's own to its database."""

    def __init__(self, url: str, schema: str, connection: Any) -> None:
        self.url = url
        self.schema = schema
        self._connection = connection

    def store(self, **options: Any) -> OpenPostgres:
        """A store in it, to be opened."""
        given = {"url": self.url, "cipher": PlainText(), "schema": self.schema, **options}
        return OpenPostgres.open(given.pop("url"), **given)

    async def sql(self, text: str, *values: Any) -> Any:
        """Run a statement; gives its first value. ``{schema}`` stands for the schema."""
        return await self._connection.fetchval(text.replace("{schema}", quoted(self.schema)), *values)

    async def pids(self) -> list[int]:
        """The server processes of the stores on this schema, by what each did last."""
        found: list[int] = await self.sql(
            "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity "
            "WHERE application_name = 'mesh_refresh' AND position($1 IN query) > 0",
            quoted(self.schema),
        )
        return found

    @asynccontextmanager
    async def holding(self, text: str) -> AsyncIterator[Any]:
        """Somebody else has run `text`, and has not committed it before this is left."""
        async with connected(self.url) as other, other.transaction():
            await other.execute(text.replace("{schema}", quoted(self.schema)))
            yield other

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """Somebody looks at the database as it is now, as pg_dump does: no vacuum takes away what that sees."""
        async with connected(self.url) as other, other.transaction(isolation="repeatable_read"):
            await other.execute("SELECT FROM pg_catalog.pg_class")
            yield

    def locked(self, table: str = "login") -> Any:
        """Nobody can so much as read `table`."""
        return self.holding(f"LOCK TABLE {{schema}}.{table} IN ACCESS EXCLUSIVE MODE")

    async def waiting(self, many: int = 1) -> list[int]:
        """The server processes that wait for a lock on this schema's tables, or in them, once there are so many."""
        pids: list[int] = []
        while len(pids) < many:
            pids = await self.sql(
                "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0",
                quoted(self.schema),
            )
        return pids

    async def ended(self, pids: list[int]) -> None:
        """End these server processes, as an administrator does."""
        await self.sql("SELECT count(pg_terminate_backend(pid)) FROM unnest($1::int[]) AS pid", pids)

    async def gone(self, pids: list[int]) -> None:
        """Until these server processes have ended."""
        while await self.sql("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1::int[])", pids):
            pass


@asynccontextmanager
async def a_role(fleet: Fleet, *grants: str) -> AsyncIterator[str]:
    """The URL for a role that may do only what is granted to it, until this is left."""
    role = f"role_of_{fleet.schema}"
    await fleet.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'a password'")
    try:
        for grant in grants:
            await fleet.sql(grant.replace("{role}", role))
        parts = urlsplit(fleet.url)
        yield parts._replace(netloc=f"{role}:a%20password@{parts.netloc.rpartition('@')[2]}").geturl()
    finally:
        await fleet.sql(f"DROP OWNED BY {role}")
        await fleet.sql(f"DROP ROLE {role}")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def ran(code: str, *arguments: str) -> str:
    """What `code` prints, in a process of its own; it complains of nothing."""
    command = (sys.executable, "-W", "error", "-c", code, *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()

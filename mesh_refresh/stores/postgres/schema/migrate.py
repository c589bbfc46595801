"""Makes the schema, or brings it to this version: one process at a time, beside workers of the version before."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from attrs import frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores.errors import StoreRefused, StoreUnavailable
from mesh_refresh.stores.postgres.connection.addresses import PATIENCE, Target, target
from mesh_refresh.stores.postgres.connection.connecting import connect
from mesh_refresh.stores.postgres.connection.failures import failure, is_locked, is_worth_again
from mesh_refresh.stores.postgres.connection.pool import close
from mesh_refresh.stores.postgres.connection.sessions import TRANSACTION
from mesh_refresh.stores.postgres.queries import Queries, migrations
from mesh_refresh.stores.postgres.schema.steps import Index, Part, StepKind, steps
from mesh_refresh.stores.postgres.schema.versions import Found, check_owner, check_partitions, check_tables, checked

_MOST_PARTITIONS = 1_024
_TIMES, _PAUSE = 5, 0.5
_WAITED_FOR = 6
"""So many times as long as for an answer, another process that migrates is waited for: it has many of them."""


@frozen
class Migrated:
    """What a schema was, and what it is."""

    before: int
    """The version that was found; 0 where there were no tables."""
    version: int


async def migrate_at(
    url: str, *, schema: str | None = None, partitions: int = 0, timeout: timedelta = PATIENCE
) -> Migrated:
    """`migrate`, at `url`, which is to be masked."""
    to = target(url, schema, timeout, pooled=None)
    del url  # a traceback may be rendered with its locals
    return await migrate(to, partitions)


async def migrate(to: Target, partitions: int) -> Migrated:
    """Bring the schema to the newest version. Others who do the same wait, and find it done.

    Raises `InvalidRequest`, and changes nothing, where `partitions` are asked for and the tables that are there have
    others, or none; and what the store's verbs raise. What is cancelled ends in the server too. What is interrupted
    goes on with the part that it was at.
    """
    if not 0 <= partitions <= _MOST_PARTITIONS:
        raise InvalidRequest(f"partitions must lie between 0 and {_MOST_PARTITIONS}.")
    try:
        return await _migrated(to, partitions)
    except Exception as error:  # noqa: BLE001 - its frames have the password
        failed = failure(error, to.shown)
    raise failed


async def _migrated(to: Target, partitions: int) -> Migrated:
    connection = await connect(to, statements_end=False)
    try:
        migration = _Migration(connection, to, partitions)
        async with migration.alone():
            before = await migration.transaction()
            while part := migration.next():
                await migration.beside_the_work(part)
                await migration.transaction()
        return Migrated(before, migration.newest)
    finally:
        await close(connection)


class _Migration:
    """One process's way from the version that is there to the newest one."""

    def __init__(self, connection: Any, to: Target, partitions: int) -> None:
        self._connection, self._to, self._partitions = connection, to, partitions
        self._queries = Queries(to.schema)
        self._sql = self._queries.of("migrations.sql")
        self._steps = {step.number: step for step in steps(migrations())}
        self.newest = max(self._steps)
        self._found = Found()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """While it is entered, no other process migrates.

        A transaction that stays open on a connection of its own holds the lock: a lock of the session would stay behind
        in a proxy that pools transactions, of which we may not have been told.
        """
        if not self._to.pooled:
            await self._connection.execute(self._sql["settings"].replace("{scope}", "SESSION"))
        keeper = await connect(self._to)
        try:
            await self._taken(keeper)
            yield
        finally:
            keeper.terminate()

    async def transaction(self) -> int:
        """Do the parts that may be in a transaction, as far as they come; gives the version that was found."""
        for left in reversed(range(_TIMES)):
            try:
                return await self._once()
            except Exception as error:
                if not left or not (is_locked(error) or is_worth_again(error)):
                    raise
            await asyncio.sleep(_PAUSE)  # who waited behind this goes first
        raise AssertionError

    def next(self) -> Part | None:
        """The part at which it is; None where all is done."""
        step = self._steps.get(self._found.number + 1)
        return None if step is None else step.parts[self._found.part]

    async def beside_the_work(self, part: Part) -> None:
        """One that takes as long as there are logins, while workers go on."""
        if self._to.pooled:
            raise StoreRefused(
                f"The store {self._to.shown} cannot be brought to version {self._found.number + 1} through a "
                "transaction-pooling proxy: run `mesh-refresh migrate` with a URL of the server itself."
            )
        for statement in Part(part.kind, self._queries.filled(part.sql)).statements():
            if part.kind is StepKind.BATCHES:
                await self._batches(statement)
            else:
                await self._concurrently(statement)
        await self._advance()

    async def _once(self) -> int:
        found = self._found
        try:
            async with self._connection.transaction(isolation="read_committed"):
                if self._to.pooled:
                    await self._connection.execute(TRANSACTION)
                    await self._connection.execute(self._sql["settings"].replace("{scope}", "LOCAL"))
                await self._read()
                before = self._found.number
                while (part := self.next()) is not None and part.kind is StepKind.TRANSACTION:
                    await self._run(part)
        except BaseException:
            self._found = found
            raise
        return before

    async def _read(self) -> None:
        """Where the schema is; it is made where there is none."""
        connection, sql, to = self._connection, self._sql, self._to
        if not await connection.fetchval(sql["has_schema"], to.schema):
            await connection.execute(sql["make_schema"])
        await check_tables(connection, sql, to)
        if not await connection.fetchval(sql["has_version"], to.schema):
            await check_owner(connection, sql, to)
            await connection.execute(sql["make_version"])
            await connection.execute(sql["first_version"])
        self._found = found = checked(await connection.fetchrow(sql["version"]), self.newest, to)
        if found.number < self.newest:
            await check_owner(connection, sql, to)
        if found.number and self._partitions:
            check_partitions(len(await connection.fetch(sql["tables"], to.schema, "login")), self._partitions, to)

    async def _run(self, part: Part) -> None:
        partitioned = " PARTITION BY HASH (login_id)" if self._partitions else ""
        await self._connection.execute(self._queries.filled(part.sql).replace("{partitioned}", partitioned))
        if not self._found.number:
            await _lay_out(self._connection, self._sql, self._partitions)
        await self._advance()

    async def _advance(self) -> None:
        """Write down that the part is done."""
        found, step = self._found, self._steps[self._found.number + 1]
        done = found.part + 1 == len(step.parts)
        self._found = Found(step.number, 0, step.oldest) if done else Found(found.number, found.part + 1, found.oldest)
        await self._connection.execute(self._sql["put_version"], *self._values())

    def _values(self) -> tuple[int, int, int]:
        return self._found.number, self._found.part, self._found.oldest

    async def _taken(self, keeper: Any) -> None:
        """Take the lock, which another process may have that is migrating."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _WAITED_FOR * self._to.patience.total_seconds()
        while True:
            transaction = keeper.transaction(isolation="read_committed")
            await transaction.start()
            await keeper.execute(TRANSACTION + self._sql["settings"].replace("{scope}", "LOCAL"))
            if await keeper.fetchval(self._sql["lock"], self._to.schema):
                break
            # Who waits in a transaction is waited for by who makes an index, who has the lock.
            await transaction.rollback()
            if loop.time() >= until:
                raise StoreUnavailable(f"The store {self._to.shown} is being migrated by another process.")
            await asyncio.sleep(_PAUSE / 10)
        # Ends the portal of that answer: its snapshot, too, would be waited for.
        await keeper.execute("SELECT")

    async def _batches(self, statement: str) -> None:
        """Repeat `statement` until no row is left. A row that another program has locked is waited for."""
        while True:
            try:
                done = await self._connection.execute(statement)
            except Exception as error:
                if not (is_locked(error) or is_worth_again(error)):
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                if done.split()[-1] == "0":
                    return

    async def _concurrently(self, statement: str) -> None:
        index = Index.of(statement)
        # It waits for all older transactions, and delays no other meanwhile.
        await self._connection.execute("SET lock_timeout = 0")
        try:
            if index is None:
                await self._connection.execute(statement)
            else:
                await self._make(index)
        finally:
            await self._connection.execute("SET lock_timeout = '2s'")

    async def _make(self, index: Index) -> None:
        """One that was left half made is made anew. Of a table in parts, that of each part, and then the common one."""
        fetched = await self._connection.fetch(self._sql["tables"], self._to.schema, index.table)
        tables = [table for (table,) in fetched]
        names = {table: f"{index.name}_{number}" for number, table in enumerate(tables)} or {index.table: index.name}
        for table, name in names.items():
            if await self._valid(name) is False:
                await self._connection.execute(f"DROP INDEX CONCURRENTLY {index.schema}.{name}")
            if not await self._valid(name):
                await self._connection.execute(index.sql(table, name))
        if tables and not await self._valid(index.name):
            if await self._valid(index.name) is None:
                await self._connection.execute(index.sql(index.table, index.name, how=""))
            for name in names.values():
                await self._connection.execute(
                    f"ALTER INDEX {index.schema}.{index.name} ATTACH PARTITION {index.schema}.{name}"
                )

    async def _valid(self, name: str) -> bool | None:
        found: bool | None = await self._connection.fetchval(self._sql["is_valid"], self._to.schema, name)
        return found


async def check_version(connection: Any, to: Target) -> None:
    """Raises `StoreRefused` where the schema is still to be made, and `StoreDamaged` where it is a newer one.

    Of the next version it may be, where that says that processes of this one may use it.
    """
    sql, newest = Queries(to.schema).of("migrations.sql"), max(migrations())
    found = Found()
    await check_tables(connection, sql, to)
    if await connection.fetchval(sql["has_version"], to.schema):
        found = checked(await connection.fetchrow(sql["version"]), newest, to)
    if found.number < newest:
        have = (
            f"is of version {found.number}, and this mesh_refresh needs {newest}"
            if found.number
            else "has no tables yet"
        )
        raise StoreRefused(f"The store {to.shown} {have}: run `mesh-refresh migrate`, or open it with migrate=True.")


async def _lay_out(connection: Any, sql: dict[str, str], partitions: int) -> None:
    """The partitions, if any, and how the pages of the table are used."""
    names = [f"login_{number}" for number in range(partitions)]
    for number, name in enumerate(names):
        made = (
            sql["partition"].replace("{name}", name).replace("{of}", str(partitions)).replace("{number}", str(number))
        )
        await connection.execute(made)
    for name in names or ["login"]:
        await connection.execute(sql["storage"].replace("{name}", name))

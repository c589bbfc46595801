"""Makes the schema, or brings it to this version: in one transaction, and one process at a time."""

from datetime import timedelta
from typing import Any

from attrs import frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores.errors import StoreDamaged, StoreOfNewerVersion, StoreRefused
from mesh_refresh.stores.postgres.addresses import PATIENCE, Target, target
from mesh_refresh.stores.postgres.jobs import Jobs
from mesh_refresh.stores.postgres.links import Links
from mesh_refresh.stores.postgres.queries import Queries, migrations

_MOST_PARTITIONS = 1_024


@frozen
class Migrated:
    """What a schema was, and what it is."""

    before: int
    """The version that was found; 0 where there were no tables."""
    version: int


async def migrate_at(
    url: str, *, schema: str | None = None, partitions: int = 0, timeout: timedelta = PATIENCE
) -> Migrated:
    """`migrate`, by a connection of its own to the database at `url`, which is to be masked."""
    to = target(url, schema, timeout, pooled=None)
    del url  # a traceback may be rendered with its locals
    jobs = Jobs(Links(to, 1), to.shown)
    try:
        return await jobs.do(lambda connection: migrate(connection, to, partitions))
    finally:
        await jobs.aclose()


async def migrate(connection: Any, to: Target, partitions: int) -> Migrated:
    """Bring the schema to the newest version. Others who do the same wait, and find it done.

    Raises `InvalidRequest`, and changes nothing, where `partitions` are asked for and the tables that are there have
    others, or none.
    """
    if not 0 <= partitions <= _MOST_PARTITIONS:
        raise InvalidRequest(f"partitions must lie between 0 and {_MOST_PARTITIONS}.")
    queries, steps = Queries(to.schema), migrations()
    sql, newest = queries.of("migrations.sql"), max(steps)
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(sql["lock"].replace("$1", "'" + to.schema.replace("'", "''") + "'"))
        if not await connection.fetchval(sql["has_schema"], to.schema):
            await connection.execute(sql["make_schema"])
        await _check_tables(connection, sql, to)
        if not await connection.fetchval(sql["has_version"], to.schema):
            await _check_owner(connection, sql, to)
            await connection.execute(sql["make_version"])
            await connection.execute(sql["first_version"])
        found = _check(await connection.fetchval(sql["version"]), newest, to)
        if found < newest:
            await _check_owner(connection, sql, to)
        if found and partitions:
            _check_partitions(await connection.fetchval(sql["partitions"], to.schema), partitions, to)
        for number in range(found + 1, newest + 1):
            partitioned = " PARTITION BY HASH (login_id)" if partitions else ""
            await connection.execute(queries.filled(steps[number]).replace("{partitioned}", partitioned))
        if not found:
            await _lay_out(connection, sql, partitions)
        if found < newest:
            await connection.execute(sql["put_version"].replace("{number}", str(newest)))
    return Migrated(found, newest)


async def check_version(connection: Any, to: Target) -> None:
    """Raises `StoreRefused` where the schema is still to be made, and `StoreDamaged` where it is a newer one."""
    sql, newest = Queries(to.schema).of("migrations.sql"), max(migrations())
    found = 0
    await _check_tables(connection, sql, to)
    if await connection.fetchval(sql["has_version"], to.schema):
        found = _check(await connection.fetchval(sql["version"]), newest, to)
    if found < newest:
        have = f"is of version {found}, and this mesh_refresh needs {newest}" if found else "has no tables yet"
        raise StoreRefused(f"The store {to.shown} {have}: run `mesh-refresh migrate`, or open it with migrate=True.")


def _check(found: int | None, newest: int, to: Target) -> int:
    if found is None:
        raise StoreDamaged(f"The store {to.shown} does not say any more of which version it is.")
    if found > newest:
        raise StoreOfNewerVersion(
            f"The store {to.shown} was made by a newer mesh_refresh: its version is {found}, and this one knows "
            f"up to {newest}."
        )
    return found


async def _check_tables(connection: Any, sql: dict[str, str], to: Target) -> None:
    if (name := await connection.fetchval(sql["no_table"], to.schema)) is not None:
        raise StoreRefused(
            f"The store {to.shown} has something named {name} that is no plain table, or has row security: "
            "somebody else made it. Look into it, and make the tables in a schema that is yours alone."
        )


async def _check_owner(connection: Any, sql: dict[str, str], to: Target) -> None:
    """Raises `StoreRefused` where another role could have left something that would run now."""
    if (owner := await connection.fetchval(sql["stranger"], to.schema)) is not None:
        raise StoreRefused(
            f"The store {to.shown} has a schema or a table that belongs to the role {owner}, which could run anything "
            "with the rights of who migrates. Migrate as that role, or give it to yours: ALTER SCHEMA ... OWNER TO, "
            "and ALTER TABLE likewise. Nothing was changed."
        )


def _check_partitions(found: int, wanted: int, to: Target) -> None:
    if found != wanted:
        raise InvalidRequest(
            f"The store {to.shown} has {found or 'no'} partitions, and {wanted} were asked for. That is decided when "
            "its tables are made: make them in another schema, and copy the fleet into it. Nothing was changed."
        )


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

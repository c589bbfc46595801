"""A role that may only make things in `public` runs nothing with the rights of a store, and sees nothing of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import evolve

from mesh_refresh.stores import PlainText, StoreRefused
from mesh_refresh.stores.postgres import PostgresStore
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet, a_role, connected
from tests.stores.postgres.pooling import pooling
from tests.stores.postgres.postgres_handles import new_schema
from tests.stores.postgres.test_privileges import every_verb

pytestmark = pytest.mark.once

_TRAPS = Path(__file__).with_name("traps.sql").read_text()


@pytest.fixture
async def trapped(postgres: str) -> AsyncIterator[Fleet]:
    """A database of its own, in whose `public` a role without any other right has left its traps."""
    name = new_schema("trapped")
    async with connected(postgres) as administrator:
        await administrator.execute(f"CREATE DATABASE {name}")
        try:
            url = urlsplit(postgres)._replace(path=f"/{name}").geturl()
            async with connected(url) as connection:
                fleet = Fleet(url, name, connection)
                async with a_role(fleet, "GRANT CREATE, USAGE ON SCHEMA public TO {role}") as hostile:
                    async with connected(hostile) as its:
                        await its.execute(_TRAPS)
                    yield fleet
        finally:
            await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


# A path that a role, a database or a URL may set; the second is PostgreSQL's own, where only what fits better is taken.
@pytest.mark.parametrize("path", ["public,pg_catalog", "public"])
@pytest.mark.parametrize("pooled", [False, True])
async def test_what_a_hostile_role_left_in_public_is_never_run(trapped: Fleet, path: str, pooled: bool) -> None:
    """Not by whoever migrates, who may be a superuser, and by no verb of a worker."""
    url = with_options(trapped.url, search_path=path)
    async with connected(url) as connection:
        if path != "public":
            with pytest.raises(Exception, match="trapped"):  # the traps are set
                await connection.fetchval("SELECT clock_timestamp()")
    if not pooled:
        await _used(url, trapped.schema)
        return
    async with pooling(trapped.url) as (proxy, _):
        await _used(with_options(proxy, search_path=path), trapped.schema, transaction_pooling=True)


async def _used(url: str, schema: str, **options: Any) -> None:
    async with PostgresStore.open(url, cipher=PlainText(), schema=schema, migrate=True, **options) as store:
        await every_verb(store)
        wake = store.watch(lambda: None)
        row = await store.read("a")
        assert row is not None
        assert await store.swap(evolve(row, due_at=row.changed_at))  # wakes who listens
        wake()


async def test_a_schema_of_somebody_elses_is_not_migrated(empty: Fleet) -> None:
    """Who made it first owns what is in it, triggers too: a superuser would run them."""
    async with a_role(empty, f"CREATE SCHEMA {empty.schema} AUTHORIZATION {{role}}") as its:
        with pytest.raises(StoreRefused, match=f"belongs to the role role_of_{empty.schema}, which could run anything"):
            _ = await empty.store(migrate=True)
        async with empty.store(url=its, migrate=True) as store:  # its own it may
            await every_verb(store)
        async with empty.store(migrate=True) as store:  # and nothing is to be done any more
            assert await store.read("a")


async def test_a_table_of_somebody_elses_is_not_taken_for_ours(empty: Fleet) -> None:
    """In a schema in which others may make things, say."""
    await empty.sql("CREATE SCHEMA {schema}")
    async with a_role(empty, "GRANT ALL ON SCHEMA {schema} TO {role}") as its:
        async with connected(its) as hostile:
            await hostile.execute(f"CREATE TABLE {empty.schema}.version AS SELECT 0 AS number, 0 AS part, 0 AS oldest")
        with pytest.raises(StoreRefused, match="belongs to the role role_of_"):
            _ = await empty.store(migrate=True)


@pytest.mark.parametrize("table", ["login", "notice", "pause", "report", "resumed", "seal", "version"])
@pytest.mark.parametrize("thing", ["a view", "row security"])
async def test_what_is_no_plain_table_is_not_read(fleet: Fleet, thing: str, table: str) -> None:
    """A view, or a policy, runs functions of its owner's for whoever reads it."""
    if thing == "a view":
        await fleet.sql(f"ALTER TABLE {{schema}}.{table} RENAME TO hidden")
        await fleet.sql(f"CREATE VIEW {{schema}}.{table} AS SELECT * FROM {{schema}}.hidden")
    else:
        await fleet.sql(f"ALTER TABLE {{schema}}.{table} ENABLE ROW LEVEL SECURITY")
    for migrate in (False, True):
        with pytest.raises(StoreRefused, match=f"something named {table} that is no plain table, or has row security"):
            _ = await fleet.store(migrate=migrate)


@pytest.mark.parametrize("partitions", [0, 2])
async def test_a_table_that_a_crash_would_empty_is_refused(empty: Fleet, partitions: int) -> None:
    """Somebody made it UNLOGGED to write faster; logged again, it is opened."""
    async with empty.store(migrate=True, partitions=partitions):
        pass
    table = "login_1" if partitions else "seal"
    await empty.sql(f"ALTER TABLE {{schema}}.{table} SET UNLOGGED")
    for migrate in (False, True):
        with pytest.raises(StoreRefused, match=f"could lose what was written: its table {table} is UNLOGGED"):
            _ = await empty.store(migrate=migrate)
    await empty.sql(f"ALTER TABLE {{schema}}.{table} SET LOGGED")
    async with empty.store():
        pass

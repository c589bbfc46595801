"""PostgresStore's tables are made once, whoever else makes them at the same time, and are never made older."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.stores import Page, StoreDamaged, StoreRefused
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.queries import migrations, quoted
from mesh_refresh.stores.postgres.schema import migrate as migrating
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_request, a_row, fill, kept
from mesh_refresh.testing.conformance.store_outbox import a_notice
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet, ran
from tests.stores.postgres.postgres_handles import new_schema

TABLES = frozenset(("duty", "figures", "login", "notice", "pause", "report", "resumed", "seal", "version"))

pytestmark = pytest.mark.once

ODD_NAMES = (
    'quote"s',
    "it's",
    "CamelCase",
    " blanks and\ttabs ",
    "two\nlines; DROP TABLE x; --",
    "$1",
    "%s %I",
    "back\\slash",
    "é😀",
)

_OPENER = """
import asyncio, sys
from mesh_refresh.stores import PlainText
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.testing.conformance.store_kit import a_row
url, schema, me = sys.argv[1:]
async def main():
    async with PostgresStore.open(url, cipher=PlainText(), schema=schema, migrate=True) as store:
        assert await store.insert(a_row(me))
asyncio.run(main())
"""


async def refused(store: PostgresStore, error: type[MeshRefreshError], text: str) -> None:
    with pytest.raises(error, match=text):
        _ = await store


async def tables(fleet: Fleet) -> list[str]:
    found: list[str] = await fleet.sql(
        "SELECT coalesce(array_agg(relname ORDER BY relname), '{}') FROM pg_class "
        "WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind IN ('r', 'p')",
        fleet.schema,
    )
    return found


async def removed(fleet: Fleet) -> None:
    await fleet.sql("DROP SCHEMA {schema} CASCADE")


async def test_an_empty_database_is_told_what_to_do(empty: Fleet) -> None:
    """`StoreRefused`, and nothing is made."""
    await refused(empty.store(), StoreRefused, r"has no tables yet: run `mesh-refresh migrate`, or .*migrate=True")
    assert await tables(empty) == []
    assert not await empty.sql("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", empty.schema)


async def test_many_stores_make_one_schema(empty: Fleet) -> None:
    """All of one process that open at once; the one that is first makes it, the others find it."""
    stores = [empty.store(migrate=True, connections=1) for _ in range(20)]

    async def opened(store: PostgresStore) -> PostgresStore:
        return await store

    try:
        await asyncio.gather(*(opened(store) for store in stores))
        await fill(stores[0], a_row())
        assert [(await kept(store)).login_id for store in stores] == ["a"] * 20
        assert await tables(empty) == sorted(TABLES)
        assert await empty.sql("SELECT array_agg(number) FROM {schema}.version") == [max(migrations())]
    finally:
        await asyncio.gather(*(store.aclose() for store in stores))


async def test_many_processes_make_one_schema(empty: Fleet) -> None:
    """As when a fleet is rolled out."""
    assert (
        await asyncio.gather(*(ran(_OPENER, empty.url, empty.schema, str(number)) for number in range(4))) == [""] * 4
    )
    async with empty.store() as store:
        assert len(await store.rows(Page(10))) == 4


async def test_a_newer_version_is_left_alone(fleet: Fleet) -> None:
    """`StoreDamaged`, which tells both versions, for whoever migrates too."""
    await fleet.sql("UPDATE {schema}.version SET number = 99")
    await fleet.sql("DROP TABLE {schema}.pause")
    await fleet.sql("DROP TABLE {schema}.resumed")
    for migrate in (False, True):
        text = f"newer mesh_refresh: its version is 99, and this one knows up to {max(migrations())}. "
        await refused(fleet.store(migrate=migrate), StoreDamaged, f"{text}Nothing in it was changed: update [^.]*.$")
    assert await fleet.sql("SELECT number FROM {schema}.version") == 99
    assert await tables(fleet) == sorted(TABLES - {"pause", "resumed"})


async def test_a_version_that_is_gone_is_told(fleet: Fleet) -> None:
    """Who emptied that table has changed more, perhaps."""
    await fleet.sql("DELETE FROM {schema}.version")
    for migrate in (False, True):
        await refused(fleet.store(migrate=migrate), StoreDamaged, "version")


@pytest.mark.parametrize("table", sorted(TABLES - {"version"}))
async def test_a_table_that_is_gone_is_told(fleet: Fleet, table: str) -> None:
    """`StoreDamaged`: at opening, or by every verb that needs it."""
    store = fleet.store()
    await fleet.sql(f"DROP TABLE {{schema}}.{table}")
    if table == "seal":
        await refused(store, StoreDamaged, "lacks tables")
        return
    async with store:
        verbs: dict[str, list[Any]] = {
            "login": [
                store.read("a"),
                store.insert(a_row()),
                store.swap(a_row()),
                store.rows(Page(1)),
                store.claim(a_request()),
                store.counts(NOW),
                store.delete("a"),
                store.key_usage(),
            ],
            "pause": [store.claim(a_request()), store.paused(), store.pause("x"), store.pause("x", paused=False)],
            "resumed": [store.resumed(), store.pause("x", paused=False)],
            "notice": [store.insert(a_row(), notices=[a_notice("1")]), store.outbox.counts(), store.delete("a")],
            "report": [store.registry.reports()],
            "duty": [store.registry.claim_duty("count", "me", LEASE)],
            "figures": [store.registry.figures()],
        }
        for verb in verbs.pop(table):
            with pytest.raises(StoreDamaged, match="lacks tables"):
                await verb
        for verb in (verb for others in verbs.values() for verb in others):
            verb.close()


async def test_steps_run_in_order_and_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version is brought forward, with its rows; where one step fails it stays as it was."""
    async with fleet.store() as store:
        await fill(store, a_row(sealed=b"kept"))
    second = "CREATE TABLE {schema}.more (n int);\nINSERT INTO {schema}.more VALUES (1); -- with a comment; of ours\n"
    third = "INSERT INTO {schema}.more VALUES (2);"
    for step in ("INSERT INTO {schema}.nowhere VALUES (1);", third):
        monkeypatch.setattr(migrating, "migrations", lambda step=step: {**migrations(), 2: second, 3: step})
        await refused(fleet.store(), StoreRefused, "is of version 1, and this mesh_refresh needs 3: run")
        if step is not third:
            await refused(fleet.store(migrate=True), StoreDamaged, "lacks tables")
            assert "more" not in await tables(fleet)
            assert await fleet.sql("SELECT number FROM {schema}.version") == 1
    for _ in range(2):
        async with fleet.store(migrate=True) as store:
            assert (await kept(store)).sealed == b"kept"
    assert await fleet.sql("SELECT array_agg(n ORDER BY n) FROM {schema}.more") == [1, 2]
    monkeypatch.undo()
    await refused(fleet.store(migrate=True), StoreDamaged, "its version is 3")


@pytest.mark.parametrize("name", [*ODD_NAMES, "pad to 63"])
async def test_a_schema_may_have_any_name(empty: Fleet, name: str) -> None:
    """Quotes, capitals, blanks, and as many bytes as PostgreSQL takes; the URL may say it too."""
    empty.schema = f"{new_schema()}{name}"
    if name == "pad to 63":
        empty.schema = empty.schema.ljust(63, "x")
    async with empty.store(migrate=True, partitions=2) as store:
        await fill(store, a_row())
    try:
        by_url = PostgresStore.open(with_options(empty.url, schema=quote(empty.schema, safe="")), cipher=store.cipher)
        async with by_url as other:
            assert [row.login_id for row in await other.claim(a_request())] == ["a"]
            assert [row.login_id for row in await other.rows(Page(1, states=frozenset(["active"])))] == ["a"]
            await other.pause("x", paused=False)
        assert await empty.sql("SELECT count(*) FROM {schema}.login") == 1
        assert await tables(empty) == sorted(TABLES | {"login_0", "login_1"})
    finally:
        await removed(empty)


@pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32, "nul\0", "pg_mine", "\ud800", "{name}", 7])
async def test_what_no_schema_can_be_called_is_refused(empty: Fleet, name: Any) -> None:
    """`InvalidRequest`, before anything is sent."""
    with pytest.raises(InvalidRequest):
        _ = empty.store(schema=name)


async def test_partitions_are_laid_out_once(empty: Fleet) -> None:
    """As many as were asked for when the tables were made, and others are refused; the rows are spread over them."""
    async with empty.store(migrate=True, partitions=4) as store:
        await asyncio.gather(*(store.insert(a_row(str(number))) for number in range(100)))
    await refused(empty.store(migrate=True, partitions=7), InvalidRequest, "has 4 partitions, and 7 were asked for")
    for same in (4, 0):
        async with empty.store(migrate=True, partitions=same) as store:
            assert len(await store.rows(Page(1_000))) == 100
    assert await tables(empty) == sorted(TABLES | {f"login_{number}" for number in range(4)})
    for number in range(4):
        assert await empty.sql(f"SELECT count(*) FROM {{schema}}.login_{number}") > 0
        fill_factor = "SELECT reloptions::text FROM pg_class WHERE oid = $1::regclass"
        assert "fillfactor=75" in await empty.sql(fill_factor, f"{quoted(empty.schema)}.login_{number}")


async def test_tables_without_partitions_are_not_given_any_and_not_changed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer version is not made of them either; without `partitions` it is."""
    second = "CREATE TABLE {schema}.more (n int);"
    monkeypatch.setattr(migrating, "migrations", lambda: {**migrations(), 2: second})
    await refused(fleet.store(migrate=True, partitions=4), InvalidRequest, "has no partitions, and 4 were asked for")
    assert await tables(fleet) == sorted(TABLES)
    assert await fleet.sql("SELECT number FROM {schema}.version") == 1
    async with fleet.store(migrate=True):
        assert "more" in await tables(fleet)


@pytest.mark.parametrize("number", [-1, 1_025])
async def test_partitions_are_some(empty: Fleet, number: int) -> None:
    """`InvalidRequest` for less than none and for too many, and nothing is made."""
    await refused(empty.store(migrate=True, partitions=number), InvalidRequest, "between 0 and 1024")
    assert await tables(empty) == []

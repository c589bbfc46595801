"""What statements read: a bounded part of the table, however large it is, and whatever PostgreSQL thinks of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from mesh_refresh.stores import Page
from mesh_refresh.stores.postgres import claiming
from mesh_refresh.stores.postgres.connection.sessions import TRANSACTION
from mesh_refresh.stores.postgres.scanning import page_query
from mesh_refresh.stores.postgres.values import span
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_request, a_row
from tests.stores.postgres.bystander import Fleet, connected
from tests.stores.postgres.postgres_handles import new_schema

pytestmark = pytest.mark.once

ROWS, LIMIT = int(os.environ.get("MESH_REFRESH_PLAN_ROWS", "100000")), 50
LOOK = 5
"""Pages that are read to find a row by its name: three levels of an index, four from ten million rows on; the row."""
WRITE = 4 * LOOK
"""Pages that are read to change a row: it is found, and entered into the three indexes on times and brokers."""
MEMORY = max(1, 4 * ROWS // 10**6)
"""Megabytes of `work_mem`: 4, which is PostgreSQL's own, for a million rows, so that fewer are as much for it."""
_FILL = """
INSERT INTO {schema}.login
    (login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, owner, sends, open_before,
    until, sealed)
SELECT
    'login ' || number, CASE WHEN number % 10 = 0 THEN 'rare' ELSE 'coinbase' END, 'active',
    '2026-01-01 12:00Z'::timestamptz + number * interval '1 second' - interval '12 hours', NULL,
    '2026-01-01 00:00Z', 'epoch', 1, 0, NULL, TRUE, FALSE, NULL, '\\x00'
FROM generate_series(1, $1::int) AS number
"""


@pytest.fixture(scope="module")
def schemas(postgres: str) -> Iterator[dict[int, str]]:
    """Two brokers with half of their logins due, in one table and in parts."""
    made = {parts: new_schema("large") for parts in (0, 3)}

    async def make() -> None:
        async with connected(postgres) as connection:
            for parts, schema in made.items():
                await _fill(Fleet(postgres, schema, connection), parts)

    async def drop() -> None:
        async with connected(postgres) as connection:
            for schema in made.values():
                await connection.execute(f"DROP SCHEMA {schema} CASCADE")

    asyncio.run(make())
    yield made
    asyncio.run(drop())


async def _fill(fleet: Fleet, parts: int) -> None:
    async with fleet.store(migrate=True, partitions=parts):
        pass
    for part in [f"login_{number}" for number in range(parts)] or ["login"]:
        # Nobody analyzes it behind the test's back.
        await fleet.sql(f"ALTER TABLE {{schema}}.{part} SET (autovacuum_enabled = off)")
    await fleet.sql(_FILL, ROWS)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@asynccontextmanager
async def undone(connection: Any) -> AsyncIterator[None]:
    """What is done in here is as if it had not been."""
    transaction = connection.transaction()
    await transaction.start()
    yield
    await transaction.rollback()


def literal(value: Any) -> str:
    """As text that PostgreSQL reads as whatever type is wanted."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        value = "{" + ",".join('"' + literal(it)[1:-1] + '"' if it is not None else "NULL" for it in value) + "}"
    elif isinstance(value, timedelta):
        value = f"{value.total_seconds()} s"
    elif isinstance(value, bytes):
        value = value.decode()
    return f"'{value}'"


class Explained:
    """Stands for a connection, and keeps the plans of what is fetched, which it undoes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plans: list[dict[str, Any]] = []

    async def fetch(self, sql: str, *values: Any, **_: Any) -> list[Any]:
        async with undone(self._connection):
            # Not with parameters of its own: those, EXPLAIN would always plan for.
            await self._connection.execute("DEALLOCATE ALL; PREPARE it AS " + sql)
            given = f"({', '.join(map(literal, values))})"
            found = await self._connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE it {given} -- {len(self.plans)}"
            )
        self.plans.append(json.loads(found)[0]["Plan"])
        return []

    def assert_reads_few(self, buffers: int, rows: int = 20 * LIMIT) -> None:
        """No table is read from end to end, and so many of its pages, and rows at a time, at the most."""
        plan = self.plans[-1]
        done = [node for node in nodes(plan) if node["Actual Loops"]]
        read_whole = {node["Relation Name"] for node in done if node["Node Type"] == "Seq Scan"}
        assert read_whole <= {"pause"}
        read = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        assert read <= buffers, f"{read} pages"
        most = max(node["Actual Rows"] * node["Actual Loops"] for node in done)
        assert most <= rows, f"{most} rows"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("analyzed", [False, True], ids=["grown", "analyzed"])
@pytest.mark.parametrize("parts", [0, 3])
async def test_statements_read_what_they_give(
    postgres: str, schemas: dict[int, str], parts: int, analyzed: bool, mode: str
) -> None:
    """A claim of fifty of a hundred thousand, with and without limits, with many due and with none; a page; a read."""
    async with (
        connected(postgres) as connection,
        Fleet(postgres, schemas[parts], connection).store() as store,
        undone(connection),
    ):
        await connection.execute(f"{TRANSACTION} SET LOCAL plan_cache_mode = {mode}")
        if analyzed:
            await connection.execute(f"ANALYZE {schemas[parts]}.login")
        explained = Explained(connection)
        for request in (
            a_request(limit=LIMIT),
            a_request(limit=LIMIT, limit_each=10, limits={"rare": 3}),
            a_request(limit=LIMIT, limits={"coinbase": 0}),
            a_request(limit=LIMIT, now=datetime.min.replace(tzinfo=NOW.tzinfo) + timedelta(days=1), wall=NOW),
        ):
            await claiming.claim(explained, store.statements["claim"], request)
            explained.assert_reads_few((2 * LOOK + WRITE) * LIMIT)  # looked at, locked and changed
            await claiming.claim_ahead(explained, store.statements["claim_ahead"], request)
            explained.assert_reads_few((2 * LOOK + WRITE) * LIMIT)
        # A wall clock that is two days behind: every row was changed in its future.
        behind = a_request(limit=LIMIT, now=NOW - timedelta(days=2))
        await claiming.claim_ahead(explained, store.statements["claim_ahead"], behind)
        explained.assert_reads_few(10_000, rows=3_000)
        await explained.fetch(store.statements["claim_one"], "login 7", "me", span(LEASE), True)
        explained.assert_reads_few(100)
        for many in (LIMIT, 500):
            rows = [a_row(f"login {number}") for number in range(many)]
            await store.swap_many(explained, rows, "me", LEASE)
            explained.assert_reads_few(WRITE * many)
            await store.read_many(explained, [row.login_id for row in rows])
            explained.assert_reads_few(LOOK * many)
        by_change = (
            (NOW, NOW - timedelta(days=1)) if analyzed else ()
        )  # without statistics, there is no telling how many
        # Not those of one broker: an index for them would be written with every refresh, and they are asked for seldom.
        for page in (
            Page(LIMIT, after="login 5"),
            Page(LIMIT, states=frozenset(["mfa_required", "reconnect_required"])),
            *(Page(LIMIT, changed_since=since) for since in by_change),
        ):
            sql, values = page_query(store.statements, page)
            await explained.fetch(sql, *values)
            explained.assert_reads_few(LOOK * LIMIT)


_NOTICES = """
INSERT INTO {schema}.notice (id, login_id, due_at, written_at, tries, first_tried_at, is_dead, owner, until, sealed)
SELECT
    'notice ' || number, 'login ' || number, $2::timestamptz - number * interval '1 ms', '2026-01-01 00:00Z', 1, NULL,
    number % 10 = 0, NULL, NULL, '\\x00'
FROM generate_series(1, $1::int) AS number
"""


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("is_due", [False, True])
async def test_claims_of_notices_read_what_they_give(
    postgres: str, schemas: dict[int, str], mode: str, *, is_due: bool
) -> None:
    """Ten of ten thousand that wait, or none; and none is old enough to be forgotten."""
    async with (
        connected(postgres) as connection,
        Fleet(postgres, schemas[0], connection).store() as store,
        undone(connection),
    ):
        await connection.execute(f"{TRANSACTION} SET LOCAL plan_cache_mode = {mode}")
        due_at = NOW - timedelta(hours=1) if is_due else NOW + timedelta(hours=1)
        await connection.execute(_NOTICES.replace("{schema}", schemas[0]), 10_000, due_at)
        await connection.execute(f"ANALYZE {schemas[0]}.notice")
        explained = Explained(connection)
        ahead, far = NOW + timedelta(minutes=2), NOW + timedelta(days=1, minutes=2)
        await explained.fetch(store.statements["due_notices"], "me", span(LEASE), NOW, ahead, 10, far)
        explained.assert_reads_few(2 * (LOOK + WRITE) * 10)  # four indexes
        await explained.fetch(store.statements["purge_notices"], NOW - timedelta(days=30), True, 1_000)
        explained.assert_reads_few(LOOK)


@pytest.mark.parametrize("analyzed", [False, True], ids=["grown", "analyzed"])
@pytest.mark.parametrize("parts", [0, 3])
async def test_counts_read_the_table_once(postgres: str, schemas: dict[int, str], parts: int, analyzed: bool) -> None:
    """Every page is read once, rows are counted where they are found, and only the groups are sorted."""
    async with (
        connected(postgres) as connection,
        Fleet(postgres, schemas[parts], connection).store() as store,
        undone(connection),
    ):
        await connection.execute(
            f"{TRANSACTION} SET LOCAL work_mem = '{MEMORY}MB'; SET LOCAL max_parallel_workers_per_gather = 0"
        )
        if analyzed:
            await connection.execute(f"ANALYZE {schemas[parts]}.login")
        pages = await connection.fetchval(
            "SELECT sum(pg_relation_size(oid)) / current_setting('block_size')::int FROM pg_class"
            " WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND relname LIKE 'login%'",
            schemas[parts],
        )
        explained = Explained(connection)
        await explained.fetch(store.statements["counts"], NOW)
    plan = explained.plans[-1]
    read = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert read <= 1.05 * float(pages) + 100, f"{read} of {pages} pages"
    sorted_rows = [node["Actual Rows"] for node in nodes(plan) if node["Node Type"] == "Sort"]
    assert max(sorted_rows, default=0) <= 10

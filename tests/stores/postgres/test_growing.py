"""A step that changes a large table: beside the workers, who are of this version and of the one before.

There is only one version yet, so the second step is made up; ``MESH_REFRESH_GROWING_ROWS`` is the number of logins.
"""

import asyncio
import os
from datetime import timedelta

import pytest
from attrs import evolve

from mesh_refresh.stores import StoreDamaged, StoreError, StoreRefused, StoreUnavailable
from mesh_refresh.stores.errors import StoreOfNewerVersion
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.queries import migrations
from mesh_refresh.stores.postgres.schema import migrate as migrating
from mesh_refresh.stores.postgres.schema.steps import StepKind, steps
from mesh_refresh.testing.conformance.store_kit import NOW, a_request, a_row, fill, kept
from tests.postgres_server import with_options
from tests.stores.postgres.at_scale import DAY, fill_in
from tests.stores.postgres.bystander import Fleet
from tests.stores.postgres.pooling import pooling

pytestmark = pytest.mark.once

ROWS = int(os.environ.get("MESH_REFRESH_GROWING_ROWS", "6000"))
SECOND = """
-- oldest: 1
ALTER TABLE {schema}.login ADD COLUMN shard integer;
-- part: batches
UPDATE {schema}.login SET shard = 7
WHERE login_id = ANY (ARRAY(SELECT login_id FROM {schema}.login WHERE shard IS NULL LIMIT 5000));
-- part: concurrently
CREATE INDEX CONCURRENTLY login_shard ON {schema}.login (shard, login_id);
"""
INDEXES = """
SELECT coalesce(array_agg(class.relname::text ORDER BY class.relname), '{}')
FROM pg_index JOIN pg_class AS class ON class.oid = indexrelid
WHERE class.relname LIKE 'login_shard%' AND class.relnamespace = $1::regnamespace AND indisvalid
"""


def grown(monkeypatch: pytest.MonkeyPatch, second: str = SECOND) -> None:
    """From now on, there is a second version."""
    monkeypatch.setattr(migrating, "migrations", lambda: {**migrations(), 2: second})


async def worked(store: PostgresStore, until: "asyncio.Future[int]") -> int:
    """Claim and settle as a worker of the first version does; gives how many logins it was."""
    done = 0
    while not until.done():
        for row in await store.claim(a_request(limit=20)):
            done += await store.swap(evolve(row, due_at=NOW), owner="me")
    return done


@pytest.mark.parametrize("partitions", [0, 3])
async def test_a_step_runs_beside_workers_of_the_version_before(
    empty: Fleet, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    """Though statements of its role end after a moment; every row is changed, and both versions may be started."""
    async with empty.store(migrate=True, partitions=partitions):
        pass
    await fill_in(empty, ROWS, NOW - DAY)
    async with empty.store() as old:
        grown(monkeypatch)
        url = with_options(empty.url, statement_timeout="20ms")
        migrated = asyncio.ensure_future(PostgresStore.migrate(url, schema=empty.schema))
        assert await worked(old, migrated)
        assert await migrated == 2
        assert await empty.sql("SELECT count(*) FROM {schema}.login WHERE shard IS DISTINCT FROM 7") == 0
        names = [f"login_shard_{number}" for number in range(partitions)]
        assert await empty.sql(INDEXES, empty.schema) == ["login_shard", *names]
        await fill(old, a_row("by the old one"))
    async with empty.store() as new:
        assert (await kept(new, "by the old one")).revision == 1
    monkeypatch.undo()
    for migrate in (False, True):
        async with empty.store(migrate=migrate) as old:
            await fill(old, a_row(f"by one that was started later {migrate}"))


async def test_only_one_version_is_worked_beside(fleet: Fleet) -> None:
    """The next but one, or one that says that it is no longer for this, is left alone."""
    for number, oldest in ((3, 1), (2, 2)):
        await fleet.sql(f"UPDATE {{schema}}.version SET number = {number}, oldest = {oldest}")
        for migrate in (False, True):
            with pytest.raises(StoreOfNewerVersion, match=f"its version is {number}, and this one knows up to 1"):
                _ = await fleet.store(migrate=migrate)


async def test_a_version_that_renames_a_column_is_told_as_such(fleet: Fleet) -> None:
    """To processes that still run: nothing is damaged, and no backup helps. Without a newer version, it is damage."""
    async with fleet.store() as store:
        await fill(store, a_row("a"))
        await fleet.sql("ALTER TABLE {schema}.login RENAME COLUMN due_at TO due")
        with pytest.raises(StoreDamaged, match="lacks columns"):
            await store.read("a")
        await fleet.sql("UPDATE {schema}.version SET number = 3, oldest = 3")
        for verb in (store.read("a"), store.claim(a_request()), store.counts(NOW), store.swap(a_row("a"))):
            with pytest.raises(StoreOfNewerVersion, match="its version is 3, and this one knows up to 1"):
                await verb
        await fleet.sql("ALTER TABLE {schema}.notice RENAME TO notices")
        with pytest.raises(StoreOfNewerVersion):
            await store.outbox.counts()


async def test_what_was_interrupted_goes_on(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an index is taken away, and what was done is not done again; until then the version is the old one."""
    async with fleet.store() as store:
        await fill(store, a_row("a"), a_row("b"))
        grown(
            monkeypatch, SECOND.replace("CREATE INDEX", "CREATE UNIQUE INDEX").replace("(shard, login_id)", "(shard)")
        )
        with pytest.raises(StoreError, match="SQLSTATE 23505"):
            _ = await fleet.store(migrate=True)
        assert await fleet.sql("SELECT (number, part)::text FROM {schema}.version") == "(1,2)"
        assert await fleet.sql(INDEXES, fleet.schema) == []
        with pytest.raises(StoreRefused, match="is of version 1, and this mesh_refresh needs 2"):
            _ = await fleet.store()
        await fill(store, a_row("c"))
        grown(monkeypatch)
        assert await PostgresStore.migrate(fleet.url, schema=fleet.schema) == 2
        assert await fleet.sql(INDEXES, fleet.schema) == ["login_shard"]
        assert await fleet.sql("SELECT count(shard) FROM {schema}.login") == 2


async def test_a_step_that_waits_for_a_lock_holds_up_nobody_for_long(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives way, and tries again until whoever reads the table has ended."""
    async with fleet.store() as store:
        await fill(store, a_row())
        grown(monkeypatch)
        async with fleet.holding("SELECT count(*) FROM {schema}.login"):
            migrated = asyncio.ensure_future(PostgresStore.migrate(fleet.url, schema=fleet.schema))
            await fleet.waiting()
            assert [row.login_id for row in await store.claim(a_request())] == ["a"]
            assert not migrated.done()
        assert await migrated == 2


async def test_one_process_at_a_time_migrates(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others find it done; and through a proxy that pools transactions, such a step is refused with the reason."""
    grown(monkeypatch)
    async with pooling(fleet.url) as (url, _):
        with pytest.raises(StoreRefused, match="cannot be brought to version 2 through a transaction-pooling proxy"):
            _ = await fleet.store(url=url, transaction_pooling=True, migrate=True)
    stores = [PostgresStore.migrate(fleet.url, schema=fleet.schema) for _ in range(4)]
    assert await asyncio.gather(*stores) == [2] * 4


async def test_a_step_that_is_cancelled_ends_in_the_server_too(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends `migrate` at once, and not after the hours that a large table takes; the next one goes on."""
    grown(monkeypatch, SECOND.replace("-- part: batches", "-- part: batches\nSELECT pg_sleep(600);"))
    migrated = asyncio.ensure_future(PostgresStore.migrate(fleet.url, schema=fleet.schema))
    asleep = "SELECT array_agg(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
    while not (pids := await fleet.sql(asleep)):
        assert not migrated.done()
    migrated.cancel()
    with pytest.raises(asyncio.CancelledError):
        await migrated
    await fleet.gone(pids)
    grown(monkeypatch)
    assert await PostgresStore.migrate(fleet.url, schema=fleet.schema) == 2


async def test_a_process_that_waits_for_another_too_long_says_so(fleet: Fleet) -> None:
    """It may be run again."""
    key = f"hashtextextended('mesh_refresh {fleet.schema}', 0)"
    async with fleet.holding(f"SELECT pg_advisory_xact_lock({key})"):
        with pytest.raises(StoreUnavailable, match="is being migrated by another process"):
            _ = await fleet.store(migrate=True, timeout=timedelta(seconds=0.3))


def test_parts_are_read_from_comments() -> None:
    """Of a file without any, the whole is one transaction, and no older process goes on with it."""
    first, second = steps({**migrations(), 2: SECOND})
    assert (first.oldest, [part.kind for part in first.parts]) == (1, [StepKind.TRANSACTION])
    assert (second.oldest, [part.kind for part in second.parts]) == (1, list(StepKind))
    assert second.parts[2].statements() == ["CREATE INDEX CONCURRENTLY login_shard ON {schema}.login (shard, login_id)"]

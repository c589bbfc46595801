"""Where claims begin to look: never so late that a login is missed for long, and not at what has been settled."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.stores.postgres import claiming
from mesh_refresh.stores.postgres.floors import Floors
from mesh_refresh.testing import ManualClock
from mesh_refresh.testing.conformance.store_kit import NOW, SECOND, a_request, a_row, claimed, fill, take
from tests.stores.postgres.at_scale import DAY, filled, settled
from tests.stores.postgres.bystander import Fleet, connected
from tests.stores.postgres.postgres_handles import OpenPostgres
from tests.stores.postgres.test_plans import Explained

pytestmark = pytest.mark.once

ROWS, SETTLES = 20_000, 12_000


def pages(explained: Explained) -> int:
    plan = explained.plans[-1]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_a_claim_beside_a_snapshot_reads_no_more_than_without(postgres: str) -> None:
    """However much was settled since it was taken; a claim from the start reads all of that."""
    step = DAY / ROWS
    async with filled(postgres, ROWS, NOW) as fleet, connected(postgres) as connection, fleet.store() as store:
        explained = Explained(connection)

        async def look(now: Any) -> int:
            request = a_request(limit=50, now=now)
            await store.claim(request)
            await claiming.claim(explained, store.statements["claim"], request, store.floors.begin(now))
            return pages(explained)

        async with fleet.snapshot():
            now = await settled(fleet, store, 1_000, NOW, step)
            before = await look(now)
            now = await settled(fleet, store, SETTLES, now, step)
            assert await look(now) <= 2 * before
            await claiming.claim(explained, store.statements["claim"], a_request(limit=50, now=now))
            assert pages(explained) > 3 * before


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def busy_store(fleet: Fleet, clock: ManualClock) -> OpenPostgres:
    """One that has claimed what was due an hour ago, and a minute ago."""
    store = await fleet.store()
    store.floors = Floors(clock.monotonic)
    await fill(store, a_row("old", due_at=NOW - 3_600 * SECOND), a_row("new", due_at=NOW - SECOND))
    assert await claimed(store, limit=1) == ["old"]
    assert await claimed(store, limit=1) == ["new"]
    return store


async def test_what_another_process_wrote_overdue_is_found_within_a_minute(fleet: Fleet, clock: ManualClock) -> None:
    """An import, say; and so is what was passed over under a lease or a hold that has ended."""
    async with await busy_store(fleet, clock) as store, fleet.store() as other:
        await fill(other, a_row("late", due_at=NOW - 1_800 * SECOND))
        await fleet.sql("UPDATE {schema}.login SET until = clock_timestamp() - interval '1 s' WHERE login_id = 'old'")
        assert await claimed(store, limit=9) == []
        clock.advance(timedelta(seconds=60))
        assert await claimed(store, limit=9) == ["old", "late"]


async def test_what_this_process_wrote_overdue_is_found_at_once(fleet: Fleet, clock: ManualClock) -> None:
    """By an insert, or by a settle."""
    async with await busy_store(fleet, clock) as store:
        await fill(store, a_row("late", due_at=NOW - 1_800 * SECOND))
        assert await claimed(store, limit=9) == ["late"]
        await fill(store, a_row("again"))
        row = await take(store, "again")
        assert await store.swap(evolve(row, due_at=NOW - 2_000 * SECOND), owner="me")
        assert await claimed(store, limit=9) == ["again"]


async def test_what_listeners_are_told_of_is_found_soon(fleet: Fleet, clock: ManualClock) -> None:
    """Not at once each time: others may write all the time. What a pause kept back is found at once."""
    async with await busy_store(fleet, clock) as store, fleet.store() as other:
        await fill(other, a_row("late", due_at=NOW - 1_800 * SECOND))
        store.floors.start_over()
        assert await claimed(store, limit=9) == []
        clock.advance(timedelta(seconds=5))
        assert await claimed(store, limit=9) == ["late"]
        await fill(other, a_row("later", due_at=NOW - 1_800 * SECOND))
        await store.pause("x")
        await store.pause("x", paused=False)
        assert await claimed(store, limit=9) == ["later"]


async def test_a_clock_that_is_put_back_hides_nothing(fleet: Fleet, clock: ManualClock) -> None:
    """What was met with the clock ahead is no floor for what is due before."""
    async with await busy_store(fleet, clock) as store:
        assert await claimed(store, now=NOW + 10 * DAY) == []
        async with fleet.store() as other:
            await fill(other, a_row("due", due_at=NOW - 600 * SECOND))
        assert await claimed(store) == ["due"]


async def test_an_idle_worker_does_not_walk_over_what_the_others_settled(fleet: Fleet, clock: ManualClock) -> None:
    """Where nothing more was due, it looks a minute back."""
    async with await busy_store(fleet, clock) as store:
        now = NOW + 3_600 * SECOND
        assert await claimed(store, now=now, limit=9) == []
        assert store.floors.begin(now) == (["coinbase"], [now - timedelta(minutes=1)])
        request = a_request(now=now + DAY, limit=9, limits={"coinbase": 0})
        assert await store.claim(request) == []  # it did not look for these
        assert store.floors.begin(now)[1] == [now - timedelta(minutes=1)]

"""Claims of PostgresStore, while others change the very rows, or the store is closed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.stores import Busy, Row, Store
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, SECOND, a_request, a_row, fill, kept
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet
from tests.stores.postgres.postgres_handles import execute, new_schema, on_clock

pytestmark = pytest.mark.once

LATER, AHEAD = NOW + timedelta(days=1), NOW + timedelta(minutes=3)

# A claim asks it for each row that was leased before, and waits here as long as somebody has the lock.
_WAITING = """
CREATE SCHEMA {clock};
CREATE FUNCTION {clock}.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(77);
    RETURN pg_catalog.clock_timestamp();
END $$;
"""

Change = Callable[[Store, Row], Awaitable[Any]]


async def re_dated(store: Store, row: Row) -> None:
    assert await store.swap(evolve(row, due_at=LATER, changed_at=NOW))


async def parked(store: Store, row: Row) -> None:
    assert await store.swap(evolve(row, due_at=None, changed_at=NOW))


async def leased(store: Store, row: Row) -> None:
    assert isinstance(await store.claim_one(row.login_id, "other", LEASE), Row)


@asynccontextmanager
async def held_up(fleet: Fleet) -> AsyncIterator[PostgresStore]:
    """A store whose claims wait before they lock a row that was leased before."""
    clock = new_schema("clock")
    await execute(fleet.url, _WAITING.format(clock=clock))
    async with on_clock(fleet.store(), clock) as store:
        yield store


@pytest.mark.parametrize("change", [re_dated, parked, leased])
async def test_a_row_that_is_changed_before_it_is_locked_is_left(fleet: Fleet, change: Change) -> None:
    """Due only because the clock was put back, and due no more by then: it is not claimed, and costs no other row."""
    rows = [a_row(name, due_at=LATER, changed_at=AHEAD) for name in ("a", "b")]
    async with held_up(fleet) as store, fleet.store() as other:
        await fill(other, *rows)
        await fleet.sql("UPDATE {schema}.login SET until = pg_catalog.clock_timestamp() - interval '1 day'")
        async with fleet.holding("SELECT pg_advisory_xact_lock(77)"):
            claim = asyncio.ensure_future(store.claim(a_request()))
            await fleet.waiting()
            await change(other, await kept(other, "a"))
        assert [row.login_id for row in await claim] == ["b"]
        assert isinstance(await other.claim_one("b", "other", LEASE), Busy)
        assert isinstance(await other.claim_one("a", "other", LEASE), Busy if change is leased else Row)


async def test_a_row_that_somebody_has_locked_is_passed_over(fleet: Fleet) -> None:
    """Also of those that are due only because the clock was put back: nobody is waited for."""
    async with fleet.store() as store:
        await fill(store, *(a_row(name, due_at=LATER, changed_at=AHEAD) for name in ("a", "b")))
        async with fleet.holding("SELECT FROM {schema}.login WHERE login_id = 'a' FOR UPDATE"):
            assert [row.login_id for row in await store.claim(a_request())] == ["b"]


@pytest.mark.parametrize("due", [NOW - SECOND, LATER])
async def test_a_claim_that_is_under_way_is_done_before_its_store_is_closed(fleet: Fleet, due: Any) -> None:
    """Both looks of it."""
    store = await fleet.store()
    await fill(store, a_row(due_at=due, changed_at=AHEAD))
    async with fleet.locked():
        claim = asyncio.ensure_future(store.claim(a_request()))
        await fleet.waiting()
        closing = asyncio.ensure_future(store.aclose())
        await asyncio.sleep(0)
    assert [row.login_id for row in await claim] == ["a"]
    await closing


async def test_a_lease_of_a_day_has_24_hours(fleet: Fleet) -> None:
    """Whatever the clocks of the session's time zone do on that day."""
    clock = new_schema("clock")
    await execute(
        fleet.url,
        f"CREATE SCHEMA {clock}; "
        f"CREATE FUNCTION {clock}.clock_timestamp() RETURNS timestamptz LANGUAGE sql "
        "AS $$ SELECT '2026-03-08 00:00Z'::timestamptz $$",
    )
    url = with_options(fleet.url, TimeZone="America/New_York")
    day = timedelta(days=1)
    async with on_clock(fleet.store(url=url), clock) as store:
        await fill(store, a_row("a"), a_row("b"), a_row("c"))
        assert [row.login_id for row in await store.claim(a_request(lease=day, limit=1))] == ["a"]
        row = await store.claim_one("b", "me", day)
        assert isinstance(row, Row)
        assert await store.swap(row, owner="me", hold=day)
        assert isinstance(await store.claim_one("c", "me", day), Row)
        for name in ("a", "b", "c"):
            assert await store.claim_one(name, "other", day) == Busy(day)

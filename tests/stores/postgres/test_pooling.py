"""Behind a proxy that gives each transaction another connection, a store keeps its contract, when it is told of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from mesh_refresh.stores import PlainText, StoreRefused, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.floors import Floors
from mesh_refresh.testing.conformance.store_kit import LEASE, a_request, a_row, fill, take
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet
from tests.stores.postgres.pooling import Proxy, pooling
from tests.stores.postgres.postgres_handles import OpenPostgres, PostgresHandles, on_clock
from tests.stores.postgres.test_contract import TestPostgresStore as _OfPostgres

pytestmark = pytest.mark.once


class PooledHandles(PostgresHandles):
    """Stores behind a proxy; their schemas are made without it."""

    proxy = ""

    def _open(self, **options: Any) -> OpenPostgres:
        if "migrate" in options:
            return super()._open(**options)
        url = with_options(self.proxy, transaction_pooling="yes")
        store = OpenPostgres.open(url, cipher=PlainText(), schema=self._schema, **options)
        store.floors = Floors(self.clock.monotonic)
        return on_clock(store, self._clock)


class TestPooledStore(_OfPostgres):
    """The whole contract."""

    kind = PooledHandles

    @pytest.fixture(autouse=True)
    async def behind_a_proxy(self, postgres: str, handles: None) -> AsyncIterator[None]:
        async with pooling(postgres) as (url, proxy):
            assert isinstance(self.made, PooledHandles)
            self.made.proxy = url
            yield
            assert proxy.handed_out


@pytest.fixture
async def behind(postgres: str) -> AsyncIterator[tuple[str, Proxy]]:
    async with pooling(postgres) as both:
        yield both


async def test_each_transaction_meets_another_server(behind: tuple[str, Proxy]) -> None:
    """The proxy of these tests is as bad as it claims."""
    link = await asyncpg.connect(behind[0], statement_cache_size=0)
    pids = []
    for _ in range(4):
        async with link.transaction():
            pids.append(await link.fetchval("SELECT pg_backend_pid()"))
            assert await link.fetchval("SELECT pg_backend_pid()") == pids[-1]
    assert pids[0] == pids[2] != pids[1] == pids[3]
    await link.execute("PREPARE left_behind AS SELECT 1")
    with pytest.raises(asyncpg.InvalidSQLStatementNameError):
        await link.execute("EXECUTE left_behind")
    await link.execute("EXECUTE left_behind")
    await link.close()


async def test_who_was_not_told_of_it_is_told_what_to_do(fleet: Fleet, behind: tuple[str, Proxy]) -> None:
    """A statement that was prepared is not there, or another is: the error names the option."""
    with pytest.raises(StoreRefused, match=r"Open the store with \?transaction_pooling=yes in its URL, or"):
        await _used(fleet.store(url=behind[0]))
    await _used(fleet.store(url=behind[0], transaction_pooling=True))


async def test_nothing_is_compiled(fleet: Fleet, behind: tuple[str, Proxy]) -> None:
    """With and without a proxy: PostgreSQL would take longer for that than for the claim."""
    for options in ({}, {"url": behind[0], "transaction_pooling": True}):
        async with fleet.store(**options) as store:
            assert await store.fetchval("SHOW jit") == "off"


async def test_a_worker_that_is_cut_off_in_a_transaction_holds_up_nobody_for_long(
    fleet: Fleet, behind: tuple[str, Proxy]
) -> None:
    """The server ends what waits for it within a transaction: its locks are gone then."""
    async with fleet.store(url=behind[0], transaction_pooling=True) as store:
        shown = "SHOW idle_in_transaction_session_timeout"
        assert await store.fetchval(shown) == "1min"


async def _used(store: PostgresStore) -> None:
    async with store:
        for number in range(5):
            await store.claim_one(str(number), "me", LEASE)


async def test_a_schema_is_made_through_it(empty: Fleet, behind: tuple[str, Proxy]) -> None:
    """By many at once."""
    stores = [empty.store(url=behind[0], transaction_pooling=True, migrate=True) for _ in range(5)]

    async def opened(store: PostgresStore) -> PostgresStore:
        return await store

    await asyncio.gather(*(opened(store) for store in stores))
    await fill(stores[0], a_row(), a_row("b"))
    claims = await asyncio.gather(*(store.claim(a_request(limit=1)) for store in stores))
    assert sorted(row.login_id for rows in claims for row in rows) == ["a", "b"]
    await asyncio.gather(*(store.aclose() for store in stores))


async def test_a_verb_is_undone_whole_when_its_connection_breaks(fleet: Fleet, behind: tuple[str, Proxy]) -> None:
    """And the next one works."""
    async with fleet.store(url=behind[0], transaction_pooling=True) as store:
        async with fleet.locked():
            asked = asyncio.ensure_future(store.insert(a_row()))
            await fleet.ended(await fleet.waiting())
            with pytest.raises(StoreUnavailable):
                await asked
        assert await store.read("a") is None
        await fill(store, a_row())
        assert (await take(store)).attempt == 1

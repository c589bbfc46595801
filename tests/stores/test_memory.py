"""MemoryStore keeps the contract of a store."""

from datetime import timedelta

import pytest

from mesh_refresh.stores import MemoryStore, Store
from mesh_refresh.testing import ManualClock, OutboxConformance, RegistryConformance, StoreConformance
from mesh_refresh.testing.conformance.store_kit import a_row, busy, fill, take
from tests.stores.handles import MemoryHandles


class TestMemoryStore(StoreConformance, OutboxConformance, RegistryConformance):
    @pytest.fixture(autouse=True)
    def handles(self) -> None:
        self.made = MemoryHandles()

    async def make_store(self) -> Store:
        return await self.made.make()

    async def pass_time(self, store: Store, by: timedelta) -> None:
        await self.made.pass_time(by)


async def test_it_tells_leases_by_the_machines_clock_unless_given_another() -> None:
    """Without a clock it has one that works."""
    async with MemoryStore() as store:
        assert await store.claim_one("a", "me", timedelta(seconds=1)) is None
        assert repr(store) == "<MemoryStore of 0 logins>"


@pytest.mark.parametrize("start", [0.1, 1000.0, 123_456.789, 9_999_999.999_999])
async def test_the_end_of_a_lease_is_exact_however_far_the_clock_is(start: float) -> None:
    """Seconds in binary fractions add up to something else than their sum: leases are told in microseconds."""
    await _check_exact_end(MemoryStore(clock=(clock := ManualClock(monotonic=start))), clock)


async def _check_exact_end(store: Store, clock: ManualClock) -> None:
    for step in (1, 7, 333_333, 999_999):
        await fill(store, a_row())
        await take(store, lease=timedelta(microseconds=step + 1))
        clock.advance(timedelta(microseconds=step))
        assert await busy(store) == timedelta(microseconds=1)
        clock.advance(timedelta(microseconds=1))
        await take(store)
        await store.delete("a")

"""Store reads for each exchange while many callers wait inside `Policy.min_interval`, beside those without callers."""

import asyncio
from datetime import timedelta

from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.stores import Cipher, Row
from mesh_refresh.stores.sqlite import SqliteStore
from tests.benchmarks.grown_fleet import Fleet, make_due, name_of
from tests.benchmarks.keeping import Setting, client_of

WAITING = 500
_LONG = timedelta(minutes=10)


class CountingStore(SqliteStore):
    """Counts its reads of single rows."""

    reads = 0

    async def read(self, login_id: str) -> Row | None:
        """See `Store`."""
        self.reads += 1
        return await super().read(login_id)


def reads(setting: Setting, fleet: Fleet) -> tuple[float, float]:
    """Reads for each of so many exchanges: without callers, and while `WAITING` wait for the last login, never due."""
    assert setting.many < fleet.size
    return asyncio.run(_reads(setting, fleet))


async def _reads(setting: Setting, fleet: Fleet) -> tuple[float, float]:
    policy = Policy(min_interval=_LONG, max_wait=_LONG, concurrency=setting.in_flight)
    store = CountingStore.open(fleet.path, cipher=Cipher([fleet.key]))
    async with store, client_of(setting) as mesh, Keeper(mesh, store, policy=policy, background=False) as keeper:
        without = await _exchange_all(setting, keeper, store)
        other = name_of(fleet.size - 1)
        fresh = await keeper.refresh(other)
        callers = [asyncio.create_task(keeper.tokens(other, rejected=fresh)) for _ in range(WAITING)]
        await asyncio.sleep(1)  # until all of them have looked at the login, and wait
        beside = await _exchange_all(setting, keeper, store)
        assert not any(caller.done() for caller in callers)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        return without, beside


async def _exchange_all(setting: Setting, keeper: Keeper, store: CountingStore) -> float:
    await make_due(store, setting.many)
    before = store.reads
    done = await keeper.refresh_due()
    assert done == setting.many, (done, setting.many)
    return (store.reads - before) / done

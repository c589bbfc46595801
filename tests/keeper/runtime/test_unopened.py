"""A worker whose keys open nothing gives every lease back as it was, and leaves the fleet to the others."""

import asyncio
import logging

import pytest
from attrs import evolve

from mesh_refresh.keeper.runtime.health import state_of
from mesh_refresh.stores import Cipher, MemoryStore, Page, Row
from tests.keeper.stage import MINUTE, SharedStore, Stage, runtime_of

OLD, NEW = Cipher.generate_key(), Cipher.generate_key()
TEXT = "this process claims nothing more"


@pytest.fixture
async def store(stage: Stage) -> MemoryStore:
    """Five logins that are due, sealed with the new key."""
    store = MemoryStore(cipher=Cipher([NEW]), clock=stage.clock)
    async with stage.keeper(store=store) as keeper:
        for name in "abcde":
            token = stage.fake.login("coinbase").token
            await keeper.add(name, evolve(token, access_token=None, expires_at=None))
    return store


async def rows(store: MemoryStore) -> list[Row]:
    """All of them, but for the numbers that every claim raises."""
    return [evolve(row, revision=0, attempt=0) for row in await store.rows(Page(100))]


async def test_a_worker_with_an_old_key_puts_nothing_off(
    stage: Stage, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops claiming, and says so once; the row of each is as it was, and the others take them soon after."""
    before = await rows(store)
    with caplog.at_level(logging.ERROR, "mesh_refresh.keeper"):
        async with stage.keeper(store=SharedStore(store, Cipher([OLD])), background=True) as keeper:
            while keeper.health().ok:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            health = keeper.health()
            assert any("do not open with the keys" in it for it in health.problems)
            assert (health.alive, health.ready) == (True, False), "a rollout with a wrong key must stop"
            assert state_of(runtime_of(keeper)).unopened_logins >= 3
            stage.clock.advance(MINUTE)  # every hold has ended
            attempts = [row.attempt for row in await store.rows(Page(100))]
            assert await keeper.refresh_due() == 0
            assert [row.attempt for row in await store.rows(Page(100))] == attempts
    assert [TEXT in it.getMessage() for it in caplog.records].count(True) == 1
    assert await rows(store) == before
    assert stage.sent() == 0
    async with stage.keeper(store=store) as keeper:
        assert await keeper.refresh_due() == 5
    assert stage.sent() == 5


async def test_an_open_attempt_stays_open(stage: Stage, store: MemoryStore) -> None:
    """A worker that cannot read the row cannot write down that its fate is unknown: the next one must."""
    assert await store.claim_one("a", "a process that died", MINUTE)
    stage.clock.advance(MINUTE)
    async with stage.keeper(store=SharedStore(store, Cipher([OLD]))) as keeper:
        await keeper.refresh_due()
    stage.clock.advance(MINUTE)
    row = await store.claim_one("a", "the next", MINUTE)
    assert isinstance(row, Row)
    assert row.open_attempt is True


async def test_a_few_logins_of_another_key_stop_nobody(
    stage: Stage, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is tried again and again, and counts once."""
    strange = Cipher([OLD])
    for name in "ab":
        row = await store.read(name)
        assert row is not None
        assert await store.swap(evolve(row, sealed=strange.seal("anything", f"login:{name}")))
    async with stage.keeper(store=store) as keeper:
        assert await keeper.refresh_due() == 5
        assert stage.sent() == 3
        for _ in range(3):
            stage.clock.advance(MINUTE)
            assert await keeper.refresh_due() == 2
        assert keeper.health().ok
    assert TEXT not in caplog.text

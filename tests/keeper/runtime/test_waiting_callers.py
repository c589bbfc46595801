"""Callers who wait for a login: they wake for that login alone, and share its reads."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from mesh_refresh import Tokens
from mesh_refresh.keeper import Keeper, UnknownLogin
from mesh_refresh.stores import MemoryStore, Row
from mesh_refresh.stores.shared_reads import SharedReads
from tests.keeper.stage import EVER, MINUTE, Stage

CALLERS = 50


class CountingStore(MemoryStore):
    """Counts its reads; each takes a step of the loop, as those of a file do."""

    reads = 0

    async def read(self, login_id: str) -> Row | None:
        self.reads += 1
        await asyncio.sleep(0)
        return await super().read(login_id)


@pytest.fixture
def store(stage: Stage) -> CountingStore:
    """The stage's store, with its reads counted."""
    stage.store = CountingStore(clock=stage.clock)
    return stage.store


async def waiting(keeper: Keeper, login_ids: list[str]) -> list["asyncio.Task[Tokens]"]:
    """Callers whose tokens the broker refuses, a moment after they were refreshed."""
    refused = {login_id: (await keeper.login(login_id)).account().tokens for login_id in login_ids}
    tasks = [
        asyncio.create_task(keeper.tokens(login_id, rejected=refused[login_id], max_wait=EVER))
        for login_id in login_ids
    ]
    await settle()
    return tasks


async def settle() -> None:
    """Let every task come to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def end(tasks: list["asyncio.Task[Tokens]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_exchanges_of_others_wake_no_caller(stage: Stage, store: CountingStore) -> None:
    """As many reads for each exchange as without the callers who wait."""
    async with stage.keeper(min_interval=MINUTE) as keeper:
        names = [f"login-{number}" for number in range(CALLERS)]
        for name in [*names, "other"]:
            await keeper.add(name, stage.fake.login("coinbase").tokens)
            await keeper.refresh(name)
        before = store.reads
        await keeper.refresh("other")
        alone = store.reads - before
        tasks = await waiting(keeper, names)
        before = store.reads
        for _ in range(5):
            await keeper.refresh("other")
        await settle()
        assert store.reads - before == 5 * alone
        assert not any(task.done() for task in tasks)
        await end(tasks)


async def test_callers_of_one_login_share_its_reads(stage: Stage, store: CountingStore) -> None:
    """They are woken by its exchange, all of them, and do not read it once each."""
    async with stage.keeper(min_interval=MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").tokens)
        await keeper.refresh("a")
        before = store.reads + CALLERS
        tasks = await waiting(keeper, ["a"] * CALLERS)
        assert store.reads - before <= 3, "`waiting` itself reads it once for each"
        before = store.reads
        await keeper.refresh("a")
        fresh = await asyncio.gather(*tasks)
        assert store.reads - before <= 5
        assert {it.access_token for it in fresh} == {(await stage.account()).tokens.access_token}


async def test_a_caller_wakes_for_what_changes_its_login(stage: Stage, store: CountingStore) -> None:
    """A new login of the person, and its removal."""
    async with stage.keeper(min_interval=MINUTE) as keeper:
        person = stage.fake.login("coinbase")
        await keeper.add("a", person.tokens)
        await keeper.refresh("a")
        (task,) = await waiting(keeper, ["a"])
        person.again()
        await keeper.add("a", person.tokens)
        assert (await task).access_token == (await stage.account()).tokens.access_token
        await keeper.refresh("a")
        (task,) = await waiting(keeper, ["a"])
        await keeper.remove("a")
        with pytest.raises(UnknownLogin):
            await task


async def test_a_change_between_the_read_and_the_wait_is_seen(stage: Stage, store: CountingStore) -> None:
    """The row may change while a caller reads it; the caller then reads it again."""
    async with stage.keeper(min_interval=MINUTE) as keeper:
        person = stage.fake.login("coinbase")
        await keeper.add("a", person.tokens)
        await keeper.refresh("a")
        refused = (await stage.account()).tokens
        person.again()
        read, changed = store.read, asyncio.Event()

        async def late(login_id: str) -> Row | None:
            found = await read(login_id)
            store.read = read  # type: ignore[method-assign]
            await keeper.add("a", person.tokens)
            changed.set()
            return found

        store.read = late  # type: ignore[method-assign]
        fresh = await keeper.tokens("a", rejected=refused, max_wait=EVER)
        assert changed.is_set()
        assert fresh.access_token != refused.access_token


class Reading:
    """A read that ends when it is told to."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.value: Any = 0
        self.gates: list[asyncio.Event] = []

    async def __call__(self, login_id: str) -> Any:
        self.begun[login_id] += 1
        value, gate = self.value, asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        if isinstance(value, Exception):
            raise value
        return value


async def test_a_read_that_began_earlier_is_not_shared() -> None:
    """It may not have seen what was written in between."""
    reading = Reading()
    reads = SharedReads(reading)
    first = asyncio.create_task(reads.get("a"))
    await settle()
    reading.value = 1
    others = [asyncio.create_task(reads.get("a")) for _ in range(3)]
    await settle()
    assert reading.begun["a"] == 1
    reading.gates[0].set()
    await settle()
    assert (await first, reading.begun["a"]) == (0, 2)
    reading.gates[1].set()
    assert await asyncio.gather(*others) == [1, 1, 1]
    assert reading.begun["a"] == 2


async def test_the_others_read_where_the_one_who_reads_gives_up() -> None:
    """A caller whose time is over takes nobody's read away."""
    reading = Reading()
    reads = SharedReads(reading)
    first = asyncio.create_task(reads.get("a"))
    await settle()
    others = [asyncio.create_task(reads.get("a")) for _ in range(3)]
    await settle()
    first.cancel()
    await settle()
    others[0].cancel()
    await settle()
    reading.value = 1
    with suppress(asyncio.CancelledError):
        await first
    assert reading.begun["a"] == 3
    reading.gates[2].set()
    assert await asyncio.gather(*others[1:]) == [0, 0]


async def test_a_read_that_fails_fails_for_all_who_share_it() -> None:
    """And the next one is made anew."""
    reading = Reading()
    reads = SharedReads(reading)
    first = asyncio.create_task(reads.get("a"))
    await settle()
    reading.value = OSError("gone")
    others = [asyncio.create_task(reads.get("a")) for _ in range(3)]
    reading.gates[0].set()
    await settle()
    reading.gates[1].set()
    results = await asyncio.gather(*others, return_exceptions=True)
    assert [type(it) for it in results] == [OSError] * 3
    assert await first == 0
    reading.value = 2
    again = asyncio.create_task(reads.get("a"))
    await settle()
    reading.gates[2].set()
    assert await again == 2

"""Memory follows what is in flight, not the size of the fleet."""

import asyncio
import gc
from collections import deque
from collections.abc import Sized
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import MeshRefreshError
from mesh_refresh.keeper import Keeper
from mesh_refresh.keeper.runtime import claim_loop as looping
from mesh_refresh.testing import Fault
from tests.keeper.stage import HOUR, MINUTE, NOTHING, FaultyStore, Stage

COUNT = 120
SKIPPED = ("store", "mesh", "_store", "_mesh", "loop", "_kept")


def contents(root: object) -> dict[str, int]:
    """How many things are in each container that `root` can reach within the keeper's own objects."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    waiting = deque([("", root)])
    while waiting:
        path, value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict | set | list | deque | tuple):
            found[path] = len(value)
            waiting.extend((f"{path}[]", it) for it in (value.values() if isinstance(value, dict) else value))
        elif type(value).__module__.startswith("mesh_refresh.keeper"):
            waiting.extend((f"{path}.{name}", it) for name, it in _fields(value) if name not in SKIPPED)
    return found


def _fields(value: object) -> list[tuple[str, Any]]:
    names = [*getattr(value, "__dict__", {}), *getattr(type(value), "__slots__", ())]
    return [(name, getattr(value, name)) for name in names if hasattr(value, name) and name != "__weakref__"]


def largest(keeper: Keeper) -> tuple[int, str]:
    size, path = max((size, path) for path, size in contents(keeper).items())
    return size, path


def test_the_search_finds_what_grows() -> None:
    """It looks into containers of containers."""
    assert contents([{1: [1, 2, 3]}])["[][]"] == 3
    assert isinstance([], Sized)


async def test_no_container_grows_with_the_fleet(stage: Stage) -> None:
    """Hundreds of refreshes, callers and failures later, nothing is left in the keeper."""
    async with stage.keeper(concurrency=8, refusal_logins=1000) as keeper:
        for number in range(COUNT):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
        # Twice without: a breaker that opened early may have left some of the faults to the next round.
        for fault in (None, Fault.status(423), Fault.cut(), None, None):
            stage.clock.advance(2 * HOUR)
            if fault is not None:
                stage.fake.fail(fault, times=9)
            await keeper.refresh_due()
        found = await asyncio.gather(*(keeper.tokens(f"u{number}", max_wait=NOTHING) for number in range(COUNT)))
        assert len(found) == COUNT
        gc.collect()
        left = {path: size for path, size in contents(keeper).items() if size > 20 and ".answers" not in path}
        assert left == {}
        assert keeper.health().in_flight == 0


async def test_what_is_remembered_of_answers_is_bounded(stage: Stage) -> None:
    """Refusals are counted over a time: those that are older are forgotten."""
    async with stage.keeper(refusal_window=MINUTE, concurrency=8) as keeper:
        for number in range(COUNT):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        stage.clock.advance(2 * HOUR)
        await keeper.refresh("u0")
        size, path = largest(keeper)
    assert size <= 20, path


async def test_a_loop_that_finds_nothing_to_do_leaves_nothing_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it looks."""
    monkeypatch.setattr(looping, "_LONGEST_PAUSE", 0.001)
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, background=True, poll=timedelta(milliseconds=1)) as keeper:
        store.lose("claim")
        await store.has_failed("claim", 60)
        size, path = largest(keeper)
    assert size <= 20, path


async def test_callers_who_gave_up_leave_nothing_behind(stage: Stage) -> None:
    """Nor do those who asked for what there is not."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await keeper.pause()
        for number in range(200):
            with pytest.raises(MeshRefreshError):
                await keeper.tokens("a" if number % 2 else f"unknown-{number}", max_wait=NOTHING)
        await keeper.resume()
        gate = stage.fake.hold()
        callers = [asyncio.create_task(keeper.tokens("a")) for _ in range(200)]
        await gate.entered.wait()
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        gate.release()
        await keeper.tokens("a")
        size, path = largest(keeper)
    assert size <= 20, path

"""`Keeper.health`: alive, ready, ok. Three questions, because the answers differ when it matters."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.keeper import Keeper, UnknownLogin
from mesh_refresh.keeper.runtime import health as probing
from mesh_refresh.keeper.status import Vitals
from mesh_refresh.stores import Cipher, MemoryStore
from tests.keeper.stage import HOUR, MINUTE, FaultyStore, Stage, runtime_of


def answers(keeper: Keeper) -> tuple[bool, bool, bool]:
    """Alive, ready, ok."""
    health = keeper.health()
    return health.alive, health.ready, health.ok


def vitals(keeper: Keeper) -> Vitals:
    found: Vitals = runtime_of(keeper).vitals
    return found


def the_loop() -> "asyncio.Task[None]":
    """The task of the one keeper that runs."""
    (found,) = (task for task in asyncio.all_tasks() if task.get_name() == "mesh_refresh keeper")
    return found


class DeafStore(FaultyStore):
    """Answers no verb that is named in `deaf`."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__(of)
        self.deaf: set[str] = set()
        self.asked = asyncio.Event()

    def _at_risk(self, name: str, verb: Any) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            if name in self.deaf:
                self.asked.set()
                await asyncio.Event().wait()
            return await super(DeafStore, self)._at_risk(name, verb)(*args, **options)

        return call


@pytest.mark.parametrize("background", [False, True])
async def test_a_keeper_that_was_just_entered_is_well(stage: Stage, background: bool) -> None:
    """Ready at once: the store was asked at the entering."""
    async with stage.keeper(background=background) as keeper:
        assert answers(keeper) == (True, True, True)
        assert keeper.health().problems == ()


async def test_one_that_does_not_run_is_nothing_of_it(stage: Stage) -> None:
    """Not entered yet, and left."""
    async with stage.fake.client() as mesh:
        keeper = Keeper(mesh, stage.store, background=False)
        assert answers(keeper) == (False, False, False)
        async with keeper:
            assert answers(keeper) == (True, True, True)
        assert answers(keeper) == (False, False, False)


async def test_a_claim_that_hangs_is_told(stage: Stage) -> None:
    """Tokens run out meanwhile. A restart would not help, and the store answers others: alive and ready."""
    store = DeafStore(stage.store)
    store.deaf.add("claim")
    async with stage.keeper(store=store, background=True, drain=timedelta(milliseconds=20)) as keeper:
        await store.asked.wait()
        assert answers(keeper) == (True, True, True)
        since = vitals(keeper).claim_since
        assert since is not None
        vitals(keeper).claim_since = since - 11
        assert answers(keeper) == (True, True, False)
        (problem,) = keeper.health().problems
        assert problem == "a claim has been under way for 11 s"


async def test_a_store_that_hangs_is_not_ready_and_the_keeper_alive(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart would help nothing. Calls go elsewhere until it answers again."""
    monkeypatch.setattr(probing, "_EVERY", 0.001)
    monkeypatch.setattr(probing, "_PATIENCE", 0.001)
    store = DeafStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        store.deaf.add("paused")
        await store.asked.wait()
        seen = vitals(keeper)
        seen.entered_at -= 20
        seen.store_answered_at = asyncio.get_running_loop().time() - 11
        assert answers(keeper) == (True, False, False)
        assert keeper.health().problems == ("the store has not answered for 11 s",)
        store.deaf.clear()
        await probing.ping(runtime_of(keeper))
        assert answers(keeper) == (True, True, True)


async def test_a_keeper_is_entered_though_the_store_hangs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the store inside; readiness says so."""
    monkeypatch.setattr(probing, "_PATIENCE", 0.001)
    store = DeafStore(stage.store)
    store.deaf.add("paused")
    async with stage.keeper(store=store) as keeper:
        assert answers(keeper) == (True, False, True)


async def test_tokens_that_are_not_in_the_store_make_no_restart(stage: Stage) -> None:
    """A restart would lose them: alive. An alert is wanted, though."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").tokens)
        store.lose("swap")
        asking = asyncio.gather(keeper.refresh("a"), return_exceptions=True)
        await store.has_failed("swap")
        assert answers(keeper) == (True, True, False)
        assert keeper.health().unsaved == 1
        store.come_back()
        await asking
        assert answers(keeper) == (True, True, True)


async def test_a_keeper_that_is_being_left_is_alive_and_takes_no_calls(stage: Stage) -> None:
    """It finishes what is under way, and a restart would break that off."""
    gate = stage.fake.hold()
    async with stage.fake.client() as mesh:
        keeper = Keeper(mesh, stage.store)
        await keeper.__aenter__()
        await keeper.add("a", stage.fake.login("coinbase").tokens)
        asking = asyncio.gather(keeper.refresh("a"), return_exceptions=True)
        await gate.entered.wait()
        leaving = asyncio.create_task(keeper.__aexit__(None, None, None))
        await asyncio.wait((the_loop(),))
        assert answers(keeper) == (True, False, True)
        gate.release()
        await leaving
        await asking
        assert answers(keeper) == (False, False, False)


async def test_a_loop_that_died_is_not_alive(stage: Stage) -> None:
    """The one thing that a restart mends."""
    async with stage.keeper(background=True) as keeper:
        died = the_loop()
        died.cancel()
        await asyncio.wait((died,))
        assert answers(keeper) == (False, False, False)
        assert keeper.health().problems == ("the loop has ended",)


async def test_before_the_spool_was_read_it_is_alive_and_not_ready(stage: Stage, tmp_path: Path) -> None:
    """There may be newer tokens in it than in the store."""
    stage.store = MemoryStore(cipher=Cipher([Cipher.generate_key()]), clock=stage.clock)
    async with stage.fake.client() as mesh:
        keeper = Keeper(mesh, stage.store, spool=tmp_path / "spool")
        worker = asyncio.create_task(keeper.run())
        await asyncio.sleep(0)
        assert answers(keeper) == (True, False, True)
        with pytest.raises(UnknownLogin):
            await keeper.tokens("a")
        assert answers(keeper) == (True, True, True)
        worker.cancel()
        await asyncio.wait((worker,))


async def test_how_late_the_most_overdue_login_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the last claim found it, without a count; not known before there was one."""
    async with stage.keeper(concurrency=1) as keeper:
        assert keeper.health().most_overdue is None
        for name in ("a", "b"):
            await keeper.add(name, stage.fake.login("coinbase").tokens)
        due = min(account.due_at for account in await stage.accounts() if account.due_at is not None)
        stage.clock.advance_to(due + 5 * MINUTE)
        seen: list[Any] = []
        note = Vitals.note_overdue

        def watched(self: Vitals, by: timedelta, now: float) -> None:
            note(self, by, now)
            seen.append(keeper.health().most_overdue)

        monkeypatch.setattr(Vitals, "note_overdue", watched)
        await keeper.refresh_due()
        assert seen[0] == 5 * MINUTE
        assert keeper.health().most_overdue == timedelta()


async def test_logins_that_stay_overdue_are_told(stage: Stage) -> None:
    """A worker that has just begun may catch up for a minute."""
    async with stage.keeper() as keeper:
        loop = asyncio.get_running_loop()
        vitals(keeper).note_overdue(HOUR, loop.time())
        assert keeper.health().ok
        vitals(keeper).overdue_since = loop.time() - 61
        vitals(keeper).note_overdue(2 * HOUR, loop.time())
        assert keeper.health().problems == ("the most overdue login has been due for 7200 s",)
        vitals(keeper).note_overdue(MINUTE, loop.time())
        assert keeper.health().ok


async def test_a_store_that_answers_is_not_pinged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claims of the loop are pings enough."""
    monkeypatch.setattr(probing, "_EVERY", 1e-9)
    async with stage.keeper() as keeper:
        seen = vitals(keeper)
        seen.store_answered_at = float("inf")
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen.store_answered_at == float("inf")

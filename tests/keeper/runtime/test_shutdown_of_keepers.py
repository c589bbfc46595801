"""Drain on exit: what is under way ends well, whatever ends the program, and nothing new is begun."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import MeshClient
from mesh_refresh.keeper import AccountRefreshed, Keeper, KeeperLeaving, NotReadyInTime, Policy
from mesh_refresh.testing import Fault
from tests.keeper.stage import EVER, HOUR, FaultyStore, HangingStore, Stage


async def test_leaving_waits_for_what_is_under_way_and_begins_nothing_new(stage: Stage) -> None:
    """Three are out, seven are due: the three are stored."""
    async with stage.keeper(background=True, concurrency=3) as keeper:
        for number in range(10):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
        gate = stage.fake.hold(after_rotation=True, times=None)
        stage.clock.advance(2 * HOUR)
        await gate.arrivals(3)
        asyncio.get_running_loop().call_later(0.02, gate.release)
    assert stage.sent() == 3
    assert len(stage.notes.of(AccountRefreshed)) == 3
    assert (await stage.store.counts(stage.now))[0].leased == 0
    await stage.assert_whole()


async def test_what_has_not_been_sent_yet_is_given_back(stage: Stage) -> None:
    """Claimed, and the keeper is left before the bytes: nothing is sent, and the next one may at once."""
    asked, leaving = asyncio.Event(), asyncio.Event()

    async def secret() -> str:
        asked.set()
        await leaving.wait()
        return stage.fake.client_secret

    async def leave() -> None:
        async with stage.keeper(secret=secret) as keeper:
            await keeper.add("a", stage.fake.login("coinbase").token)
            stage.clock.advance(2 * HOUR)
            caller = asyncio.create_task(keeper.tokens("a"))
            await asked.wait()
            asyncio.get_running_loop().call_later(0.02, leaving.set)
        with pytest.raises(NotReadyInTime):
            await caller

    await leave()
    assert not stage.sent()
    async with stage.keeper() as keeper:
        assert await keeper.refresh_due() == 1
    await stage.assert_whole()


async def test_callers_who_wait_are_told_that_the_keeper_is_left(stage: Stage) -> None:
    """They do not hang, and nobody waits for them."""
    async with stage.keeper() as keeper:
        await keeper.add("later", stage.fake.delayed_login().token)
        await keeper.add("busy", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.store.claim_one("busy", "somebody else", HOUR)
        callers = [asyncio.create_task(keeper.tokens(name, max_wait=EVER)) for name in ("later", "busy")]
        await asyncio.sleep(0.01)
    done, _ = await asyncio.wait(callers)
    assert {type(caller.exception()) for caller in done} == {KeeperLeaving}


@pytest.mark.parametrize("times", [1, 3])
async def test_cancelling_the_task_that_leaves_loses_nothing(stage: Stage, times: int) -> None:
    """Ctrl-C while draining: it goes on draining, and is cancelled then."""
    gate = stage.fake.hold(after_rotation=True)

    async def work() -> None:
        async with stage.keeper(background=True) as keeper:
            await keeper.add("a", stage.fake.login("coinbase").token)
            stage.clock.advance(2 * HOUR)
            await gate.entered.wait()

    task = asyncio.create_task(work())
    await gate.entered.wait()
    for _ in range(times):
        await asyncio.sleep(0.005)
        task.cancel()
    gate.release()
    await asyncio.wait((task,))
    assert task.cancelled()
    await stage.assert_whole()


async def test_run_works_until_it_is_cancelled_and_then_drains(stage: Stage) -> None:
    """For a worker that does nothing else."""
    async with stage.fake.client(clock=stage.clock) as mesh:
        async with stage.keeper() as other:
            await other.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        gate = stage.fake.hold(after_rotation=True)
        task = asyncio.create_task(Keeper(mesh, stage.store, clock=stage.clock).run())
        await gate.entered.wait()
        task.cancel()
        await asyncio.sleep(0.005)
        assert not task.done()
        gate.release()
        await asyncio.wait((task,))
        assert task.cancelled()
    await stage.assert_whole()


async def test_an_error_in_the_block_is_raised_after_the_drain(stage: Stage) -> None:
    """And what was under way is stored."""

    async def work() -> None:
        async with stage.keeper(background=True) as keeper:
            await keeper.add("a", stage.fake.login("coinbase").token)
            gate = stage.fake.hold(after_rotation=True)
            stage.clock.advance(2 * HOUR)
            await gate.entered.wait()
            asyncio.get_running_loop().call_later(0.01, gate.release)
            raise RuntimeError("of the application")

    with pytest.raises(RuntimeError, match="of the application"):
        await work()
    await stage.assert_whole()


async def test_a_store_that_comes_back_while_the_keeper_is_left_takes_the_new_pair(stage: Stage) -> None:
    """It is tried until the time to drain is over."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        store.lose()
        gate.release()
        await store.has_failed("swap")
        asyncio.get_running_loop().call_later(0.1, store.come_back)
    await asyncio.wait((caller,))
    await stage.assert_whole()


async def test_a_store_that_never_answers_the_write_of_a_failure_keeps_nobody(stage: Stage) -> None:
    """Nothing is under way any more, and nothing can be lost: that login is left to its lease."""
    store = HangingStore(stage.store)
    async with stage.keeper(store=store, drain=timedelta(milliseconds=20)) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(HOUR * 0.9)
        store.hangs = True
        stage.fake.fail(Fault.server_error())
        caller = asyncio.create_task(keeper.refresh("a"))
        await store.asked.wait()
    caller.cancel()
    assert stage.sent() == 1


# Programs that end early. The fake stays in the loop of the test; the program has one of its own, in a thread.


def program(stage: Stage, main: Callable[[Keeper, "asyncio.Event"], Awaitable[Any]]) -> "asyncio.Future[Any]":
    """`main` with a keeper that was entered and is never left properly, under `asyncio.run`."""

    async def run() -> None:
        mesh = MeshClient(
            stage.fake.client_id, stage.fake.client_secret, base_url=stage.fake.base_url, clock=stage.clock
        )
        keeper = Keeper(mesh, stage.store, policy=Policy(poll=timedelta(milliseconds=5)))
        await keeper.__aenter__()
        await main(keeper, asyncio.Event())

    def in_thread() -> None:
        try:
            asyncio.run(run())
        except (asyncio.CancelledError, KeyboardInterrupt):
            return

    return asyncio.ensure_future(asyncio.to_thread(in_thread))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("end", ["returns", "raises", "cancels everything", "cancels everything twice"])
@pytest.mark.parametrize("after_rotation", [False, True])
async def test_a_main_that_ends_early_loses_nothing(stage: Stage, end: str, after_rotation: bool) -> None:
    """`asyncio.run` cancels every task: the exchange and its write outlive that."""
    async with stage.keeper() as keeper:
        for number in range(5):
            await keeper.add(f"u{number}", stage.fake.login("coinbase", revokes_on_reuse=True).token)
    gate, on = stage.fake.hold(after_rotation=after_rotation, times=5), threading.Event()
    stage.clock.advance(2 * HOUR)

    async def main(keeper: Keeper, never: asyncio.Event) -> None:
        callers = [asyncio.create_task(keeper.tokens(f"u{number}")) for number in range(5)]
        await asyncio.to_thread(on.wait)
        assert not any(caller.done() for caller in callers)
        if end == "raises":
            raise KeyboardInterrupt
        if end.startswith("cancels"):
            for _ in range(2 if end.endswith("twice") else 1):
                for task in asyncio.all_tasks():
                    task.cancel()
                await asyncio.wait((asyncio.ensure_future(asyncio.sleep(0)),))

    ended = program(stage, main)
    await gate.arrivals(5)
    on.set()
    await asyncio.sleep(0.05)
    assert not ended.done()
    gate.release()
    await asyncio.wait((ended,))
    await stage.assert_whole()
    assert stage.sent() == 5
    assert all(account.refreshed_at == stage.now for account in await stage.accounts())
    del ended, main
    gc.collect()  # the client that nobody closed complains here, and not in the midst of another test


async def test_a_keeper_belongs_to_one_loop_and_one_block(stage: Stage) -> None:
    """Another loop is told so."""
    async with stage.keeper() as keeper:

        def elsewhere() -> None:
            with pytest.raises(ValueError, match="another event loop"):
                asyncio.run(keeper.tokens("a"))

        await asyncio.to_thread(elsewhere)


async def test_a_caller_whose_claim_is_ended_by_the_shutdown_is_told_so(stage: Stage) -> None:
    """The store does not answer the claim until the keeper has been left."""

    class Deaf(FaultyStore):
        asked = asyncio.Event()

        async def claim_one(self, *_: Any, **__: Any) -> None:
            self.asked.set()
            await asyncio.Event().wait()

    store = Deaf(stage.store)
    async with stage.keeper(store=store, drain=timedelta(milliseconds=10)) as keeper:
        await keeper.add("anna", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        asking = asyncio.create_task(keeper.tokens("anna", max_wait=EVER))
        await store.asked.wait()
    with pytest.raises(NotReadyInTime, match="being left"):
        await asking

"""Events: what a handler is told, when, and that nothing it does harms the keeper."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import Tokens
from mesh_refresh.keeper import AccountRefreshed, Event, Keeper, MfaNeeded, ReconnectRequired
from mesh_refresh.testing import Fault
from tests.keeper.stage import HOUR, MINUTE, FaultyStore, Stage


async def test_a_handler_that_raises_harms_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next event is told all the same."""

    def raising(event: Event) -> None:
        stage.notes(event)
        raise RuntimeError("the handler is broken")

    async with stage.keeper(on_event=raising) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(3):
            await keeper.refresh("a")
    assert len(stage.notes.of(AccountRefreshed)) == 3
    assert sum("raised" in record.getMessage() for record in caplog.records) == 3
    await stage.assert_whole()


async def test_a_handler_that_cancels_itself_harms_nothing(stage: Stage) -> None:
    """A `CancelledError` out of a handler ends neither the keeper nor its telling."""

    async def cancelling(event: Event) -> None:
        stage.notes(event)
        raise asyncio.CancelledError

    async with stage.keeper(on_event=cancelling) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(3):
            await keeper.refresh("a")
    assert len(stage.notes.of(AccountRefreshed)) == 3


async def test_a_handler_may_be_async_and_may_call_the_keeper(stage: Stage) -> None:
    """The lease is back by then: it may refresh the very login that it is told of."""
    found: list[Tokens] = []
    keepers: list[Keeper] = []
    done = asyncio.Event()

    async def calling(event: Event) -> None:
        if len(found) < 2:
            found.append(await keepers[0].refresh("a"))
        else:
            done.set()

    async with stage.keeper(on_event=calling) as keeper:
        keepers.append(keeper)
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.refresh("a")
        await done.wait()
    assert stage.sent() == 3
    await stage.assert_whole()


async def test_no_event_comes_before_its_write(stage: Stage) -> None:
    """What a handler reads in the store is what it was told of, or newer."""
    wrong: list[Any] = []

    async def comparing(event: Event) -> None:
        if isinstance(event, AccountRefreshed):
            account = await stage.account(event.login_id)
            if account.refreshed_at is None or account.refreshed_at < event.at:
                wrong.append(event)

    store = FaultyStore(stage.store)
    async with stage.keeper(on_event=comparing, store=store) as keeper:
        for number in range(10):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
        for _ in range(3):
            stage.clock.advance(HOUR)
            store.mute = ["swap", "swap"]
            await keeper.refresh_due()
    assert not wrong


async def test_a_handler_that_hangs_holds_nothing_up(stage: Stage) -> None:
    """Exchanges go on, the queue is bounded, and what is dropped is counted."""
    never = asyncio.Event()
    async with stage.keeper(on_event=lambda _: never.wait(), event_queue=3, drain=timedelta(milliseconds=10)) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(8):
            await keeper.refresh("a")
        await asyncio.sleep(0)
        assert keeper.health().events_dropped >= 4
    assert stage.sent() == 8
    await stage.assert_whole()


async def test_events_are_told_in_order_and_before_the_keeper_is_left(stage: Stage) -> None:
    """One after the other, though the handler takes its time."""
    told: list[Any] = []

    async def slow(event: Event) -> None:
        await asyncio.sleep(0.001)
        told.append(event)

    async with stage.keeper(on_event=slow) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(5):
            stage.clock.advance(MINUTE)
            await keeper.refresh("a")
    assert [event.at for event in told] == sorted(event.at for event in told)
    assert len(told) == 5


async def test_a_success_tells_of_the_failures_that_it_ended(stage: Stage) -> None:
    """So that an application can take back its warning."""
    async with stage.keeper(min_interval=timedelta()) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.status(423, {"status": "locked"}), times=3)
        for _ in range(30):
            await keeper.refresh_due()
            stage.clock.advance(MINUTE)
        (event,) = await stage.notes.until(AccountRefreshed)
    assert event.failures == 3
    assert event.expires_at is not None


async def test_there_is_no_secret_in_any_event(stage: Stage) -> None:
    """They may be logged, sent and shown as they are."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        one, two = stage.fake.login("coinbase"), stage.fake.login("vanguard", mfa=True)
        await keeper.add("a", one.token)
        await keeper.add("b", two.token)
        await keeper.refresh("a")
        one.refused = True
        for _ in range(5):
            stage.clock.advance(HOUR)
            await keeper.refresh_due()
        with pytest.raises(Exception, match="code"):
            await keeper.submit_mfa("b", "000000")
    assert {MfaNeeded, ReconnectRequired, AccountRefreshed} <= {type(event) for event in stage.notes.all}
    assert "fake-" not in repr(stage.notes.all)


async def test_what_must_not_be_missed_is_asked_for(stage: Stage) -> None:
    """Events can be lost in a crash; the store has what they said."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        login = stage.fake.login("coinbase")
        await keeper.add("a", login.token)
        await keeper.add("b", stage.fake.login("coinbase", access_lifetime=None).token)
        login.refused = True
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        stage.clock.advance(MINUTE)
        since = stage.now
        await keeper.refresh_due()
        found = [it async for it in keeper.logins(state="reconnect_required", changed_since=since)]
    assert [it.login_id for it in found] == ["a"]

"""Unknown outcomes: nobody sends the same tokens before the stamped time, and what follows is settled by it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.keeper import (
    AccountRefreshed,
    AccountState,
    AttemptFailed,
    Keeper,
    NotReadyInTime,
    Reason,
    ReconnectNeeded,
    ReconnectRequired,
)
from mesh_refresh.stores import Cipher, MemoryStore
from mesh_refresh.testing import Fault, Replies, Sharing
from mesh_refresh.testing.fake.gate import Gate
from tests.keeper.stage import DAY, EVER, HOUR, MINUTE, NOTHING, FaultyStore, Once, Stage

SETTLE = timedelta(minutes=2)
INSTANT = timedelta(microseconds=1)


async def unknown(stage: Stage, keeper: Keeper, fault: Fault | None = None, **login: Any) -> Any:
    """A login whose exchange ended in nobody knows what, while its access token has a tenth of its hour left."""
    made = stage.fake.login("coinbase", **login)
    await keeper.add("a", made.token)
    stage.clock.advance(HOUR * 0.9)
    stage.fake.fail(fault or Fault.cut())
    assert await keeper.refresh_due() == 1
    return made


async def test_the_loop_refresh_and_tokens_are_bound_alike(stage: Stage) -> None:
    """Until the hard margin of the stored access token, because the other one may still write a new pair."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await unknown(stage, keeper)
        until = stage.now + HOUR * 0.1 - MINUTE
        assert (await stage.account()).resend_not_before == until
        stage.clock.advance_to(until - INSTANT)
        assert await keeper.refresh_due() == 0
        with pytest.raises(NotReadyInTime) as early:
            await keeper.refresh("a", max_wait=NOTHING)
        assert early.value.retry_at == until
        assert (await keeper.tokens("a")).access_token
        assert stage.sent() == 1
        stage.clock.advance(INSTANT)
        await keeper.tokens("a")
    assert stage.sent() == 2
    await stage.assert_whole()


async def test_where_no_end_is_known_the_settling_time_is_all(stage: Stage) -> None:
    """There is no hard margin to wait for."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=None).token)
        stage.fake.fail(Fault.cut())
        with pytest.raises(NotReadyInTime) as unready:
            await keeper.refresh("a", max_wait=MINUTE)
        assert unready.value.retry_at == stage.now + SETTLE
        stage.clock.advance(SETTLE - INSTANT)
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=NOTHING)
        stage.clock.advance(INSTANT)
        await keeper.refresh("a")
    assert stage.sent() == 2


async def test_the_settling_time_is_the_least(stage: Stage) -> None:
    """An access token that has ended shortens nothing."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.cut())
        await keeper.refresh_due()
        assert (await stage.account()).resend_not_before == stage.now + SETTLE
        stage.clock.advance(SETTLE - INSTANT)
        assert await keeper.refresh_due() == 0
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", max_wait=NOTHING)
        assert stage.sent() == 1
        stage.clock.advance(INSTANT)
        assert await keeper.refresh_due() == 1


async def test_the_wait_never_goes_past_the_end_of_the_refresh_token(stage: Stage) -> None:
    """Waiting for an access token of a month must not cost the refresh token of a day."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        login = stage.fake.login("coinbase", access_lifetime=30 * DAY, refresh_lifetime=DAY)
        await keeper.add("a", login.token)
        stage.fake.fail(Fault.cut())
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=MINUTE)
        wait = (await stage.account()).resend_not_before
        assert wait is not None
        assert wait < stage.now + DAY
        stage.clock.advance_to(wait)
        await keeper.refresh("a")
    await stage.assert_whole()


async def test_tokens_that_the_broker_refuses_wait_for_the_settling_time_alone(stage: Stage) -> None:
    """Nobody can use them: `rejected=` is excepted from the long wait."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        login = await unknown(stage, keeper)
        stage.clock.advance(SETTLE - INSTANT)
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", rejected=login.token, max_wait=NOTHING)
        assert stage.sent() == 1
        stage.clock.advance(INSTANT)
        fresh = await keeper.tokens("a", rejected=login.token)
    assert fresh.access_token != login.token.access_token
    assert stage.sent() == 2
    await stage.assert_whole()


async def test_who_was_refused_by_the_broker_is_told_at_once_when_the_settling_is_over(stage: Stage) -> None:
    """Nobody is asked to look again and again at a login that nobody is at work on."""
    store = Forgetful(stage.store)
    async with stage.keeper(resend_after=SETTLE, store=store) as keeper:
        login = await unknown(stage, keeper)
        for held in (True, False):
            if not held:
                store.forget_holds()
            with pytest.raises(NotReadyInTime, match="the last exchange failed") as early:
                await keeper.tokens("a", rejected=login.token, max_wait=SETTLE / 2)
            assert early.value.retry_at == stage.now + SETTLE
    assert stage.sent() == 1


async def test_the_settling_time_binds_those_whom_the_broker_refused_after_a_restart_too(stage: Stage) -> None:
    """The store's own hold ends with the machine: what is written on the account does not."""
    store = Forgetful(stage.store)
    async with stage.keeper(resend_after=SETTLE, store=store) as keeper:
        login = await unknown(stage, keeper)
    store.forget_holds()
    async with stage.keeper(resend_after=SETTLE, store=store) as keeper:
        stage.clock.advance(SETTLE / 2)
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", rejected=login.token, max_wait=SETTLE / 4)
        stage.clock.advance(SETTLE / 2)
        assert await keeper.tokens("a", rejected=login.token) != login.token
    assert stage.sent() == 2
    await stage.assert_whole()


async def test_a_person_who_logs_in_anew_waits_for_nothing(stage: Stage) -> None:
    """Nothing is unknown of the new login, though what was under way for the old one ended so."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        login = stage.fake.login("coinbase")
        await keeper.add("a", login.token)
        stage.clock.advance(HOUR * 0.9)
        gate = Gate()
        stage.fake.fail(Fault.cut().waiting(before=gate))
        old = asyncio.create_task(keeper.refresh_due())
        await gate.arrivals(1)
        (new,) = login.again()
        await keeper.add("a", evolve(new, access_token=None, expires_at=None))
        gate.release()
        await old
        assert (await stage.account()).unknown_since is None
        assert (await keeper.tokens("a", max_wait=MINUTE)).access_token
    assert stage.sent() == 2


async def test_a_crash_is_told_as_a_failure(stage: Stage) -> None:
    """The one that the success after it says was ended."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.abandoned()
        await keeper.refresh_due()
        (failed,) = await stage.notes.until(AttemptFailed)
        assert (failed.error, failed.failures, failed.retry_at) == ("lease ran out", 1, stage.now + SETTLE)
        stage.clock.advance(SETTLE)
        await keeper.refresh_due()
        (refreshed,) = await stage.notes.until(AccountRefreshed)
    assert refreshed.failures == 1


class Forgetful(FaultyStore):
    """Its leases and holds can end before their time, as those of another boot do."""

    def forget_holds(self) -> None:
        for kept in self._kept.values():
            kept.lease.owner = kept.lease.until = None


async def test_a_pair_that_nobody_got_ends_with_the_reason_and_no_loop(stage: Stage) -> None:
    """Cut after the rotation: sent once more, refused, and parked at once."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await unknown(stage, keeper, Fault.cut(after_rotation=True))
        await stage.pass_by(keeper, 100 * MINUTE)
        (event,) = await stage.notes.until(ReconnectRequired)
    account = await stage.account()
    assert (account.state, account.reason) == (AccountState.RECONNECT_REQUIRED, Reason.REFUSED_AFTER_UNKNOWN)
    assert event.reason is Reason.REFUSED_AFTER_UNKNOWN
    assert stage.sent() == 2
    assert not await stage.lost(ignoring_undelivered=True)


UNKNOWN = ["cut", "server error", "html 200", "empty 200", "no token", "html 502", "empty 502", "problem 500"]


@pytest.mark.parametrize("name", UNKNOWN)
async def test_whatever_leaves_the_outcome_open_binds_and_is_settled(stage: Stage, name: str) -> None:
    """The event of the success that ends it tells of the failure."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await unknown(stage, keeper, Fault.all()[name])
        account = await stage.account()
        assert account.unknown_since == stage.now
        assert account.resend_not_before is not None
        stage.clock.advance_to(account.resend_not_before)
        assert await keeper.refresh_due() == 1
        (event,) = await stage.notes.until(AccountRefreshed)
    assert event.failures == 1
    account = await stage.account()
    assert (account.unknown_since, account.resend_not_before, account.failures) == (None, None, 0)
    await stage.assert_whole()


async def test_an_attempt_found_open_after_a_crash_is_stamped_and_nothing_is_sent(stage: Stage) -> None:
    """The one that died may have written, or may yet write, its new pair."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(HOUR * 0.9 - timedelta(minutes=3))
        await stage.abandoned()
        assert await keeper.refresh_due() == 1
        account = await stage.account()
        assert account.unknown_since == stage.now
        assert account.resend_not_before == stage.now + HOUR * 0.1 - MINUTE
        assert await keeper.refresh_due() == 0
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=MINUTE)
        assert not stage.sent()
        stage.clock.advance_to(account.resend_not_before)
        assert await keeper.refresh_due() == 1
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_a_caller_who_finds_an_attempt_open_waits_too(stage: Stage) -> None:
    """On demand as in the loop: the stamp comes first."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.abandoned()
        with pytest.raises(NotReadyInTime) as unready:
            await keeper.tokens("a", max_wait=MINUTE)
        assert unready.value.retry_at == stage.now + SETTLE
        assert not stage.sent()
        stage.clock.advance(SETTLE)
        assert (await keeper.tokens("a")).access_token
    assert stage.sent() == 1


async def test_a_process_that_cannot_read_a_row_leaves_its_attempt_open(stage: Stage) -> None:
    """It has not got the newest key yet: whoever has it still finds that somebody died, and sends nothing at once."""
    old, new = Cipher.generate_key(), Cipher.generate_key()
    stage.store = MemoryStore(cipher=Cipher([new, old]), clock=stage.clock)
    behind = FaultyStore(stage.store)
    behind.cipher = Cipher([old])
    async with stage.keeper(resend_after=SETTLE) as keeper, stage.keeper(store=behind) as unable:
        await keeper.add("a", stage.fake.login("coinbase", revokes_on_reuse=True).token)
        stage.clock.advance(HOUR * 0.9)
        await stage.abandoned()
        assert await unable.refresh_due() == 1
        assert await unable.refresh_due() == 0
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=NOTHING)
        stage.clock.advance(timedelta(minutes=3))
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=NOTHING)
        assert (await stage.account()).unknown_since == stage.now
    assert not stage.sent()


@pytest.mark.parametrize("crashed", [False, True])
async def test_what_its_strategy_does_not_send_twice_is_parked(stage: Stage, crashed: bool) -> None:
    """Answered or crashed: the account ends with the reason `unknown`, and is not sent."""
    async with stage.keeper(resend_after=SETTLE, strategies={"coinbase": Once()}) as keeper:
        if crashed:
            await keeper.add("a", stage.fake.login("coinbase").token)
            stage.clock.advance(2 * HOUR)
            await stage.abandoned()
            await keeper.refresh_due()
        else:
            await unknown(stage, keeper)
        sent = stage.sent()
        (event,) = await stage.notes.until(ReconnectRequired)
        stage.clock.advance(EVER)
        assert await keeper.refresh_due() == 0
        with pytest.raises(ReconnectNeeded) as needed:
            await keeper.refresh("a", max_wait=MINUTE)
        assert needed.value.reason is Reason.UNKNOWN
    account = await stage.account()
    assert (account.state, account.reason, event.reason) == (
        AccountState.RECONNECT_REQUIRED,
        Reason.UNKNOWN,
        Reason.UNKNOWN,
    )
    assert stage.sent() == sent


async def test_an_echo_is_no_success(stage: Stage) -> None:
    """A reply that only repeats what was sent ends no failure, moves no end, and parks nothing: its fate is unknown."""
    async with stage.keeper(resend_after=SETTLE) as keeper:
        made = await unknown(stage, keeper, Fault.repeats())
        account = await stage.account()
        assert (account.state, account.tokens) == (AccountState.ACTIVE, made.token)
        assert account.resend_not_before is not None
        assert account.refreshed_at is None
        stage.clock.advance(HOUR)
        assert (await keeper.tokens("a")).refresh_token != made.token.refresh_token
    await stage.assert_whole()


@pytest.mark.parametrize("replies", list(Replies))
async def test_one_cut_connection_parks_nobody_else(stage: Stage, replies: Replies) -> None:
    """Where no second request is allowed: siblings whose own token never went out stay, and are refreshed."""
    login = stage.fake.login("coinbase", accounts=3, sharing=Sharing.PAIR_EACH, replies_with=replies)
    async with stage.keeper(resend_after=SETTLE, strategies={"coinbase": Once()}) as keeper:
        await keeper.add("a", login.tokens)
        await keeper.refresh("a", "acc-1")
        stage.clock.advance(MINUTE)
        stage.fake.fail(Fault.cut())
        with pytest.raises(ReconnectNeeded):
            await keeper.refresh("a", "acc-1", max_wait=MINUTE)
        states = [account.state for account in (await stage.login()).accounts]
        assert states == [AccountState.RECONNECT_REQUIRED, AccountState.ACTIVE, AccountState.ACTIVE]
        await stage.pass_by(keeper, 2 * HOUR)
        for account_id in ("acc-2", "acc-3"):
            assert stage.fake.is_live((await keeper.tokens("a", account_id)).access_token)
    assert not stage.fake.sent_twice()
    assert not stage.fake.reuses

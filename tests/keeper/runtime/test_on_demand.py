"""`Keeper.tokens`: fresh tokens in every state in which there are any, else one of five errors, in time."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from mesh_refresh import MfaPending
from mesh_refresh.keeper import AmbiguousAccount, NotReadyInTime, ReconnectNeeded, UnknownAccount, UnknownLogin
from mesh_refresh.testing import Fault
from tests.keeper.stage import EVER, HOUR, MINUTE, NOTHING, FaultyStore, Stage

SOON = timedelta(milliseconds=20)


async def test_tokens_inside_the_soft_margin_are_left_to_the_loop(stage: Stage) -> None:
    """Only what is under the hard margin is waited for."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(HOUR - MINUTE - timedelta(microseconds=1))
        assert await keeper.tokens("a") == login.token
        assert not stage.sent()
        stage.clock.advance(timedelta(microseconds=1))
        assert (await keeper.tokens("a")).access_token != login.token.access_token
    assert stage.sent() == 1


async def test_a_failed_refresh_inside_the_soft_margin_leaves_it_answering(stage: Stage) -> None:
    """A refusal, an outage and an unknown outcome alike."""
    for name in ("refuse", "throttle", "cut", "status 423", "html 502"):
        async with stage.keeper() as keeper:
            login = stage.fake.login("coinbase", access_lifetime=HOUR)
            await keeper.add(name, login.token)
            stage.clock.advance(HOUR * 0.9)
            stage.fake.fail(Fault.all()[name], login=login)
            await keeper.refresh_due()
            assert await keeper.tokens(name) == login.token
            await keeper.remove(name)
    assert stage.sent() == 5


async def test_a_thousand_callers_are_one_exchange(stage: Stage) -> None:
    """All get the same fresh tokens."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        found = await asyncio.gather(*(keeper.tokens("a") for _ in range(1000)))
    assert len({tokens.access_token for tokens in found}) == 1
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_callers_who_are_cancelled_cost_nothing(stage: Stage) -> None:
    """The exchange goes on, and the pair is stored."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        gate = stage.fake.hold(after_rotation=True)
        callers = [asyncio.create_task(keeper.tokens("a")) for _ in range(10)]
        await gate.entered.wait()
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        assert all(caller.cancelled() for caller in callers)
        gate.release()
        await keeper.tokens("a")
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_a_caller_waits_for_no_longer_than_it_said(stage: Stage) -> None:
    """The exchange goes on without it."""
    async with stage.keeper(max_wait=SOON) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        gate = stage.fake.hold()
        for wait in (None, NOTHING, SOON):
            with pytest.raises(NotReadyInTime):
                await keeper.tokens("a", max_wait=wait)
        gate.release()
        await keeper.tokens("a", max_wait=EVER)
    assert stage.sent() == 1


async def test_an_account_is_named_where_there_are_several(stage: Stage) -> None:
    """By the broker's id, or by Mesh's."""
    login = stage.fake.login("etoro", accounts=2)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        assert await keeper.tokens("a", "acc-2") == login.tokens[1]
        assert await keeper.tokens("a", login.tokens[0].mesh_account_id) == login.tokens[0]
        with pytest.raises(AmbiguousAccount):
            await keeper.tokens("a")
        with pytest.raises(UnknownAccount):
            await keeper.tokens("a", "acc-3")
        with pytest.raises(UnknownLogin):
            await keeper.tokens("b")


async def test_it_says_at_once_that_no_refresh_can_start_in_time(stage: Stage) -> None:
    """A store that fails, a pause, a halt, a wait, a broker that does not let it yet; with a time where known."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, halt_probe=10 * MINUTE) as keeper:
        await keeper.add("later", stage.fake.delayed_login().token)
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        with pytest.raises(NotReadyInTime) as early:
            await keeper.tokens("later", max_wait=HOUR)
        assert early.value.retry_at == stage.now + 22 * HOUR
        for verb in ("read", "paused", "claim_one"):
            store.lose(verb)
            with pytest.raises(NotReadyInTime):
                await keeper.tokens("a", max_wait=EVER)
        store.come_back()
        await keeper.pause("coinbase")
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", max_wait=EVER)
        await keeper.resume("coinbase")
        stage.fake.fail(Fault.client_refused())
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", max_wait=MINUTE)
        with pytest.raises(NotReadyInTime) as halted:
            await keeper.tokens("a", max_wait=9 * MINUTE)
        assert halted.value.retry_at == stage.now + 10 * MINUTE
        stage.clock.advance(10 * MINUTE)
        stage.fake.fail(Fault.cut())
        with pytest.raises(NotReadyInTime) as waiting:
            await keeper.tokens("a", max_wait=MINUTE)
        assert waiting.value.retry_at == stage.now + 2 * MINUTE
    assert stage.sent() == 2


async def test_rejected_tokens_are_refreshed_unless_somebody_has(stage: Stage) -> None:
    """Ten workers whose request was refused share one exchange."""
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        old = await keeper.tokens("a")
        found = await asyncio.gather(*(keeper.tokens("a", rejected=old) for _ in range(10)))
        assert len({tokens.access_token for tokens in found}) == 1
        assert found[0].access_token != old.access_token
        assert await keeper.tokens("a", rejected=old) == found[0]
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_a_broker_that_refuses_whatever_it_is_given_does_not_make_a_loop(stage: Stage) -> None:
    """`rejected=` exchanges no login sooner than the least interval after a success."""
    async with stage.keeper(min_interval=10 * MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        tokens = await keeper.tokens("a", rejected=await keeper.tokens("a"))
        for _ in range(20):
            with pytest.raises(NotReadyInTime) as unready:
                await keeper.tokens("a", rejected=tokens, max_wait=MINUTE)
            assert unready.value.retry_at == stage.now + 10 * MINUTE
        assert stage.sent() == 1
        assert await keeper.tokens("a") == tokens
        stage.clock.advance(10 * MINUTE)
        assert await keeper.tokens("a", rejected=tokens) != tokens
    assert stage.sent() == 2


KINDS = [name for name in Fault.all() if not name.startswith(("delay", "none"))]


@pytest.mark.parametrize("name", KINDS)
async def test_whatever_goes_wrong_it_raises_nothing_else(stage: Stage, name: str) -> None:
    """Of tokens that have ended; and nothing is lost that any client could have had."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.all()[name])
        for verb in (keeper.tokens, keeper.refresh, keeper.tokens):
            with suppress(NotReadyInTime, ReconnectNeeded, MfaPending):
                assert stage.fake.is_live((await verb("a", max_wait=SOON)).access_token)
            if verb == keeper.tokens:
                stage.clock.advance(10 * MINUTE)
    assert not await stage.lost(ignoring_undelivered=True)
    assert not stage.fake.sent_twice()


async def test_refresh_exchanges_now_due_or_not(stage: Stage) -> None:
    """Callers who ask at the same time share one."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        found = await asyncio.gather(*(keeper.refresh("a") for _ in range(20)))
        assert len({tokens.access_token for tokens in found}) == 1
        assert stage.sent() == 1
        stage.clock.advance(1)
        assert await keeper.refresh("a") != found[0]
    assert stage.sent() == 2
    await stage.assert_whole()


@pytest.mark.parametrize("name", ["refuse", "status 409", "status 423", "throttle", "status 403", "client refused"])
async def test_refresh_sends_one_request_and_says_why_it_failed(stage: Stage, name: str) -> None:
    """It does not hammer a broker until its time is over, nor park an account with two requests of its own."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.fake.fail(Fault.all()[name], times=None)
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=timedelta(milliseconds=300))
        assert not (await stage.account()).parked
    assert stage.sent() == 1


async def test_a_parked_account_may_be_refreshed_and_is_sent_once_for_that(stage: Stage) -> None:
    """Refused again, it says that the person must log in."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        login = stage.fake.login("coinbase")
        await keeper.add("a", login.token)
        login.refused = True
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        stage.clock.advance(MINUTE)
        await keeper.refresh_due()
        with pytest.raises(ReconnectNeeded):
            await keeper.refresh("a", max_wait=timedelta(seconds=1))
    assert stage.sent() == 3

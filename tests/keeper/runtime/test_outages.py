"""Faults that are nobody's: no account is blamed, one event is told, few requests are sent, and all is caught up."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import InvalidRequest, RefreshRequest, Tokens
from mesh_refresh.keeper import AccountState, BreakerClosed, BreakerOpened, Keeper, NotReadyInTime, ReconnectRequired
from mesh_refresh.keeper import BreakerFault as Why
from mesh_refresh.stores import BrokerPause
from mesh_refresh.strategies import DefaultStrategy
from mesh_refresh.testing import Fault
from tests.keeper.stage import EVER, HOUR, MINUTE, SECOND, Stage, runtime_of

FLEET, AT_ONCE = 120, 10
BOUND = AT_ONCE + 16
"""What is under way when it begins, and a probe at each pause: 5, 10, 20, 40, 60 s; slower ones still fit."""

Breaks = Callable[[Stage], Any]


def answering(fault: Fault) -> Breaks:
    return lambda stage: stage.fake.fail(fault, times=None)


async def unreachable(stage: Stage) -> None:
    await stage.fake.stop()


def wrong_secret(stage: Stage) -> None:
    stage.fake.client_secret = "another secret"


FAULTS: dict[str, tuple[Breaks, Why]] = {
    "throttled": (answering(Fault.throttle()), Why.THROTTLED),
    "throttled with a time": (answering(Fault.throttle(20)), Why.THROTTLED),
    "unavailable": (answering(Fault.unavailable()), Why.UNAVAILABLE),
    "the client secret stops working": (wrong_secret, Why.CLIENT_REFUSED),
    "redirects": (answering(Fault.redirect()), Why.REDIRECTED),
    "no connection": (unreachable, Why.NOT_SENT),
    "400 to all": (answering(Fault.refuse()), Why.REFUSALS),
    "content failed for all": (answering(Fault.failed()), Why.REFUSALS),
    "400 missingField to all": (answering(Fault.missing_field()), Why.REJECTED),
    "400 ProblemDetails to all": (answering(Fault.problem()), Why.REJECTED),
    "403": (answering(Fault.problem(403)), Why.NOT_PERMITTED),
    "404": (answering(Fault.problem(404)), Why.NOT_PERMITTED),
    "451": (answering(Fault.status(451)), Why.NOT_PERMITTED),
    "a run of HTML 502": (answering(Fault.html(502)), Why.UNKNOWN_OUTCOMES),
    "a run of cut connections": (answering(Fault.cut()), Why.UNKNOWN_OUTCOMES),
}


async def added(stage: Stage, keeper: Keeper, count: int = FLEET, broker: str = "coinbase") -> None:
    for number in range(count):
        await keeper.add(f"{broker}-{number}", stage.fake.login(broker).token)


async def mended(stage: Stage, secret: str, name: str) -> None:
    stage.fake.heal()
    stage.fake.client_secret = secret
    if name == "no connection":
        await stage.fake.start()


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_that_is_nobodys(stage: Stage, name: str) -> None:
    """For a minute and a half; then everything is as it was, and everybody is fresh."""
    breaks, why = FAULTS[name]
    secret = stage.fake.client_secret
    async with stage.keeper(concurrency=AT_ONCE, resend_after=MINUTE) as keeper:
        await added(stage, keeper)
        stage.clock.advance(2 * HOUR)
        result = breaks(stage)
        if result is not None:
            await result
        await keeper.refresh_due()
        await stage.pass_by(keeper, 1.5 * MINUTE, step=SECOND)
        during = stage.sent()
        assert during <= BOUND + (20 if why is Why.REFUSALS else 10 if why is Why.UNKNOWN_OUTCOMES else 0)
        assert (await keeper.summary()).held_back.get(None if why in _OF_ALL else "coinbase") is why
        assert {account.state for account in await stage.accounts()} == {AccountState.ACTIVE}
        blamed = [account for account in await stage.accounts() if account.failures]
        assert len(blamed) < {Why.REFUSALS: 20, Why.UNKNOWN_OUTCOMES: during + 1}.get(why, 1)
        await mended(stage, secret, name)
        await stage.pass_by(keeper, 4 * MINUTE, step=SECOND)
        (closed,) = await stage.notes.until(BreakerClosed)
    (opened,) = stage.notes.of(BreakerOpened)
    assert (opened.fault, closed.fault) == (why, why)
    assert closed.opened_at == opened.at
    assert all(account.tokens.expires_at > stage.now for account in await stage.accounts() if account.tokens.expires_at)
    assert len({account.tokens.refresh_token for account in await stage.accounts()}) == FLEET
    assert stage.fake.exchanges["succeeded"] == FLEET
    assert not stage.notes.of(ReconnectRequired)
    await stage.assert_whole()


class Breaking(DefaultStrategy):
    """One of the user's, with a bug in it."""

    broken = True

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        if self.broken:
            raise KeyError(tokens.refresh_token)
        return request


async def test_a_strategy_that_raises_parks_nobody(stage: Stage) -> None:
    """Nothing was sent: the login is given back, the broker is left alone, and a mended strategy goes on."""
    strategy = Breaking()
    async with stage.keeper(strategies={"coinbase": strategy}, concurrency=1) as keeper:
        await added(stage, keeper, 20)
        await added(stage, keeper, 1, "kraken")
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        assert (await keeper.summary()).held_back == {"coinbase": Why.REJECTED}
        with pytest.raises(NotReadyInTime) as unready:
            await keeper.tokens("coinbase-0", max_wait=timedelta(seconds=1))
        assert unready.value.retry_at is not None
        await stage.pass_by(keeper, 10 * MINUTE, step=SECOND)
        assert not any(account.failures for account in await stage.accounts())
        assert not any(account.unknown_since for account in await stage.accounts())
        assert (await stage.store.counts(stage.now))[0].leased == 0
        assert [request.broker for request in stage.fake.requests] == ["kraken"]
        strategy.broken = False
        await stage.pass_by(keeper, 20 * MINUTE, step=SECOND)
        assert None not in {account.refreshed_at for account in await stage.accounts()}
    assert [event.fault for event in stage.notes.of(BreakerOpened)] == [Why.REJECTED]
    assert not stage.notes.of(ReconnectRequired)
    await stage.assert_whole()


_OF_ALL = (Why.CLIENT_REFUSED, Why.NOT_SENT)


@pytest.mark.parametrize("name", ["the client secret stops working", "redirects"])
async def test_a_halt_is_probed_slowly_and_seen_in_the_health(stage: Stage, name: str) -> None:
    """Once a minute, for all brokers together. It takes two brokers to say that the base URL is wrong."""
    async with stage.keeper(concurrency=1) as keeper:
        for broker in ("coinbase", "kraken", "robinhood"):
            await added(stage, keeper, 3, broker)
        stage.clock.advance(2 * HOUR)
        FAULTS[name][0](stage)
        await keeper.refresh_due()
        assert stage.sent() == (2 if name == "redirects" else 1)
        health = keeper.health()
        assert (health.ok, health.halted) == (False, FAULTS[name][1])
        await stage.pass_by(keeper, 5 * MINUTE, step=SECOND)
    assert stage.sent() <= 7


async def test_probes_rotate_over_brokers_and_logins(stage: Stage) -> None:
    """One login that is always refused, or one broker that is down for itself, must not be the only probe."""
    brokers = ["coinbase", "kraken", "robinhood", "etoro"]
    async with stage.keeper(
        concurrency=1, cool_down=timedelta(seconds=1), cool_down_cap=timedelta(seconds=1)
    ) as keeper:
        for broker in brokers:
            await added(stage, keeper, 12 if broker == "coinbase" else 2, broker)
            stage.clock.advance(HOUR / 2)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.throttle(), times=None)
        while stage.sent() < 10:
            await keeper.refresh_due()
            stage.clock.advance(1)
        probes = stage.fake.requests[2:]
    assert {probe.broker for probe in probes[:4]} == set(brokers)
    assert {probe.broker for probe in probes[4:8]} == set(brokers)
    assert len({probe.login for probe in stage.fake.requests}) >= 7


async def test_a_broker_that_cools_down_starves_no_other(stage: Stage) -> None:
    """However many of its logins are due, and have been for longer."""
    async with stage.keeper(concurrency=4) as keeper:
        await added(stage, keeper, 60)
        stage.clock.advance(2 * MINUTE)
        await added(stage, keeper, 20, "kraken")
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.problem(403), times=None, broker="coinbase")
        await keeper.refresh_due()
        assert stage.fake.exchanges["succeeded"] == 20
        await keeper.tokens("kraken-0")
        stage.fake.heal()
        await stage.pass_by(keeper, MINUTE, step=SECOND)
    assert stage.fake.exchanges["succeeded"] == 80
    await stage.assert_whole()


async def test_callers_of_a_broker_that_cools_down_starve_no_other(stage: Stage) -> None:
    """They wait for their breaker, and hold no place meanwhile."""
    async with stage.keeper(concurrency=4, cool_down=timedelta(seconds=30)) as keeper:
        await added(stage, keeper, 8)
        await added(stage, keeper, 8, "kraken")
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.problem(403), times=None, broker="coinbase")
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("coinbase-0", max_wait=timedelta(seconds=1))
        callers = [asyncio.create_task(keeper.tokens(f"coinbase-{n}", max_wait=EVER)) for n in range(8)]
        await asyncio.sleep(0.01)
        await keeper.refresh_due()
        assert stage.fake.exchanges["succeeded"] == 8
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)


async def test_a_pause_keeps_why_and_who(stage: Stage) -> None:
    """With the keeper's time; what is no text is refused before the store is asked."""
    async with stage.keeper() as keeper:
        await keeper.pause("coinbase", note="an outage", by="ann")
        expected = {"coinbase": BrokerPause("coinbase", "an outage", "ann", stage.clock.now())}
        for wrong in ({"note": 7}, {"by": b"ann"}):
            with pytest.raises(InvalidRequest, match="takes a string"):
                await keeper.pause("kraken", **wrong)
        assert await stage.store.paused() == expected


async def test_a_paused_broker_starves_no_other_and_goes_on_when_it_is_resumed(stage: Stage) -> None:
    """The pause is in the store: it holds for every process."""
    async with stage.keeper(concurrency=4) as keeper, stage.keeper() as other:
        await added(stage, keeper, 20)
        await added(stage, keeper, 20, "kraken")
        stage.clock.advance(2 * HOUR)
        await other.pause("coinbase")
        assert await keeper.refresh_due() == 20
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("coinbase-0", max_wait=EVER)
        assert (await keeper.summary()).paused == {"coinbase"}
        await other.resume("coinbase")
        assert await keeper.refresh_due() == 20
        await other.pause()
        stage.clock.advance(2 * HOUR)
        assert await keeper.refresh_due() == 0
        await other.resume()
        assert await keeper.refresh_due() == 40
    await stage.assert_whole()


@pytest.mark.parametrize("what", ["coinbase", "*"])
async def test_a_pause_binds_a_caller_who_waits_for_a_place(stage: Stage, what: str) -> None:
    """What began before it ends well; who has not begun is told, and sends nothing."""
    async with stage.keeper(concurrency=1) as keeper:
        await added(stage, keeper, 2)
        stage.clock.advance(2 * HOUR)
        gate = stage.fake.hold()
        begun = asyncio.create_task(keeper.tokens("coinbase-0"))
        await gate.arrivals(1)
        waits = asyncio.create_task(keeper.tokens("coinbase-1", max_wait=EVER))
        await crowded(keeper)
        await keeper.pause(what)
        gate.release()
        assert (await begun).access_token
        with pytest.raises(NotReadyInTime, match="paused"):
            await waits
        assert stage.sent() == 1
        await keeper.resume(what)
        assert (await keeper.tokens("coinbase-1")).access_token
    await stage.assert_whole()


async def crowded(keeper: Keeper) -> None:
    """Until a caller waits for a place."""
    while not runtime_of(keeper).limiter.asking:  # noqa: ASYNC110 - nobody else is told of it
        await asyncio.sleep(0)


async def test_a_resumed_broker_wakes_the_loop(stage: Stage) -> None:
    """It does not wait for its next look, which may be long away."""
    async with stage.keeper(background=True, poll=timedelta(seconds=60)) as keeper:
        await keeper.pause()
        await added(stage, keeper, 3)
        stage.clock.advance(2 * HOUR)
        await keeper.resume()
        await stage.fake.received(3)
    await stage.assert_whole()


async def test_refusals_count_again_once_the_time_of_trust_is_over(stage: Stage) -> None:
    """If it goes on for the policy's time, the persons must log in again after all: each ends with a reason."""
    policy: Any = {"refusal_logins": 5, "refusal_trust": HOUR, "resend_after": MINUTE, "concurrency": 2}
    async with stage.keeper(**policy) as keeper:
        await added(stage, keeper, 12)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.refuse(), times=None)
        await stage.pass_by(keeper, 240 * MINUTE)
    assert {account.state for account in await stage.accounts()} == {AccountState.RECONNECT_REQUIRED}
    (opened,) = stage.notes.of(BreakerOpened)
    assert opened.fault is Why.REFUSALS
    assert len(stage.notes.of(ReconnectRequired)) == 12


async def test_refusals_count_again_once_a_login_of_that_broker_succeeds(stage: Stage) -> None:
    """The broker is well; those that are refused are refused for themselves."""
    policy: Any = {"refusal_logins": 5, "refusal_trust": 12 * HOUR, "resend_after": MINUTE, "concurrency": 2}
    async with stage.keeper(**policy) as keeper:
        await added(stage, keeper, 12)
        for login in list(stage.fake.logins.values())[:11]:
            login.refused = True
        stage.clock.advance(2 * HOUR)
        for _ in range(150):  # the one that is well may have been refreshed a moment before the others were refused
            stage.clock.advance(MINUTE)
            await keeper.refresh_due()
    states = [account.state for account in await stage.accounts()]
    assert states.count(AccountState.RECONNECT_REQUIRED) == 11
    assert states.count(AccountState.ACTIVE) == 1


@pytest.mark.parametrize("pause", [8 * MINUTE, HOUR / 2], ids=["soon", "later"])
async def test_a_second_time_that_mesh_refuses_everybody_is_nobodys_fault_either(stage: Stage, pause: Any) -> None:
    """Within the hour of trust that the end of the first one began: nobody is parked, and one event tells of each."""
    async with stage.keeper(concurrency=5, min_interval=timedelta(), keep_alive=5 * MINUTE) as keeper:
        await added(stage, keeper, 60)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.refuse(), times=None)
        for ends in (False, True):
            await stage.pass_by(keeper, 6 * MINUTE, step=SECOND)
            assert len(stage.notes.of(BreakerOpened)) == 1 + ends
            stage.fake.heal()
            await stage.pass_by(keeper, 3 * MINUTE, step=SECOND)
            if not ends:
                stage.clock.advance(pause)
                stage.fake.fail(Fault.refuse(), times=None)
    assert {account.state for account in await stage.accounts()} == {AccountState.ACTIVE}
    assert not stage.notes.of(ReconnectRequired)
    await stage.assert_whole()


async def test_concurrency_is_bounded_overall_and_for_each_broker(stage: Stage) -> None:
    """Callers count as the loop does."""
    async with stage.keeper(background=True, concurrency=5, concurrency_each=3) as keeper:
        await added(stage, keeper, 12)
        await added(stage, keeper, 12, "kraken")
        gate = stage.fake.hold(times=None)
        stage.clock.advance(2 * HOUR)
        callers = [asyncio.create_task(keeper.tokens(f"coinbase-{n}", max_wait=EVER)) for n in range(12)]
        await gate.arrivals(5)
        held = [request.broker for request in stage.fake.requests]
        assert max(held.count("coinbase"), held.count("kraken")) == 3
        gate.release()
        await asyncio.gather(*callers)
        await stage.fake.received(24)
    assert stage.fake.max_in_flight == 5
    await stage.assert_whole()


async def test_the_rate_is_bounded_where_the_policy_says_so(stage: Stage) -> None:
    """Three in a second, whatever is due."""
    async with stage.keeper(background=True, rate=3.0) as keeper:
        await added(stage, keeper, 12)
        stage.clock.advance(2 * HOUR)
        counts = []
        while stage.sent() < 12:
            stage.clock.advance(1)
            before = stage.sent()
            await stage.fake.received(min(12, before + 1))
            await asyncio.sleep(0.03)
            counts.append(stage.sent() - before)
    assert max(counts) <= 4
    await stage.assert_whole()

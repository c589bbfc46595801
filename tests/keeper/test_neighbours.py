"""What is wrong with one login, or with one broker, keeps no other one back."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from mesh_refresh import InvalidRequest, MeshRefreshError, MfaPending, RefreshRequest, Tokens
from mesh_refresh.keeper import AccountState, AttemptFailed, BreakerOpened, Keeper, NotReadyInTime
from mesh_refresh.keeper import BreakerFault as Why
from mesh_refresh.strategies import DefaultStrategy, VanguardStrategy
from mesh_refresh.testing import Fault
from mesh_refresh.testing.model.logins import FakeLogin
from tests.keeper.stage import HOUR, MINUTE, NOTHING, Stage

HEALTHY, ROUNDS, SECOND = 20, 6, timedelta(seconds=1)
Fails = Callable[[Stage, FakeLogin], Any]


class RaisesFor(DefaultStrategy):
    """A strategy with a bug that some logins meet."""

    meet: ClassVar[set[str | None]] = set()

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        if tokens.refresh_token in self.meet:
            raise KeyError("a field that this login does not have")
        return request


def answered(fault: Fault) -> Fails:
    return lambda stage, login: stage.fake.fail(fault, times=None, login=login.id)


def raises(_: Stage, login: FakeLogin) -> None:
    RaisesFor.meet |= {tokens.refresh_token for tokens in login.tokens}


class Counting(VanguardStrategy):
    """Counts how often it raises."""

    well, calls = False, 0

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        self.calls += 1
        if not self.well:
            raise KeyError
        return request


ONE_LOGIN: dict[str, Fails] = {
    "403": answered(Fault.problem(403)),
    "404": answered(Fault.problem(404)),
    "451": answered(Fault.status(451)),
    "permissionDenied": answered(Fault.status(403, {"status": "permissionDenied"})),
    "400 ProblemDetails": answered(Fault.problem()),
    "400 missingField": answered(Fault.missing_field()),
    "405": answered(Fault.status(405)),
    "a strategy that raises": raises,
}
ONE_BROKER = {
    "429": Fault.throttle(),
    "429 for an hour": Fault.throttle(3600),
    "503": Fault.unavailable(),
    "500": Fault.server_error(),
    "302": Fault.redirect(),
}


async def share_refreshed(keeper: Keeper, stage: Stage, healthy: list[str], sick: list[str]) -> float:
    """The share of refreshes on demand of the `healthy` logins that go through, while the `sick` are asked for too."""

    async def ask(login_id: str) -> bool:
        try:
            await keeper.refresh(login_id, max_wait=timedelta(seconds=5))
        except NotReadyInTime:
            return False
        return True

    went_through = 0
    for _ in range(ROUNDS):
        stage.clock.advance(15)
        for name in sick:
            await ask(name)
        await keeper.refresh_due()
        went_through += sum([await ask(name) for name in healthy])
    return went_through / (ROUNDS * len(healthy))


@pytest.mark.parametrize("name", ONE_LOGIN)
async def test_one_login_keeps_no_other_of_its_broker_back(stage: Stage, name: str) -> None:
    """It backs off for itself, more and more rarely, and is tried again when it is well."""
    RaisesFor.meet.clear()
    async with stage.keeper(strategies={"coinbase": RaisesFor()}) as keeper:
        sick = stage.fake.login("coinbase")
        await keeper.add("sick", sick.token)
        for number in range(HEALTHY):
            await keeper.add(f"user-{number}", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        ONE_LOGIN[name](stage, sick)
        assert await share_refreshed(keeper, stage, [f"user-{n}" for n in range(HEALTHY)], ["sick"]) >= 0.95
        assert not stage.notes.of(BreakerOpened)
        account = await stage.account("sick")
        assert account.failures > 1
        assert account.state is AccountState.ACTIVE
        stage.fake.heal()
        RaisesFor.meet.clear()
        stage.clock.advance(HOUR)
        await keeper.refresh_due()
        assert (await stage.account("sick")).failures == 0
    await stage.assert_whole()


@pytest.mark.parametrize("name", ["429", "503", "302"])
async def test_one_login_with_the_fault_of_a_broker_holds_that_back_once(stage: Stage, name: str) -> None:
    """Until another login succeeds. From then on it backs off for itself."""
    async with stage.keeper() as keeper:
        sick = stage.fake.login("coinbase")
        await keeper.add("sick", sick.token)
        for number in range(HEALTHY):
            await keeper.add(f"user-{number}", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(ONE_BROKER[name], times=None, login=sick.id)
        names = [f"user-{number}" for number in range(HEALTHY)]
        await share_refreshed(keeper, stage, names, ["sick"])
        stage.clock.advance(2 * MINUTE)
        assert await share_refreshed(keeper, stage, names, ["sick"]) >= 0.95
        assert len(stage.notes.of(BreakerOpened)) == 1
        assert (await stage.account("sick")).failures > 1
        stage.fake.heal()
        stage.clock.advance(HOUR)
        await keeper.refresh_due()
        assert (await stage.account("sick")).failures == 0
    await stage.assert_whole()


@pytest.mark.parametrize("name", ["429", "503", "302"])
async def test_one_login_is_not_each_probe(stage: Stage, name: str) -> None:
    """However long its breaker's pause has become: a login that falls due meanwhile is the next probe."""
    async with stage.keeper() as keeper:
        sick = stage.fake.login("coinbase")
        await keeper.add("sick", sick.token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(ONE_BROKER[name], times=None, login=sick.id)
        for _ in range(8):
            await keeper.refresh_due()
            stage.clock.advance(MINUTE)
        await keeper.refresh_due()
        stage.clock.advance(MINUTE / 2)
        await keeper.add_many([("healthy", stage.fake.login("coinbase").token)], at_once=True)
        succeeded = stage.fake.exchanges["succeeded"]
        stage.clock.advance(MINUTE / 2)
        await keeper.refresh_due()
        assert stage.fake.exchanges["succeeded"] == succeeded + 1
    await stage.assert_whole()


@pytest.mark.parametrize("name", ONE_BROKER)
async def test_one_broker_keeps_no_other_back(stage: Stage, name: str) -> None:
    """Whatever it asks for."""
    async with stage.keeper(resend_after_cap=2 * MINUTE) as keeper:
        for number in range(HEALTHY):
            await keeper.add(f"sick-{number}", stage.fake.login("kraken").token)
            await keeper.add(f"user-{number}", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(ONE_BROKER[name], times=None, broker="kraken")
        sick = [f"sick-{number}" for number in range(HEALTHY)]
        assert await share_refreshed(keeper, stage, [f"user-{n}" for n in range(HEALTHY)], sick) >= 0.95
        assert {event.broker for event in stage.notes.of(BreakerOpened)} == {"kraken"}
    assert not stage.fake.sent_twice()


async def test_a_strategy_that_raises_is_asked_once_for_each_call(stage: Stage) -> None:
    """Not again and again for as long as the caller waits; with a code, too."""
    counting = Counting()
    async with stage.keeper(strategies={"coinbase": counting, "vanguard": counting}) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        coded = stage.fake.login("vanguard", mfa=True)
        await keeper.add("b", coded.token)
        counting.well = True
        with pytest.raises(MfaPending):
            await keeper.refresh("b")
        counting.well, counting.calls = False, 0
        for call in (keeper.refresh("a", max_wait=SECOND), keeper.submit_mfa("b", coded.code, max_wait=SECOND)):
            with pytest.raises(NotReadyInTime):
                await call
        assert counting.calls == 2
        counting.well = True
        await keeper.submit_mfa("b", coded.code)


async def test_a_strategy_that_raises_is_asked_once_where_a_probe_may_go(stage: Stage) -> None:
    """Nothing was sent, so the breaker stays as it is, for another login to probe; this one backs off."""
    counting = Counting()
    counting.well = True
    async with stage.keeper(strategies={"coinbase": counting}) as keeper:
        for name in "ab":
            await keeper.add(name, stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.throttle(), times=1)
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("b", max_wait=SECOND)
        stage.clock.advance(MINUTE)
        counting.well, counting.calls = False, 0
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", max_wait=SECOND)
        assert counting.calls == 1
        counting.well = True
        assert (await keeper.tokens("b", max_wait=SECOND)).access_token


async def test_several_sick_logins_are_fewer_than_a_sick_broker(stage: Stage) -> None:
    """Nine of them, and half as many that are well: each backs off for itself."""
    async with stage.keeper() as keeper:
        logins = [stage.fake.login("coinbase") for _ in range(13)]
        for number, login in enumerate(logins):
            await keeper.add(f"user-{number}", login.token)
        stage.clock.advance(2 * HOUR)
        for login in logins[:9]:
            stage.fake.fail(Fault.problem(404), times=None, login=login.id)
        sick, healthy = [f"user-{n}" for n in range(9)], [f"user-{n}" for n in range(9, 13)]
        assert await share_refreshed(keeper, stage, healthy, sick) >= 0.95
        assert not stage.notes.of(BreakerOpened)


async def test_a_sick_broker_takes_the_backoffs_back(stage: Stage) -> None:
    """At the tenth login: those before it had backed off for hours, and are due as soon as the broker is well."""
    async with stage.keeper(concurrency=1) as keeper:
        for number in range(15):
            await keeper.add(f"user-{number}", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.problem(403), times=None)
        for _ in range(6):  # each time anew, until the backoff of these is long
            for number in range(9):
                with pytest.raises(NotReadyInTime):
                    await keeper.refresh(f"user-{number}", max_wait=SECOND)
        assert {account.failures for account in await stage.accounts()} == {0, 6}
        assert not stage.notes.of(BreakerOpened)
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("user-9", max_wait=SECOND)
        (opened,) = await stage.notes.until(BreakerOpened)
        assert (opened.broker, opened.fault) == ("coinbase", Why.NOT_PERMITTED)
        await keeper.refresh_due()
        for account in await stage.accounts():
            assert (account.failures, account.failing_since, account.last_error) == (0, None, None)
            assert account.retry_not_before is None
            assert account.due_at is not None
            assert account.due_at <= stage.now + MINUTE / 2
        told = len(stage.notes.of(AttemptFailed))
        assert told == 9 * 6
        for _ in range(20):
            stage.clock.advance(MINUTE / 2)
            await keeper.refresh_due()
        assert len(stage.notes.of(AttemptFailed)) == told, "probes count against no account"
        assert not any(account.failures for account in await stage.accounts())
        stage.fake.heal()
        for _ in range(8):
            stage.clock.advance(MINUTE / 4)
            await keeper.refresh_due()
        assert stage.fake.exchanges["succeeded"] == 15
    await stage.assert_whole()


@pytest.mark.parametrize("fault", [Fault.problem(), Fault.problem(403), Fault.problem(404), Fault.status(451)])
async def test_an_odd_reply_to_a_code_opens_no_breaker(stage: Stage, fault: Fault) -> None:
    """However many people get one: the question stays open, and the others are refreshed."""
    async with stage.keeper() as keeper:
        logins = [stage.fake.login("vanguard", mfa=True) for _ in range(12)]
        for number, login in enumerate(logins):
            await keeper.add(f"user-{number}", login.token)
            with pytest.raises(MfaPending):
                await keeper.refresh(f"user-{number}")
        stage.fake.fail(fault, times=12)
        for number, login in enumerate(logins):
            with pytest.raises(MeshRefreshError) as odd:
                await keeper.submit_mfa(f"user-{number}", login.code)
            assert not isinstance(odd.value, NotReadyInTime | InvalidRequest)
        assert not stage.notes.of(BreakerOpened)
        assert not any(account.failures for account in await stage.accounts())
        for number, login in enumerate(logins):
            await keeper.submit_mfa(f"user-{number}", login.code)
    await stage.assert_whole()


async def throttled(stage: Stage, keeper: Keeper) -> None:
    """The broker asks for an hour of quiet."""
    for name in "ab":
        await keeper.add(name, stage.fake.login("coinbase").token)
    stage.clock.advance(2 * HOUR)
    stage.fake.fail(Fault.throttle(3600), times=1)
    with pytest.raises(NotReadyInTime):
        await keeper.refresh("a", max_wait=NOTHING)
    with pytest.raises(NotReadyInTime) as held:
        await keeper.refresh("a", max_wait=MINUTE)
    assert held.value.retry_at == stage.now + HOUR


@pytest.mark.parametrize("what", ["coinbase", "*"])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_resume_lets_a_probe_through_in_every_process(stage: Stage, what: str, elsewhere: bool) -> None:
    """The wait is over, though nothing was paused; one goes, and the others when that went well."""
    async with stage.keeper(poll=timedelta(seconds=1)) as keeper, stage.keeper() as other:
        await throttled(stage, keeper)
        await (other if elsewhere else keeper).resume(what)
        stage.clock.advance(1)
        assert (await keeper.refresh("a")).access_token
        assert (await keeper.refresh("b")).access_token
    await stage.assert_whole()


async def test_a_resume_is_a_probe_each_time(stage: Stage) -> None:
    """Once more is once more."""
    async with stage.keeper() as keeper:
        await throttled(stage, keeper)
        stage.fake.fail(Fault.throttle(3600), times=1)
        for _ in range(2):
            stage.clock.advance(1)
            await keeper.resume("coinbase")
            before = stage.sent()
            try:
                await keeper.refresh("a", max_wait=SECOND)
            except NotReadyInTime:
                assert stage.sent() == before + 1
        assert (await stage.account("a")).refreshed_at


async def test_resume_wakes_a_loop_and_callers_who_wait(stage: Stage) -> None:
    """At the next look, in another process than the one that was told."""
    async with stage.keeper(background=True, cool_down=20 * MINUTE) as worker, stage.keeper() as other:
        await worker.add("a", stage.fake.login("coinbase").token)
        stage.fake.fail(Fault.unavailable(), times=1)
        stage.clock.advance(2 * HOUR)
        await stage.notes.until(BreakerOpened)
        waits = asyncio.create_task(worker.tokens("a", max_wait=HOUR))
        await asyncio.sleep(0)
        await other.resume()
        while not (await stage.account()).refreshed_at:
            stage.clock.advance(0.05)
            await asyncio.sleep(0)
        assert (await waits).access_token
    await stage.assert_whole()

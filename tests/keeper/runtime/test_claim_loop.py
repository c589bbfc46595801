"""Due: when the loop refreshes an account, and when it leaves it alone."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.keeper import AccountRefreshed, AccountState, ReconnectSoon
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import ClaimRequest, MemoryStore, Row
from mesh_refresh.testing import Fault
from tests.keeper.stage import DAY, EVER, HOUR, MINUTE, NOTHING, SECOND, FaultyStore, Stage


def success(**entry: str) -> Fault:
    """A success with just these tokens in it, which the broker behind it knows nothing of."""
    content = {"status": "succeeded", "expiresInSeconds": 3600, "brokerAccountTokens": [entry]}
    return Fault.status(200, {"status": "ok", "content": content})


async def due_at(stage: Stage) -> datetime:
    found = (await stage.account()).due_at
    assert found is not None
    return found


async def test_a_login_is_refreshed_a_fraction_of_its_lifetime_before_its_end(stage: Stage) -> None:
    """Not sooner."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        due = await due_at(stage)
        assert timedelta(minutes=12) <= stage.now + HOUR - due <= timedelta(minutes=24)
        stage.clock.advance_to(due - timedelta(microseconds=1))
        assert await keeper.refresh_due() == 0
        stage.clock.advance_to(due)
        assert await keeper.refresh_due() == 1
        assert await keeper.refresh_due() == 0
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_lifetimes_of_seconds_and_of_days_both_work(stage: Stage) -> None:
    """Margins are fractions, with caps."""
    async with stage.keeper(spread=0.0) as keeper:
        for name, lifetime, before in (
            ("seconds", timedelta(seconds=10), timedelta(seconds=2)),
            ("days", 30 * DAY, timedelta(minutes=30)),
        ):
            await keeper.add(name, stage.fake.login("coinbase", access_lifetime=lifetime).token)
            assert (await stage.account(name)).due_at == stage.now + lifetime - before


async def test_a_fleet_does_not_come_together_again(stage: Stage) -> None:
    """A login's place in the spread is drawn anew with each exchange."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        first = await due_at(stage) - stage.now
        await keeper.refresh("a")
        assert await due_at(stage) - stage.now != first


async def test_without_a_lifetime_nothing_is_due(stage: Stage) -> None:
    """Only what has an end is refreshed by time."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=None).token)
        stage.clock.advance(1000 * DAY)
        assert await keeper.refresh_due() == 0


async def test_keep_alive_refreshes_also_where_no_lifetime_is_known(stage: Stage) -> None:
    """At least so often."""
    async with stage.keeper(keep_alive=DAY) as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=None).token)
        for round_ in range(1, 4):
            assert await keeper.refresh_due() == 0
            stage.clock.advance(DAY)
            assert await keeper.refresh_due() == 1
            assert stage.sent() == round_


async def test_what_has_no_access_token_yet_is_due_at_once(stage: Stage) -> None:
    """There is nothing to hand out before."""
    token = stage.fake.login("coinbase").token
    async with stage.keeper() as keeper:
        await keeper.add("a", evolve(token, access_token=None, expires_at=None))
        assert await keeper.refresh_due() == 1
        assert (await keeper.tokens("a")).access_token


async def test_delayed_authentication_is_due_when_the_broker_lets_it_be(stage: Stage) -> None:
    """Interactive Brokers: in 24 hours, and not a moment sooner."""
    login = stage.fake.delayed_login()
    async with stage.keeper() as keeper:
        await keeper.add("a", Tokens.from_link(login.link_payload(), obtained_at=stage.now))
        stage.clock.advance(DAY - timedelta(seconds=1))
        assert await keeper.refresh_due() == 0
        stage.clock.advance(1)
        assert await keeper.refresh_due() == 1
    assert (await stage.account()).tokens.access_token
    await stage.assert_whole()


async def test_a_success_that_brings_no_access_token_is_paced_like_a_failure(stage: Stage) -> None:
    """Otherwise it would be due at once, for ever."""
    login = stage.fake.login("tdAmeritrade")
    async with stage.keeper(backoff=MINUTE, backoff_cap=2 * MINUTE, min_interval=NOTHING) as keeper:
        await keeper.add("a", evolve(login.token, access_token=None, expires_at=None))
        stage.fake.fail(*(success(refreshToken=f"another-{n}") for n in range(3)))
        for failures in (1, 2, 3):
            assert await keeper.refresh_due() == 1
            account = await stage.account()
            assert account.tokens.refresh_token == f"another-{failures - 1}"
            assert account.failures == failures
            assert account.due_at is not None
            assert MINUTE / 2 <= account.due_at - stage.now <= 2 * MINUTE
            assert await keeper.refresh_due() == 0
            stage.clock.advance_to(account.due_at)


async def test_the_loop_makes_no_two_exchanges_within_the_least_interval(stage: Stage) -> None:
    """However short the lifetime that a broker tells."""
    async with stage.keeper(min_interval=timedelta(seconds=10)) as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=timedelta(seconds=1)).token)
        await stage.pass_by(keeper, 60 * SECOND, step=SECOND)
    times = [request.at for request in stage.fake.requests]
    assert 5 <= len(times) <= 6
    assert all(later - sooner >= timedelta(seconds=10) for sooner, later in pairwise(times))


async def test_a_refresh_token_is_renewed_before_its_own_end(stage: Stage) -> None:
    """TD Ameritrade: `createNewRefreshToken` is asked for when it ends soon, and not before."""
    login = stage.fake.login("tdAmeritrade", access_lifetime=HOUR, refresh_lifetime=90 * DAY)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(DAY)
        await keeper.refresh_due()
        assert "createNewRefreshToken" not in stage.fake.requests[-1].body
        stage.clock.advance(82 * DAY)
        await keeper.refresh_due()
        assert stage.fake.requests[-1].body["createNewRefreshToken"] is True
    ends = (await stage.account()).tokens.refresh_token_expires_at
    assert ends == stage.now + 90 * DAY
    await stage.assert_whole()


async def test_the_end_of_the_refresh_token_counts_where_no_other_is_known(stage: Stage) -> None:
    """A login without an access lifetime still falls due."""
    login = stage.fake.login("coinbase", access_lifetime=None, refresh_lifetime=30 * DAY)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        assert timedelta(days=6) <= stage.now + 30 * DAY - await due_at(stage) <= timedelta(days=12)


async def test_a_refresh_token_that_cannot_be_renewed_is_told_of_once(stage: Stage) -> None:
    """`ReconnectSoon`; and it is not asked for with every exchange again."""
    login = stage.fake.login("tdAmeritrade", access_lifetime=HOUR, refresh_lifetime=90 * DAY)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(83 * DAY)
        for number in range(4):
            stage.fake.fail(success(accessToken=f"access-{number}"))
            assert await keeper.refresh_due() == 1
            stage.clock.advance(HOUR)
        await stage.notes.until(ReconnectSoon)
    asked = ["createNewRefreshToken" in request.body for request in stage.fake.requests]
    assert asked == [True, False, False, False]
    (told,) = stage.notes.of(ReconnectSoon)
    assert told.ends_at == login.token.refresh_token_expires_at


async def test_failures_back_off_with_a_cap_and_at_last_once_a_day(stage: Stage) -> None:
    """And one success ends it."""
    async with stage.keeper(backoff=MINUTE, backoff_cap=HOUR, give_up_after=DAY) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.status(423, {"status": "locked"}), times=None)
        waits: list[timedelta] = []
        while sum(waits, NOTHING) < 5 * DAY:
            assert await keeper.refresh_due() == 1
            waits.append(await due_at(stage) - stage.now)
            stage.clock.advance_to(await due_at(stage))
        assert MINUTE / 2 <= waits[0] <= MINUTE
        assert MINUTE <= waits[1] <= 2 * MINUTE
        assert all(HOUR / 2 <= wait <= HOUR for wait in waits[7:20])
        assert all(DAY * 0.9 <= wait <= DAY for wait in waits[-3:])
        stage.fake.heal()
        assert await keeper.refresh_due() == 1
    account = await stage.account()
    assert (account.state, account.failures, account.failing_since) == (AccountState.ACTIVE, 0, None)
    await stage.assert_whole()


async def test_a_run_over_what_is_due_ends_however_long_it_takes(stage: Stage) -> None:
    """What it has refreshed itself an hour after its start is not due again."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        gate = stage.fake.hold()
        run = asyncio.create_task(keeper.refresh_due())
        await gate.entered.wait()
        stage.clock.advance(MINUTE / 2)
        await keeper.add("b", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * MINUTE)
        gate.release()
        assert await run == 1
    assert stage.sent() == 1


async def test_a_look_that_found_no_place_is_not_the_last(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What took all the places may be gone when the look is over: there may still be more that is due."""
    protect, looks = Runtime.protect, 0

    async def late(core: Runtime, look: Any) -> None:
        nonlocal looks
        looks += 1
        await protect(core, look)
        if looks == 1:
            core.loop.call_soon(core.wake)  # as a poll does, while what was claimed is under way
        elif looks == 2:
            assert not core.limiter.free
            gate.release()
            while core.inflight.exchanges:  # by the end of this look, nobody has a place any more
                await core.change(None)

    async with stage.keeper(concurrency=2) as keeper:
        for number in range(4):
            await keeper.add(str(number), stage.fake.login("coinbase", access_lifetime=HOUR).token)
        stage.clock.advance(2 * HOUR)
        gate = stage.fake.hold(times=None)
        monkeypatch.setattr(Runtime, "protect", late)
        assert await keeper.refresh_due() == 4
    assert looks > 2


async def test_what_falls_due_during_a_look_is_not_left_to_the_next_poll(stage: Stage) -> None:
    """The store has looked, and has not answered yet, when it is added: the keeper looks again at once."""
    store, token = Slow(stage.store), stage.fake.login("coinbase", access_lifetime=HOUR).token
    stage.clock.advance(2 * HOUR)
    async with stage.keeper(store=store, background=True, poll=EVER) as keeper:
        await store.looked.wait()
        await keeper.add("a", token)
        store.answer.set()
        await stage.notes.until(AccountRefreshed)
    assert stage.sent() == 1


class Slow(FaultyStore):
    """Answers its first claim when it is told to."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__(of)
        self.looked, self.answer = asyncio.Event(), asyncio.Event()

    async def claim(self, demand: ClaimRequest) -> Sequence[Row]:
        rows = await super().claim(demand)
        self.looked.set()
        await self.answer.wait()
        return rows

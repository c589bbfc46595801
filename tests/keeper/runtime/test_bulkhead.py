"""Limits that keep one broker, one rate or one slow reply from what others need."""

import asyncio
import logging
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import MfaPending
from mesh_refresh.keeper import (
    AccountUnreadable,
    BreakerClosed,
    BreakerFault,
    BreakerOpened,
    NotReadyInTime,
    ReconnectNeeded,
)
from mesh_refresh.stores import row_of
from mesh_refresh.testing import Fault as Fake
from tests.keeper.stage import HOUR, MINUTE, NOTHING, Stage


async def test_a_slow_broker_does_not_take_every_place(stage: Stage) -> None:
    """Its logins wait for each other; those of another broker go on."""
    async with stage.keeper(background=True, concurrency=10) as keeper:
        for number in range(20):
            await keeper.add(f"slow-{number}", stage.fake.login("coinbase", access_lifetime=HOUR).tokens)
        await keeper.add("quick", stage.fake.login("kraken", access_lifetime=HOUR).tokens)
        gate = stage.fake.hold(broker="coinbase", times=None)
        stage.clock.advance(2 * HOUR)
        await gate.arrivals(8)
        await keeper.tokens("quick")
        assert keeper.health().in_flight == 8
        gate.release()


async def test_a_rate_holds_up_nothing_when_nothing_is_due(stage: Stage) -> None:
    """One a day: the second look at what is due does not wait for tomorrow."""
    bounds: list[dict[str, Any]] = [{"rate": 1 / 86_400}, {"rate_each": 1 / 86_400}]
    for limits in bounds:
        async with stage.keeper(**limits) as keeper:
            await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).tokens)
            await keeper.refresh("a")
            assert await keeper.refresh_due() == 0
            await keeper.remove("a")


async def test_a_rate_is_waited_for_where_something_is_due(stage: Stage) -> None:
    """All of it is refreshed, one after the other."""
    async with stage.keeper(rate=1) as keeper:
        for number in range(3):
            await keeper.add(str(number), stage.fake.login("coinbase", access_lifetime=HOUR).tokens)
        stage.clock.advance(2 * HOUR)
        moved = stage.clock.monotonic

        def running() -> float:
            stage.clock.advance(0.05)
            return moved()

        stage.clock.monotonic = running  # type: ignore[method-assign]
        assert await keeper.refresh_due() == 3


@pytest.mark.parametrize("rate", [1e-12, 5e-324])
async def test_a_rate_that_lets_nothing_through_in_a_lifetime(stage: Stage, rate: float) -> None:
    """Who asks is told, and nothing overflows."""
    async with stage.keeper(rate=rate, rate_each=rate) as keeper:
        for name in ("a", "b"):
            await keeper.add(name, stage.fake.login("coinbase", access_lifetime=HOUR).tokens)
        await keeper.refresh("a")
        with pytest.raises(NotReadyInTime) as unready:
            await keeper.refresh("b")
        assert unready.value.retry_at is not None


async def test_tokens_that_come_past_their_margin_are_not_exchanged_again_at_once(stage: Stage) -> None:
    """They live for less than a reply takes: the next ones would be no better, and would make a storm."""
    async with stage.keeper(min_interval=MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=timedelta(seconds=10)).tokens)
        stage.clock.advance(MINUTE)
        gate = stage.fake.hold(after_rotation=True)
        asking = asyncio.gather(keeper.tokens("a", max_wait=timedelta(seconds=30)), return_exceptions=True)
        await gate.entered.wait()
        stage.clock.advance(20)
        gate.release()
        (error,) = await asking
        assert isinstance(error, NotReadyInTime)
        assert error.retry_at is not None
        assert error.retry_at - stage.now <= MINUTE
        assert stage.sent() == 1
        stage.clock.advance(MINUTE)
        assert (await keeper.tokens("a")).access_token
        assert stage.sent() == 2


async def test_a_wait_before_a_new_code_is_told_in_words(stage: Stage) -> None:
    """Not with the name of an error that there was not."""
    async with stage.keeper() as keeper:
        login = stage.fake.login("vanguard", mfa=True)
        await keeper.add("a", login.tokens)
        with pytest.raises(MfaPending):
            await keeper.refresh("a")
        held: list[dict[str, Any]] = [{"resend_not_before": stage.now + HOUR}, {"retry_not_before": stage.now + HOUR}]
        for waits in held:
            found = await stage.login()
            account = evolve(found.account(), last_error=None, resend_not_before=None, retry_not_before=None)
            account = evolve(account, **waits)
            assert await stage.store.swap(row_of(stage.store.cipher, found.having((account,)), stage.now))
            with pytest.raises(NotReadyInTime) as unready:
                await keeper.restart_mfa("a", max_wait=NOTHING)
            assert "None" not in str(unready.value)


async def test_an_unreadable_reply_is_logged_as_an_error(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Only a person can get the tokens out."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").tokens)
        stage.fake.fail(Fake.half_body())
        with caplog.at_level(logging.INFO, "mesh_refresh.keeper"), pytest.raises(ReconnectNeeded):
            await keeper.refresh("a")
        await stage.notes.until(AccountUnreadable)
    (record,) = [record for record in caplog.records if record.__dict__.get("event") == "AccountUnreadable"]
    assert record.levelno == logging.ERROR


async def test_a_halted_fleet_is_told_again(stage: Stage) -> None:
    """Once an hour, since nothing goes on before a person acts; and it closes once."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).tokens)
        stage.fake.client_secret, right = "another", stage.fake.client_secret
        await stage.pass_by(keeper, (3 * 60 + 1) * MINUTE)
        opened = stage.notes.of(BreakerOpened)
        assert {(it.broker, it.fault) for it in opened} == {(None, BreakerFault.CLIENT_REFUSED)}
        times = [it.at for it in opened]
        assert len(times) >= 3
        assert all(later - earlier >= HOUR for earlier, later in pairwise(times))
        stage.fake.client_secret = right
        await stage.pass_by(keeper, 3 * MINUTE)
        await stage.notes.until(BreakerClosed)
    assert len(stage.notes.of(BreakerClosed)) == 1

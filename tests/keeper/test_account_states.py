"""Account states: what parks an account, what it answers then, and what brings it back."""

from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.keeper import (
    AccountRefreshed,
    AccountState,
    AttemptFailed,
    Reason,
    ReconnectNeeded,
    ReconnectRequired,
)
from mesh_refresh.testing import Fault
from tests.keeper.stage import HOUR, MINUTE, Stage


async def test_a_refusal_is_asked_about_once_more_after_settling(stage: Stage) -> None:
    """Then the account is parked with the reason, and its tokens stay."""
    login = stage.fake.login("coinbase")
    async with stage.keeper(resend_after=MINUTE) as keeper:
        await keeper.add("a", login.token)
        login.refused = True
        stage.clock.advance(2 * HOUR)
        assert await keeper.refresh_due() == 1
        assert (await stage.account()).state is AccountState.ACTIVE
        assert await keeper.refresh_due() == 0
        stage.clock.advance(MINUTE)
        assert await keeper.refresh_due() == 1
        stage.clock.advance(1000 * HOUR)
        assert await keeper.refresh_due() == 0
    account = await stage.account()
    assert (account.state, account.reason) == (AccountState.RECONNECT_REQUIRED, Reason.REFUSED)
    assert account.tokens == login.token
    assert account.display_message
    assert [event.reason for event in stage.notes.of(ReconnectRequired)] == [Reason.REFUSED]
    assert stage.sent() == 2


async def test_one_refusal_that_was_a_mistake_parks_nobody(stage: Stage) -> None:
    """Mesh answered badRequest once, for a token that is good."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.refuse())
        await keeper.refresh_due()
        stage.clock.advance(MINUTE)
        assert await keeper.refresh_due() == 1
        (event,) = await stage.notes.until(AccountRefreshed)
    assert event.failures == 1
    assert (await stage.account()).refused_at is None
    await stage.assert_whole()


async def test_a_parked_account_answers_with_what_is_good_and_then_says_why_not(stage: Stage) -> None:
    """`ReconnectNeeded` has the reason and what to show to the person."""
    login = stage.fake.login("coinbase")
    async with stage.keeper(resend_after=MINUTE) as keeper:
        await keeper.add("a", login.token)
        login.refused = True
        stage.clock.advance(HOUR * 0.9)
        await keeper.refresh_due()
        stage.clock.advance(MINUTE)
        await keeper.refresh_due()
        assert (await stage.account()).parked
        assert await keeper.tokens("a") == login.token
        stage.clock.advance(HOUR)
        with pytest.raises(ReconnectNeeded) as needed:
            await keeper.tokens("a")
    assert needed.value.reason is Reason.REFUSED
    assert needed.value.facts.display_message
    assert stage.sent() == 2


async def test_a_later_success_always_brings_an_account_back(stage: Stage) -> None:
    """`refresh` may be asked for a parked account; the event tells what the state was."""
    login = stage.fake.login("coinbase")
    async with stage.keeper(resend_after=MINUTE) as keeper:
        await keeper.add("a", login.token)
        login.refused = True
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        stage.clock.advance(MINUTE)
        await keeper.refresh_due()
        login.refused = False
        await keeper.refresh("a")
        (event,) = await stage.notes.until(AccountRefreshed)
    assert (event.was, event.failures) == (AccountState.RECONNECT_REQUIRED, 2)
    account = await stage.account()
    assert (account.state, account.reason, account.display_message) == (AccountState.ACTIVE, None, None)
    assert account.due_at is not None
    await stage.assert_whole()


async def test_an_account_without_a_refresh_token_is_answered_until_it_ends(stage: Stage) -> None:
    """eTrade: then it is parked as expired, and the event says so, without a request."""
    login = stage.fake.login("eTrade", access_lifetime=HOUR)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        assert (await stage.account()).state is AccountState.NOT_REFRESHABLE
        stage.clock.advance(HOUR / 2)
        await keeper.refresh_due()
        assert await keeper.tokens("a") == login.token
        stage.clock.advance(HOUR / 2)
        with pytest.raises(ReconnectNeeded) as needed:
            await keeper.tokens("a")
        assert needed.value.reason is Reason.EXPIRED
        await keeper.refresh_due()
        (event,) = await stage.notes.until(ReconnectRequired)
    assert event.reason is Reason.EXPIRED
    account = await stage.account()
    assert (account.state, account.reason) == (AccountState.RECONNECT_REQUIRED, Reason.EXPIRED)
    assert not stage.sent()


async def test_an_expired_account_without_a_refresh_token_comes_back_with_a_new_login(stage: Stage) -> None:
    """`add` is news."""
    login = stage.fake.login("eTrade")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        (fresh,) = login.again()
        assert (await keeper.add("a", fresh)).replaced
        assert (await keeper.tokens("a")).access_token == fresh.access_token
    assert (await stage.account()).state is AccountState.NOT_REFRESHABLE


BURIED = ["half a body with the pair", "broken json", "failed with token", "error 500 with token", "oversize"]


async def unreadable(stage: Stage, keeper: Any, fault: str = "broken json") -> Any:
    login = stage.fake.login("coinbase")
    await keeper.add("a", login.token)
    stage.clock.advance(HOUR * 0.9)
    stage.fake.fail(Fault.all()[fault])
    await keeper.refresh_due()
    return login


@pytest.mark.parametrize("fault", BURIED)
async def test_a_reply_that_cannot_be_read_is_kept_sealed_and_parks_the_account(stage: Stage, fault: str) -> None:
    """The only live token may be in it: nothing is sent, and what is good is handed out."""
    async with stage.keeper() as keeper:
        login = await unreadable(stage, keeper, fault)
        account = await stage.account()
        assert (account.state, account.reason) == (AccountState.UNREADABLE, Reason.UNREADABLE)
        live = login.live[0].refresh_token
        assert live.encode() in (account.body or b"")
        assert await keeper.tokens("a") == login.token
        stage.clock.advance(1000 * HOUR)
        assert await keeper.refresh_due() == 0
        with pytest.raises(ReconnectNeeded):
            await keeper.tokens("a")
        with pytest.raises(ReconnectNeeded):
            await keeper.refresh("a")
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_what_was_salvaged_of_an_unreadable_reply_can_be_added(stage: Stage) -> None:
    """The account is well again."""
    async with stage.keeper() as keeper:
        login = await unreadable(stage, keeper)
        assert (await keeper.add("a", login.token)).unchanged
        assert (await keeper.add("a", login.live[0])).replaced
        await keeper.refresh("a")
    account = await stage.account()
    assert (account.state, account.body) == (AccountState.ACTIVE, None)
    await stage.assert_whole()


async def test_siblings_of_an_unreadable_reply_that_share_its_token_are_parked_too(stage: Stage) -> None:
    """Sending their token could end the one that is inside; the body is kept once."""
    login = stage.fake.login("robinhood", accounts=3)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.broken_json())
        await keeper.refresh_due()
        await keeper.refresh_due()
        accounts = (await stage.login()).accounts
    assert {account.state for account in accounts} == {AccountState.UNREADABLE}
    assert sum(account.body is not None for account in accounts) == 1
    assert stage.sent() == 1
    await stage.assert_whole()


@pytest.mark.parametrize("fault", ["html 200", "empty 200", "no token"])
async def test_a_reply_that_cannot_hold_a_token_is_as_any_unknown_outcome(stage: Stage, fault: str) -> None:
    """It parks nobody as unreadable, and goes on after settling."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.all()[fault])
        await keeper.refresh_due()
        account = await stage.account()
        assert (account.state, account.body) == (AccountState.ACTIVE, None)
        stage.clock.advance(MINUTE)
        assert await keeper.refresh_due() == 1
    await stage.assert_whole()


async def test_a_reply_without_the_account_asked_for_loses_nothing_and_does_not_loop(stage: Stage) -> None:
    """`AccountNotInReply`: what came joins the login, and the account that was asked for goes on by itself.

    The reply names another account that is known, so that it is one of this login.
    """
    login = stage.fake.login("etoro", accounts=2)
    stranger = evolve(login.tokens[0], account_id="somebody else", mesh_account_id="another id")
    async with stage.keeper(min_interval=MINUTE) as keeper:
        await keeper.add("a", (stranger, login.tokens[1]))
        stage.clock.advance(2 * HOUR)
        assert await keeper.refresh_due() == 1
        ids = {account.tokens.account_id for account in (await stage.login()).accounts}
        assert ids == {"somebody else", "acc-1", "acc-2"}
        for _ in range(30):
            await keeper.refresh_due()
            stage.clock.advance(10)
    assert stage.sent() < 10
    assert not stage.fake.lost(await stage.held())


async def test_an_account_that_the_broker_has_locked_is_tried_again(stage: Stage) -> None:
    """409 and 423 are about this account: an event, a pause, no parking."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.status(409, {"status": "conflict"}))
        await keeper.refresh_due()
        (event,) = await stage.notes.until(AttemptFailed)
        account = await stage.account()
        assert (event.error, event.failures, event.retry_at) == ("Conflict", 1, account.due_at)
        stage.clock.advance(MINUTE)
        assert await keeper.refresh_due() == 1
    assert (await stage.account()).state is AccountState.ACTIVE


async def test_tokens_that_lack_what_their_strategy_needs_are_not_sent_in_a_loop(stage: Stage) -> None:
    """WeBull without an access token: nothing goes out, and the next try is paced."""
    async with stage.keeper() as keeper:
        await keeper.add("a", Tokens("weBull", "r-1"))
        for _ in range(60):
            await keeper.refresh_due()
            stage.clock.advance(1)
    account = await stage.account()
    assert 1 < account.failures < 10
    assert account.last_error == "InvalidRequest"
    assert not stage.sent()

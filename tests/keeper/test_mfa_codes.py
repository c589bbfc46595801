"""MFA: a question is parked, answered once, by whichever process has the code."""

import asyncio
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import CodeRefused, InvalidRequest, MfaPending, OutcomeUnknown, Throttled
from mesh_refresh.keeper import AccountState, AmbiguousAccount, CodeNotWanted, Keeper, MfaNeeded, NotReadyInTime
from mesh_refresh.testing import FakeLogin, Fault, Replies, Sharing, WrongCode
from tests.keeper.stage import EVER, HOUR, MINUTE, NOTHING, Stage


async def asked(stage: Stage, keeper: Keeper, **choices: Any) -> tuple[FakeLogin, str]:
    """A login whose broker has asked for a code, a tenth of its hour before the end; and the question's id."""
    login = stage.fake.login("vanguard", mfa=True, **choices)
    await keeper.add("a", login.tokens)
    stage.clock.advance(HOUR * 0.9)
    await keeper.refresh_due()
    return login, (await stage.notes.until(MfaNeeded))[-1].pending_id


async def test_a_question_parks_the_account_with_its_continuation(stage: Stage) -> None:
    """What is good is handed out; then `MfaPending` has the id that the event had."""
    async with stage.keeper() as keeper:
        login, pending_id = await asked(stage, keeper)
        account = await stage.account()
        assert account.state is AccountState.MFA_REQUIRED
        assert account.pending is not None
        assert account.pending.id == pending_id
        assert await keeper.tokens("a") == login.token
        stage.clock.advance(HOUR)
        assert await keeper.refresh_due() == 0
        for verb in (keeper.tokens, keeper.refresh):
            with pytest.raises(MfaPending) as pending:
                await verb("a", max_wait=EVER)
            assert pending.value.pending_id == pending_id
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_a_code_is_answered_once(stage: Stage) -> None:
    """The second for the same question is refused before any I/O."""
    async with stage.keeper() as keeper:
        login, pending_id = await asked(stage, keeper)
        fresh = await keeper.submit_mfa("a", f" {login.code} ", pending_id=pending_id)
        assert (await stage.account()).tokens == fresh
        assert await keeper.tokens("a") == fresh
        for which in (pending_id, None, "another"):
            with pytest.raises(CodeNotWanted):
                await keeper.submit_mfa("a", login.code, pending_id=which)
    assert stage.sent() == 2
    await stage.assert_whole()


@pytest.mark.parametrize("wrong", WrongCode)
async def test_a_refused_code_leaves_question_and_tokens_as_they_were(stage: Stage, wrong: WrongCode) -> None:
    """The right one still does."""
    async with stage.keeper() as keeper:
        login, pending_id = await asked(stage, keeper, wrong_code=wrong)
        before = await stage.account()
        for _ in range(3):
            with pytest.raises(CodeRefused):
                await keeper.submit_mfa("a", "000000", pending_id=pending_id)
            assert await stage.account() == before
        await keeper.submit_mfa("a", login.code, pending_id=pending_id)
    await stage.assert_whole()


async def test_a_question_can_be_asked_anew(stage: Stage) -> None:
    """`restart_mfa`: the code for the first is not sent any more."""
    async with stage.keeper() as keeper:
        login, first = await asked(stage, keeper)
        account = await keeper.restart_mfa("a")
        assert account.pending is not None
        assert account.pending.id != first
        with pytest.raises(CodeNotWanted):
            await keeper.submit_mfa("a", login.code, pending_id=first)
        await keeper.submit_mfa("a", login.code, pending_id=account.pending.id)
    assert stage.sent() == 3
    await stage.assert_whole()


async def test_after_a_code_the_account_is_refreshed_on_demand_only(stage: Stage) -> None:
    """Nobody wants a code at three in the morning; until one refresh goes through without."""
    async with stage.keeper() as keeper:
        login, _ = await asked(stage, keeper)
        await keeper.submit_mfa("a", login.code)
        account = await stage.account()
        assert (account.needs_code, account.due_at) == (True, None)
        stage.clock.advance(100 * HOUR)
        assert await keeper.refresh_due() == 0
        with pytest.raises(MfaPending):
            await keeper.tokens("a")
        await keeper.submit_mfa("a", login.code)
        login.options = evolve(login.options, mfa=False)
        stage.clock.advance(100 * HOUR)
        await keeper.tokens("a")
        account = await stage.account()
        assert not account.needs_code
        assert account.due_at is not None
        stage.clock.advance_to(account.due_at)
        assert await keeper.refresh_due() == 1
    await stage.assert_whole()


async def test_two_processes_that_answer_one_question_send_one_code(stage: Stage) -> None:
    """The other is told that no code is wanted."""
    async with stage.keeper() as one, stage.keeper() as other:
        login, pending_id = await asked(stage, one)
        results = await asyncio.gather(
            *(keeper.submit_mfa("a", login.code, pending_id=pending_id) for keeper in (one, other)),
            return_exceptions=True,
        )
    assert sorted(type(result).__name__ for result in results) == ["CodeNotWanted", "Tokens"]
    assert stage.sent() == 2
    await stage.assert_whole()


async def test_the_process_with_the_code_need_not_be_the_one_that_was_asked(stage: Stage) -> None:
    """A web process without a loop, started later."""
    async with stage.keeper() as worker:
        login, pending_id = await asked(stage, worker)
    async with stage.keeper() as web:
        await web.submit_mfa("a", login.code, pending_id=pending_id)
    await stage.assert_whole()


async def test_a_code_is_marked_as_used_before_it_is_sent(stage: Stage) -> None:
    """After a crash with the code out, no other code goes out for the same question."""
    async with stage.keeper() as keeper:
        login, pending_id = await asked(stage, keeper)
        gate = stage.fake.hold()
        caller = asyncio.create_task(keeper.submit_mfa("a", login.code))
        await gate.entered.wait()
        pending = (await stage.account()).pending
        assert pending is not None
        assert (pending.id, pending.answered) == (pending_id, True)
        gate.release()
        await caller


@pytest.mark.parametrize("rotated", [False, True])
async def test_a_code_with_an_unknown_outcome_is_not_sent_again(stage: Stage, rotated: bool) -> None:
    """The account stays parked; only a new question, after settling, can tell."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        login, pending_id = await asked(stage, keeper)
        stage.fake.fail(Fault.cut(after_rotation=rotated))
        with pytest.raises(OutcomeUnknown):
            await keeper.submit_mfa("a", login.code, pending_id=pending_id)
        assert (await stage.account()).state is AccountState.MFA_REQUIRED
        with pytest.raises(CodeNotWanted):
            await keeper.submit_mfa("a", login.code, pending_id=pending_id)
        with pytest.raises(NotReadyInTime):
            await keeper.restart_mfa("a", max_wait=NOTHING)
        assert await keeper.refresh_due() == 0
        assert stage.sent() == 2
        stage.clock.advance(HOUR)
        if not rotated:
            await keeper.restart_mfa("a")
            await keeper.submit_mfa("a", login.code)
            await stage.assert_whole()


async def test_a_code_that_was_not_sent_can_be_given_again(stage: Stage) -> None:
    """Throttled: nothing is spent, the question is open."""
    async with stage.keeper(cool_down=MINUTE) as keeper:
        login, pending_id = await asked(stage, keeper)
        stage.fake.fail(Fault.throttle())
        with pytest.raises(Throttled):
            await keeper.submit_mfa("a", login.code, pending_id=pending_id)
        pending = (await stage.account()).pending
        assert pending is not None
        assert not pending.answered
        stage.clock.advance(MINUTE)
        await keeper.submit_mfa("a", login.code, pending_id=pending_id)
    await stage.assert_whole()


async def test_a_broker_may_ask_twice(stage: Stage) -> None:
    """The answer leads to another question, with an id of its own."""
    async with stage.keeper() as keeper:
        login, first = await asked(stage, keeper, mfa_rounds=2)
        with pytest.raises(MfaPending) as again:
            await keeper.submit_mfa("a", login.code, pending_id=first)
        second = again.value.pending_id
        assert second not in (None, first)
        with pytest.raises(CodeNotWanted):
            await keeper.submit_mfa("a", login.code, pending_id=first)
        await keeper.submit_mfa("a", login.code, pending_id=second)
    await stage.assert_whole()


async def test_a_question_that_rotates_the_token_loses_nothing(stage: Stage) -> None:
    """The first reply's refresh token is stored, also where the code never comes."""
    async with stage.keeper() as keeper:
        login, _ = await asked(stage, keeper, mfa_rotates=True)
        await stage.assert_whole()
        await keeper.restart_mfa("a")
        await stage.assert_whole()
        await keeper.submit_mfa("a", login.code)
    await stage.assert_whole()


@pytest.mark.parametrize("code", ["", "  ", 7, None])
async def test_what_is_no_code_is_refused_before_any_io(stage: Stage, code: Any) -> None:
    """The question is still open."""
    async with stage.keeper() as keeper:
        login, _ = await asked(stage, keeper)
        with pytest.raises(InvalidRequest):
            await keeper.submit_mfa("a", code)
        await keeper.submit_mfa("a", login.code)


async def test_a_code_for_a_login_that_waits_for_none_is_refused(stage: Stage) -> None:
    """And so is a new question."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        with pytest.raises(CodeNotWanted):
            await keeper.submit_mfa("a", "424242")
        with pytest.raises(CodeNotWanted):
            await keeper.restart_mfa("a")
    assert not stage.sent()


async def test_siblings_that_need_codes_are_asked_for_one_after_the_other(stage: Stage) -> None:
    """While one waits, for minutes and no longer, the others are not exchanged."""
    async with stage.keeper(mfa_wait=10 * MINUTE) as keeper:
        login, _ = await asked(stage, keeper, accounts=2, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED)
        while stage.sent() < 2:
            await keeper.refresh_due()
        with pytest.raises(AmbiguousAccount):
            await keeper.submit_mfa("a", login.code)
        for account_id in login.account_ids:
            await keeper.submit_mfa("a", login.code, account_id=account_id)
        stage.clock.advance(2 * HOUR)
        with pytest.raises(MfaPending):
            await keeper.tokens("a", "acc-1")
        sent = stage.sent()
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", "acc-2")
        assert stage.sent() == sent
        stage.clock.advance(10 * MINUTE)
        with pytest.raises(MfaPending):
            await keeper.tokens("a", "acc-2")
        for account_id in login.account_ids:
            pending = (await stage.account("a", account_id)).pending
            assert pending is not None
            await keeper.submit_mfa("a", login.code, pending_id=pending.id)
    await stage.assert_whole()


async def test_accounts_that_share_their_token_are_served_by_one_code(stage: Stage) -> None:
    """Nobody is asked three times for one login."""
    async with stage.keeper() as keeper:
        login, _ = await asked(stage, keeper, accounts=3, sharing=Sharing.ONE_PAIR)
        await keeper.submit_mfa("a", login.code, account_id=await _waiting(stage))
        for account_id in login.account_ids:
            assert stage.fake.is_live((await keeper.tokens("a", account_id)).access_token)
    assert login.codes_asked <= 3
    await stage.assert_whole()


@pytest.mark.parametrize("known", [1, 2])
async def test_siblings_that_a_code_renewed_are_refreshed_on_demand_only(stage: Stage, known: int) -> None:
    """Their last refresh needed one too, also of those that joined by it; until one goes through without."""
    async with stage.keeper() as keeper:
        login = stage.fake.login("vanguard", mfa=True, accounts=2, sharing=Sharing.ONE_PAIR, replies_with=Replies.ALL)
        await keeper.add("a", login.tokens[:known])
        stage.clock.advance(HOUR * 0.9)
        with pytest.raises(MfaPending):
            await keeper.tokens("a", "acc-1", rejected=login.tokens[0])
        await keeper.submit_mfa("a", login.code)
        accounts = (await stage.login()).accounts
        assert [(account.needs_code, account.due_at) for account in accounts] == [(True, None)] * 2
        stage.clock.advance(100 * HOUR)
        assert await keeper.refresh_due() == 0
        login.options = evolve(login.options, mfa=False)
        await keeper.tokens("a", "acc-2")
        accounts = (await stage.login()).accounts
        assert [(account.needs_code, account.due_at is None) for account in accounts] == [(False, False)] * 2
    await stage.assert_whole()


async def _waiting(stage: Stage) -> str | None:
    found = [account for account in (await stage.login()).accounts if account.pending is not None]
    return found[0].tokens.account_id

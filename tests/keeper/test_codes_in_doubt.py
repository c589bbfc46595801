"""Codes, where nobody knows what became of an exchange before, or where nothing can be sent."""

import pytest

from mesh_refresh import MfaPending, MfaRequired, OutcomeUnknown, RefreshRequest
from mesh_refresh.keeper import CodeNotWanted, NotReadyInTime, Reason, ReconnectNeeded, ReconnectRequired
from mesh_refresh.strategies import VanguardStrategy
from mesh_refresh.testing import Fault
from tests.keeper.stage import DAY, HOUR, MINUTE, NOTHING, FaultyStore, Stage
from tests.keeper.test_mfa_codes import asked


class Vanguard(VanguardStrategy):
    """One of the user's: it has a bug until it is mended, and perhaps its requests may not be sent twice."""

    broken = False

    def __init__(self, *, once: bool = False) -> None:
        super().__init__()
        self.once = once

    def build_mfa(self, pending: MfaRequired, code: str) -> RefreshRequest:
        if self.broken:
            raise KeyError(code)
        return super().build_mfa(pending, code)

    def may_resend(self, request: RefreshRequest) -> bool:
        return not self.once and super().may_resend(request)


async def test_a_code_whose_request_cannot_be_built_can_be_given_again(stage: Stage) -> None:
    """A strategy that raises has sent nothing: the question is open."""
    strategy = Vanguard()
    async with stage.keeper(strategies={"vanguard": strategy}) as keeper:
        login, pending_id = await asked(stage, keeper)
        strategy.broken = True
        with pytest.raises(NotReadyInTime):
            await keeper.submit_mfa("a", login.code, pending_id=pending_id, max_wait=NOTHING)
        pending = (await stage.account()).pending
        assert pending is not None
        assert (pending.id, pending.answered) == (pending_id, False)
        strategy.broken = False
        stage.clock.advance(MINUTE)
        await keeper.submit_mfa("a", login.code, pending_id=pending_id)
    assert stage.sent() == 2
    await stage.assert_whole()


async def test_what_its_strategy_does_not_send_twice_is_not_asked_for_a_new_code(stage: Stage) -> None:
    """`restart_mfa` whose outcome is unknown: a second one sends nothing, and ends with the reason."""
    async with stage.keeper(strategies={"vanguard": Vanguard(once=True)}, resend_after=MINUTE) as keeper:
        await asked(stage, keeper)
        stage.fake.fail(Fault.cut())
        with pytest.raises(NotReadyInTime):
            await keeper.restart_mfa("a", max_wait=MINUTE)
        assert stage.sent() == 2
        stage.clock.advance(HOUR)
        for verb in (keeper.restart_mfa, keeper.refresh, keeper.tokens):
            with pytest.raises(ReconnectNeeded):
                await verb("a", max_wait=MINUTE)
        (event,) = await stage.notes.until(ReconnectRequired)
    assert event.reason is Reason.UNKNOWN
    assert (await stage.account()).reason is Reason.UNKNOWN
    assert stage.sent() == 2


async def test_a_code_for_a_login_that_somebody_died_with_waits(stage: Stage) -> None:
    """Nothing is sent, and the question is still open: the caller is told when to come again."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        login, pending_id = await asked(stage, keeper)
        await stage.abandoned()
        for _ in range(2):
            with pytest.raises(NotReadyInTime) as unready:
                await keeper.submit_mfa("a", login.code, max_wait=NOTHING)
            account = await stage.account()
            assert unready.value.retry_at == account.resend_not_before is not None
            assert account.pending is not None
            assert (account.pending.id, account.pending.answered) == (pending_id, False)
            stage.clock.advance(MINUTE * 0.4)
        assert stage.sent() == 1
        stage.clock.advance(HOUR)
        await keeper.submit_mfa("a", login.code, pending_id=pending_id)
    assert stage.sent() == 2
    await stage.assert_whole()


async def test_a_code_is_not_sent_before_the_wait_for_its_tokens_is_over(stage: Stage) -> None:
    """A new question was asked for, and nobody knows what came of that: a code for the old one sends the tokens too."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        login, pending_id = await asked(stage, keeper)
        stage.fake.fail(Fault.cut())
        with pytest.raises(NotReadyInTime):
            await keeper.restart_mfa("a", max_wait=MINUTE / 2)
        account = await stage.account()
        assert account.resend_not_before is not None
        with pytest.raises(NotReadyInTime) as unready:
            await keeper.submit_mfa("a", login.code, pending_id=pending_id, max_wait=NOTHING)
        assert unready.value.retry_at == account.resend_not_before
        assert stage.sent() == 2
        stage.clock.advance_to(account.resend_not_before)
        await keeper.submit_mfa("a", login.code, pending_id=pending_id)
    await stage.assert_whole()


async def test_a_code_answers_the_question_that_was_open_when_it_was_given(stage: Stage) -> None:
    """Another process asks anew while the code waits for the login: it is not sent for the new question."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper() as other:
        login, first = await asked(stage, keeper)

        async def asked_anew() -> None:
            await other.restart_mfa("a")

        store.meanwhile["claim_one"] = asked_anew
        with pytest.raises(CodeNotWanted):
            await keeper.submit_mfa("a", login.code)
        pending = (await stage.account()).pending
        assert pending is not None
        assert (pending.id != first, pending.answered) == (True, False)
    assert stage.sent() == 2
    await stage.assert_whole()


async def test_a_person_who_waits_for_a_new_code_waits_for_the_settling_time_alone(stage: Stage) -> None:
    """Whoever sent the code knows that no reply can come any more: a month of access token is no reason to wait."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        login = stage.fake.login("vanguard", mfa=True, access_lifetime=30 * DAY)
        await keeper.add("a", login.token)
        with pytest.raises(MfaPending):
            await keeper.refresh("a")
        stage.fake.fail(Fault.cut())
        with pytest.raises(OutcomeUnknown):
            await keeper.submit_mfa("a", login.code)
        with pytest.raises(NotReadyInTime) as unready:
            await keeper.restart_mfa("a", max_wait=NOTHING)
        assert unready.value.retry_at == stage.now + MINUTE
        stage.clock.advance(MINUTE)
        await keeper.restart_mfa("a")
        await keeper.submit_mfa("a", login.code)
    await stage.assert_whole()

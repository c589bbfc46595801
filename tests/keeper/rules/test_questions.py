"""A question of the broker: kept with the account, answered once, and never in the way of what is newer."""

import pytest
from attrs import evolve

from mesh_refresh.keeper.errors import CodeNotWanted
from mesh_refresh.keeper.events import MfaNeeded
from mesh_refresh.keeper.rules.attempt import CodeWanted
from mesh_refresh.keeper.rules.failure import Failed, Refused, Unknown, apply_failure, stamp_open_attempt
from mesh_refresh.keeper.rules.mfa import find_question, mark_answered, park_with_question, reopen_question
from mesh_refresh.keeper.rules.select import Send, choose_question
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.logins import Account, AccountState, AmbiguousAccount, Login, Reason
from tests.keeper.making import at, attempt, beside, brought, changed, context, made, question, success, tokens

MFA = AccountState.MFA_REQUIRED


def asked(login: Login | None = None, number: int = 1, wanted: CodeWanted | None = None, index: int = 0) -> Login:
    """A login whose broker wants a code."""
    login = login or made()
    return park_with_question(login, attempt(login, number, index), wanted or question(), context(10)).login


def one(login: Login) -> Account:
    return login.accounts[0]


def is_answered(login: Login) -> bool:
    pending = one(login).pending
    assert pending is not None
    return pending.answered


def test_the_account_is_parked_with_its_continuation() -> None:
    """Nothing was renewed: tokens and lifetimes stay, and the event says which question it is."""
    login = made()
    parked = park_with_question(login, attempt(login, 1), question(), context(10))
    account = one(parked.login)
    assert (account.state, account.due_at, account.needs_code) == (MFA, None, True)
    assert account.pending is not None
    assert (account.pending.id, account.pending.document) == ("question-1", "the continuation")
    assert account.tokens == one(login).tokens
    [event] = parked.events
    assert isinstance(event, MfaNeeded)
    assert (event.pending_id, event.display_message) == ("question-1", "Look at your telephone.")


def test_a_first_reply_that_rotates() -> None:
    """The new refresh token is the account's from then on; the access token is for the second request only."""
    after = asked(wanted=question("question-1", "r-1"))
    assert (one(after).tokens.refresh_token, one(after).tokens.access_token) == ("r-1", "a-0")


def test_on_demand_until_one_goes_through_without() -> None:
    """After a code the account is not due by itself; after a refresh without one it is again."""
    login = asked()
    answer = attempt(login, 2, code_for="question-1")
    login = apply_success(login, answer, success(brought(tokens("r-2", "a-2"))), context(20)).login
    assert (one(login).state, one(login).due_at, one(login).needs_code) == (AccountState.ACTIVE, None, True)
    assert one(login).pending is None
    login = apply_success(login, attempt(login, 3), success(brought(tokens("r-3", "a-3"))), context(30)).login
    assert not one(login).needs_code
    assert one(login).due_at is not None


def test_a_wrong_code() -> None:
    """The question is open again, and nothing else has changed."""
    login = asked()
    marked = mark_answered(login, one(login))
    assert is_answered(marked)
    assert reopen_question(marked, attempt(marked, 2, code_for="question-1")) == login


def test_a_code_that_was_not_sent_or_failed_without_harm() -> None:
    """Throttled, say: the question is open again, and the account is not blamed."""
    login = asked()
    marked = mark_answered(login, one(login))
    for blamed in (True, False):
        after = apply_failure(
            marked, attempt(marked, 2, code_for="question-1"), Failed("Throttled", blamed), context(20)
        )
        assert not is_answered(after.login)
        assert (one(after.login).failures, one(after.login).state) == (0, MFA)


def test_what_comes_late_for_an_older_question() -> None:
    """A newer one, to which a code was sent meanwhile, is not opened again: another code could be sent for it."""
    login = asked()
    old = attempt(mark_answered(login, one(login)), 2, code_for="question-1")
    login = asked(mark_answered(login, one(login)), 3, question("question-2"))
    login = mark_answered(login, one(login))
    assert reopen_question(login, old) == login
    assert apply_failure(login, old, Failed("Throttled", blamed=False), context(20)).login == login
    assert not is_answered(reopen_question(login, attempt(login, 4, code_for="question-2")))
    newer = asked(login, 4, question("question-3"))
    assert not is_answered(apply_failure(newer, old, Unknown("ServerFailure"), context(20)).login), "nor is it closed"


def test_a_code_whose_fate_is_unknown() -> None:
    """It is never sent again: the question stays answered, and the account parked."""
    login = asked()
    for start in (login, mark_answered(login, one(login))):
        sent = attempt(start, 2, code_for="question-1")
        after = apply_failure(start, sent, Unknown("ServerFailure"), context(20)).login
        assert is_answered(after)
        assert (one(after).state, one(after).due_at) == (MFA, None)
        assert one(after).resend_not_before is not None
        assert one(after).unknown_since == at(20)


def test_a_question_that_is_written_twice() -> None:
    """From the spool, say: the same question is not asked again, and an answered one stays answered."""
    login = made()
    first = attempt(login, 1)
    once = park_with_question(login, first, question(), context(10)).login
    for since in (once, mark_answered(once, one(once))):
        again = park_with_question(since, first, question(), context(99))
        assert again.login.accounts == since.accounts
        assert again.events == ()


def test_a_late_question_parks_nobody_who_is_fresh() -> None:
    """Neither after its own answer, nor after another refresh, with a broker that rotates or does not."""
    for refresh in ("r-0", "r-2"):
        login = made()
        first = attempt(login, 1)
        parked = park_with_question(login, first, question(), context(10)).login
        outcome = success(brought(tokens(refresh, "a-2")))
        through = apply_success(parked, attempt(parked, 2, code_for="question-1"), outcome, context(20)).login
        without = apply_success(login, attempt(login, 2), outcome, context(20)).login
        for fresh in (through, without):
            late = park_with_question(fresh, first, question(), context(30))
            assert late.login.accounts == fresh.accounts
            assert late.events == ()


def test_a_new_question_takes_the_place_of_the_old_one() -> None:
    """After `restart_mfa`: a code for the old one is not sent any more."""
    login = asked(mark_answered(asked(), one(asked())), 2, question("question-2"))
    assert one(login).pending is not None
    assert (one(login).pending.id, is_answered(login)) == ("question-2", False)  # type: ignore[union-attr]


def test_a_refusal_at_a_restart() -> None:
    """Tokens that are refused while a code is waited for are asked once more, and then parked with the reason."""
    login = asked()
    login = apply_failure(login, attempt(login, 2), Refused(), context(20)).login
    assert one(login).state is MFA
    login = apply_failure(login, attempt(login, 3), Refused(), context(300)).login
    assert (one(login).state, one(login).reason) == (AccountState.RECONNECT_REQUIRED, Reason.REFUSED)


def test_a_restart_that_nobody_saw_the_end_of() -> None:
    """A lease that ran out binds accounts that wait for a code too: their tokens may have been sent."""
    login = evolve(asked(), attempt=3)
    account = one(stamp_open_attempt(login, login, context(50)).login)
    assert account.state is MFA
    assert account.pending is not None
    assert account.resend_not_before is not None
    assert account.resend_not_before >= at(50 + 120)
    assert account.unknown_since == at(50)
    assert account.due_at is None


def test_siblings_of_a_question_that_renewed_nothing() -> None:
    """They are as they were: nobody's token is any older by it."""
    login = made(tokens(account="A"), tokens("r-b", "a-b", "B"), tokens(account="C"))
    after = asked(login)
    assert after.accounts[1:] == login.accounts[1:]


def test_siblings_of_a_question_that_rotated() -> None:
    """Who shares the spent token takes the new one; who has another is marked; entries are taken up."""
    login = made(tokens(account="A"), tokens("r-b", "a-b", "B"), tokens(account="C"), tokens("r-d", "a-d", "D"))
    wanted = question("question-1", "r-1", beside(tokens("r-d2", "a-d2", "D")))
    after = asked(login, wanted=wanted)
    assert [it.tokens.refresh_token for it in after.accounts] == ["r-1", "r-b", "r-1", "r-d2"]
    assert [it.sibling_renewed for it in after.accounts] == [False, True, False, False]


def test_a_question_whose_token_a_sibling_has_spent() -> None:
    """Its answer would send a spent token: the question is void, and the account works again, on demand."""
    login = asked(made(tokens(account="A"), tokens(account="B")), index=1)
    entries = success(brought(tokens("r-1", "a-1", "A")))
    after = apply_success(login, attempt(login, 2), entries, context(20)).login
    account = after.accounts[1]
    assert (account.tokens.refresh_token, account.pending, account.state) == ("r-1", None, AccountState.ACTIVE)
    assert (account.needs_code, account.due_at) == (True, None)


def test_a_question_of_somebody_who_logged_in_anew() -> None:
    """It is of an earlier epoch: the person is not asked."""
    login = made()
    flying = attempt(login, 1)
    anew = changed(evolve(login), epoch="another", tokens=tokens("r-new", "a-new"))
    late = park_with_question(anew, flying, question(), context(10))
    assert (late.login, late.events) == (anew, ())


def test_a_question_for_one_account_ends_no_question_for_another() -> None:
    """A first reply that lists the sibling as it is brings it nothing: else both would be asked in turns, for ever."""
    login = made(tokens(account="A"), tokens(account="B"))
    login = asked(login)
    listed = beside(tokens(account="A"))
    both = asked(login, 2, question("question-2", "r-0", listed), 1)
    first, second = both.accounts
    assert (first.state, second.state) == (MFA, MFA)
    assert first.pending == one(login).pending
    assert both.accounts[0].due_at is None


def test_a_first_reply_puts_no_account_back_into_the_loop() -> None:
    """It may bring the sibling an access token; whether that goes without a code, only a success can say."""
    login = made(tokens(account="A"), tokens("s-0", account="B"))
    login = changed(login, 1, needs_code=True, due_at=None)
    after = asked(login, 1, question("question-1", "r-0", beside(tokens("s-1", "b-1", account="B"))))
    sibling = after.accounts[1]
    assert (sibling.tokens.access_token, sibling.needs_code, sibling.due_at) == ("b-1", True, None)


def test_which_account_a_code_is_for() -> None:
    """The one with an open question: by its id, or by the account; two of them are told apart by nothing else."""
    login = asked(made(tokens(account="A"), tokens("r-b", account="B"), tokens("r-c", account="C")))
    assert find_question(login) == find_question(login, "question-1") == (login.accounts[0], "question-1")
    for question_id, account_id in (("another", None), (None, "B"), ("question-1", "B")):
        with pytest.raises(CodeNotWanted):
            find_question(login, question_id, account_id)
    both = asked(login, 2, question("question-2", "r-b"), 1)
    with pytest.raises(AmbiguousAccount):
        find_question(both)
    assert find_question(both, "question-2") == find_question(both, None, "B") == (both.accounts[1], "question-2")
    with pytest.raises(CodeNotWanted):
        find_question(mark_answered(login, one(login)))


def test_a_code_waits_for_what_may_be_spent() -> None:
    """It goes with the tokens of its question, so not before these may be sent again, and never for another one."""
    login = asked()
    waiting = changed(login, resend_not_before=at(50))
    assert choose_question("question-1", login, context(20)) == Send(one(login))
    assert choose_question("question-1", waiting, context(49)) is None
    assert choose_question("question-1", waiting, context(50)) == Send(one(waiting))
    assert choose_question("question-2", login, context(20)) is None
    assert choose_question("question-1", mark_answered(login, one(login)), context(20)) is None

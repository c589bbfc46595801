"""What a login is after an exchange that brought nothing."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.events import AttemptFailed, ReconnectRequired
from mesh_refresh.keeper.rules.add import with_tokens
from mesh_refresh.keeper.rules.failure import (
    Failed,
    Failure,
    Refused,
    Unknown,
    apply_failure,
    park_expired,
    stamp_open_attempt,
)
from mesh_refresh.keeper.rules.select import NotBefore, Send, answer_refresh, answer_tokens, choose_due
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.keeper.rules.transition import Transition
from mesh_refresh.logins import Account, AccountState, Login, Pending, Reason
from tests.keeper.making import (
    HOUR,
    START,
    at,
    attempt,
    beside,
    brought,
    changed,
    context,
    made,
    success,
    tokens,
)

RECONNECT = AccountState.RECONNECT_REQUIRED


def after(login: Login, failure: Failure, number: int = 1, seconds: float = 10, index: int = 0) -> Transition:
    return apply_failure(login, attempt(login, number, index), failure, context(seconds))


def one(applied: Transition | Login, index: int = 0) -> Account:
    login = applied.login if isinstance(applied, Transition) else applied
    return login.accounts[index]


def test_a_refusal_is_asked_once_more_and_then_parks() -> None:
    """With a pause between; the tokens stay stored all the while, and one event says why."""
    login = made()
    first = after(login, Refused("Sorry."))
    account = one(first)
    assert (account.state, account.refused_at, account.due_at) == (AccountState.ACTIVE, at(10), at(130))
    assert account.retry_not_before == at(130)
    assert first.events == ()
    second = after(first.login, Refused("Sorry."), 2, 140)
    account = one(second)
    assert (account.state, account.reason, account.due_at) == (RECONNECT, Reason.REFUSED, None)
    assert account.tokens == login.accounts[0].tokens
    [event] = second.events
    assert isinstance(event, ReconnectRequired)
    assert (event.reason, event.display_message) == (Reason.REFUSED, "Sorry.")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"unknown_since": START}, Reason.REFUSED_AFTER_UNKNOWN),
        ({"sibling_renewed": True}, Reason.REFUSED_AFTER_SIBLING),
        ({"refused_at": START}, Reason.REFUSED),
    ],
)
def test_a_refusal_that_is_final(fields: dict[str, Any], reason: Reason) -> None:
    """Where it is plain what became of the token, nobody asks once more."""
    account = one(after(changed(made(), **fields), Refused()))
    assert (account.state, account.reason) == (RECONNECT, reason)


def test_a_refusal_that_is_nobodys_fault() -> None:
    """Nothing is counted, however often it comes."""
    login = made()
    for number in range(1, 50):
        login = after(login, Refused(blamed=False), number, number * 200).login
    account = one(login)
    assert (account.state, account.failures, account.refused_at, account.retry_not_before) == ("active", 0, None, None)
    assert account.due_at == at(49 * 200 + 120)


def test_a_fault_that_is_nobodys() -> None:
    """It falls due again soon, behind the others."""
    account = one(after(made(), Failed("Throttled", blamed=False)))
    assert (account.failures, account.retry_not_before, account.due_at) == (0, None, at(15))


@pytest.mark.parametrize(("pause", "due"), [(3, 15), (20, 30), (100_000, 70)])
def test_a_fault_that_is_nobodys_while_its_breaker_is_shut(pause: int, due: int) -> None:
    """It falls due again when a probe may go, behind the logins that fall due until then; no later than any probe."""
    failure = Failed("Unavailable", blamed=False, retry_after=timedelta(seconds=pause))
    assert one(after(made(), failure)).due_at == at(due)


def test_backing_off() -> None:
    """Failures of the account itself: each later, with one event each, and never parked."""
    login, waits = made(), []
    for number in range(1, 12):
        seconds = number * 10_000
        applied = after(login, Failed("Locked", blamed=True), number, seconds)
        login = applied.login
        account = one(login)
        assert account.retry_not_before == account.due_at
        waits.append((account.due_at or START) - at(seconds))
        [event] = applied.events
        assert isinstance(event, AttemptFailed)
        assert (event.failures, event.error, event.retry_at) == (number, "Locked", account.due_at)
    assert timedelta(seconds=5) <= waits[0] <= timedelta(seconds=10)
    assert waits[-1] >= timedelta(minutes=7.5)
    assert one(login).state is AccountState.ACTIVE


def test_an_unknown_outcome_binds_everybody() -> None:
    """Loop, callers and `refresh`: until the hard margin of what is stored."""
    applied = after(changed(made(), due_at=START), Unknown("ServerFailure"))
    login, account = applied.login, one(applied)
    assert (account.unknown_since, account.resend_not_before, account.due_at) == (at(10), at(3540), at(3540))
    assert account.state is AccountState.ACTIVE
    for seconds in (11, 131, 3539):
        assert choose_due(login, context(seconds)) is None
        assert isinstance(answer_refresh(login, account, context(seconds)), NotBefore)
    assert choose_due(login, context(3540)) is not None
    assert isinstance(answer_tokens(login, account, context(3540)), Send)


def test_unknown_outcomes_in_a_row() -> None:
    """Each is waited for; the first is remembered."""
    login = after(made(tokens(expires_at=None)), Unknown("ServerFailure")).login
    login = after(login, Unknown("OutcomeUnknown"), 2, 500).login
    account = one(login)
    assert (account.unknown_since, account.resend_not_before, account.failures) == (at(10), at(620), 2)


def test_unknown_outcomes_back_off_like_any_failure() -> None:
    """Settling is the least; later ones wait for longer, for callers too, and after so many days it is once a day."""
    login, when = made(tokens(expires_at=None)), 0.0
    waits = []
    for number in range(1, 1200):
        login = after(evolve(login, attempt=number), Unknown("ServerFailure"), number, when).login
        account = one(login)
        assert account.due_at is not None
        assert account.retry_not_before == account.due_at
        assert account.resend_not_before == at(when + 120)
        waits.append((account.due_at - at(when)).total_seconds())
        when += waits[-1]
    assert waits[:4] == [120] * 4
    assert max(waits[10:600]) <= 900
    assert min(waits[10:600]) >= 450
    assert len({round(it) for it in waits[10:600]}) > 50, "by chance, not all at once"
    assert min(waits[-90:]) >= 0.9 * 86_400
    assert isinstance(answer_tokens(login, one(login), context(when - 1), rejected=one(login).tokens), NotBefore)


def test_where_no_second_request_is_allowed() -> None:
    """The account is parked with the reason, and its tokens stay."""
    applied = after(made(), Unknown("ServerFailure", may_resend=False))
    assert (one(applied).state, one(applied).reason, one(applied).due_at) == (RECONNECT, Reason.UNKNOWN, None)
    assert one(applied).tokens.refresh_token == "r-0"
    assert [type(it) for it in applied.events] == [ReconnectRequired]


def test_who_shares_the_token_waits_too() -> None:
    """Also where it was not asked for, and who is renewed together with it; others do not."""
    login = made(tokens(account="A"), tokens(account="B"), tokens("r-c", account="C"), tokens("r-d", account="D"))
    login = changed(changed(login, 1, produced_by=2), 2, produced_by=2)
    found = after(login, Unknown("ServerFailure")).login
    assert [it.unknown_since for it in found.accounts] == [at(10), at(10), None, at(10)]
    assert found.accounts[2] == login.accounts[2]


def test_who_was_never_sent_is_not_parked() -> None:
    """No second request is allowed: parked are those with the token that was sent. Others of the reply only wait."""
    login = made(tokens(account="A"), tokens(account="B"), tokens("r-c", account="C"), tokens("r-d", account="D"))
    login = changed(changed(login, 1, produced_by=2), 2, produced_by=2)
    found = after(login, Unknown("ServerFailure", may_resend=False)).login
    assert [it.state for it in found.accounts] == [RECONNECT, RECONNECT, "active", "active"]
    waiting = found.accounts[3]
    assert (waiting.unknown_since, waiting.sibling_renewed, waiting.reason) == (None, True, None)
    assert waiting.resend_not_before is not None
    assert waiting.due_at is not None
    assert waiting.due_at >= waiting.resend_not_before
    refused = apply_failure(found, attempt(found, 2, 3), Refused(), context(9999)).login
    assert refused.accounts[3].reason is Reason.REFUSED_AFTER_SIBLING


def test_a_lease_that_ran_out() -> None:
    """Nobody knows which account it was for: all of them wait, and none that has nothing to send."""
    login = evolve(made(tokens(account="A"), tokens("r-b", account="B"), tokens(None, account="C")), attempt=3)
    login = changed(login, 1, needs_code=True, due_at=None)
    found = stamp_open_attempt(login, login, context(10)).login
    assert [it.unknown_since for it in found.accounts] == [at(10), at(10), None]
    assert [it.due_at for it in found.accounts] == [at(3540), None, at(3600)]
    assert stamp_open_attempt(found, login, context(20)).login == found, "a second look changes nothing"
    strict = stamp_open_attempt(login, login, context(10), {login.accounts[0].epoch: False}).login
    assert [it.state for it in strict.accounts] == [RECONNECT, "active", "not_refreshable"]


def test_what_is_told_of_a_lease_that_ran_out() -> None:
    """That an attempt has failed, since it is counted as a failure; of one that was parked before, nothing again."""
    login = evolve(made(tokens(account="A"), tokens("r-b", account="B"), tokens("r-c", account="C")), attempt=3)
    login = changed(login, 1, state=RECONNECT, reason=Reason.REFUSED, due_at=None)
    may = {login.accounts[2].epoch: False}
    attempt_failed, parked = stamp_open_attempt(login, login, context(10), may).events
    assert isinstance(attempt_failed, AttemptFailed)
    assert (attempt_failed.account_id, attempt_failed.error, attempt_failed.failures) == ("A", "lease ran out", 1)
    assert attempt_failed.retry_at == at(3540)
    assert isinstance(parked, ReconnectRequired)
    assert (parked.account_id, parked.reason) == ("C", Reason.UNKNOWN)


def test_a_parked_account_is_told_once() -> None:
    """Tried by hand, and refused again or with an unknown outcome: only another reason is news."""
    login = changed(made(), state=RECONNECT, reason=Reason.REFUSED, due_at=None)
    for failure in (Refused("Sorry."), Unknown("ServerFailure")):
        assert after(login, failure).events == ()
    [event] = after(changed(login, unknown_since=START), Refused()).events
    assert isinstance(event, ReconnectRequired)
    assert event.reason is Reason.REFUSED_AFTER_UNKNOWN


def test_a_lease_that_ran_out_and_what_was_written_after_all() -> None:
    """The pair that its owner wrote since is no unknown one."""
    login = evolve(made(), attempt=3)
    fresh = tokens("r-1", "a-1", got=5)
    written = apply_success(login, attempt(login, 2), success(brought(fresh)), context(8)).login
    assert stamp_open_attempt(written, login, context(10)).login == written


def test_a_lease_that_ran_out_and_a_login_anew() -> None:
    """Its attempt cannot have sent tokens that were added since it began. A later attempt can."""

    def find(login: Login, number: int) -> Login:
        claimed = evolve(login, attempt=number)
        return stamp_open_attempt(claimed, claimed, context(10)).login

    login = evolve(made(tokens(account="A")), attempt=2)
    for given in (tokens("r-new", "a-new", account="A"), tokens("r-b", "a-b", account="B")):
        anew, _ = with_tokens(login, [given], context(5))
        index = len(anew.accounts) - 1
        found = find(anew, 3)
        assert [account.unknown_since for account in found.accounts] == [at(10), None][index == 0 :]
        later = find(anew, 4)
        assert one(later, index).unknown_since == at(10)
    woken, _ = with_tokens(changed(login, state=RECONNECT), [tokens("r-0", "a-new", account="A")], context(5))
    found = find(woken, 3)
    assert one(found).unknown_since == at(10), "it is the token that the attempt may have sent"


def test_a_parked_account_that_is_tried_by_hand() -> None:
    """Refused again: it stays parked, with the reason it had. A success brings it back."""
    login = changed(made(), state=RECONNECT, reason=Reason.REFUSED_AFTER_SIBLING, due_at=None)
    account = one(after(login, Refused()))
    assert (account.state, account.reason) == (RECONNECT, Reason.REFUSED_AFTER_SIBLING)
    for failure in (Failed("Locked", blamed=True), Unknown("ServerFailure"), Failed("Throttled", blamed=False)):
        account = one(after(login, failure))
        assert (account.state, account.due_at) == (RECONNECT, None)
    back = apply_success(login, attempt(login, 1), success(brought(tokens("r-1"))), context(5)).login
    assert one(back).state is AccountState.ACTIVE


def test_on_demand_accounts_stay_so() -> None:
    """Whatever fails: they are not due by that."""
    login = changed(made(), needs_code=True, due_at=None)
    for failure in (
        Refused(),
        Refused(blamed=False),
        Unknown("x"),
        Failed("x", blamed=True),
        Failed("x", blamed=False),
    ):
        assert one(after(login, failure)).due_at is None


def test_what_cannot_be_refreshed_expires() -> None:
    """With an event, once; and not before its time."""
    login = made(tokens(None))
    assert park_expired(login, context(3599)).login == login
    ended = park_expired(login, context(3600))
    assert (one(ended).state, one(ended).reason, len(ended.events)) == (RECONNECT, Reason.EXPIRED, 1)
    assert park_expired(ended.login, context(9999)).events == ()


def test_who_cannot_be_refreshed_stays_so_after_a_siblings_exchange() -> None:
    """An access token for it is taken, and it expires in its time: it is never due to an exchange it cannot have."""
    login = made(tokens(account="A"), tokens(None, "a-b", "B"))
    fresh = beside(tokens("r-1", "b-1", "B", got=600), own=False)
    login = apply_success(
        login, attempt(login, 1), success(brought(tokens("r-1", "a-1", "A")), fresh), context(600)
    ).login
    account = one(login, 1)
    assert (account.tokens.access_token, account.tokens.refresh_token) == ("b-1", None)
    assert (account.state, account.due_at) == (AccountState.NOT_REFRESHABLE, at(4200))


def test_no_access_token_is_paced_like_a_failure() -> None:
    """A success that brings none would be due at once, for ever."""
    login = made(tokens(access=None))
    moment, count = 0.0, 0
    while moment < 3600:
        fresh = tokens(f"r-{count + 1}", None, got=moment)
        login = apply_success(
            login, attempt(login, count + 1, seconds=moment), success(brought(fresh, access=False)), context(moment)
        ).login
        count += 1
        assert one(login).due_at is not None
        moment = max(moment, ((one(login).due_at or START) - START).total_seconds())
    assert count <= 20
    assert one(login).tokens.refresh_token == f"r-{count}"


YEARS = timedelta(days=3650)
TEN_YEARS = tokens(account="A", expires_at=START + YEARS)


@pytest.mark.parametrize(
    ("policy", "wait"),
    [
        (Policy(), timedelta(days=1)),
        (Policy(resend_after_cap=HOUR), HOUR),
        (Policy(resend_after_cap=timedelta(seconds=1)), timedelta(minutes=2)),
        (Policy(keep_alive=HOUR), HOUR),
        (Policy(keep_alive=timedelta(days=9)), timedelta(days=1)),
        (Policy(keep_alive=timedelta(seconds=30)), timedelta(minutes=2)),
    ],
)
@pytest.mark.parametrize("how", ["unknown", "found open"])
def test_the_wait_after_an_unknown_outcome_has_an_end(policy: Policy, wait: timedelta, how: str) -> None:
    """However long the access token lives: then the loop sends the tokens again, though they were due in years."""
    login = changed(made(TEN_YEARS), due_at=START + YEARS / 2)
    if how == "unknown":
        written = apply_failure(login, attempt(login, 1), Unknown("ServerFailure"), context(policy=policy)).login
    else:
        found = evolve(login, attempt=2)
        written = stamp_open_attempt(found, found, context(policy=policy)).login
    account = written.accounts[0]
    assert account.resend_not_before == START + wait
    assert account.due_at == START + wait
    assert choose_due(written, context(wait.total_seconds(), policy)) is not None
    ended = evolve(account, tokens=evolve(TEN_YEARS, expires_at=at()))
    assert isinstance(answer_tokens(written, ended, context(policy=policy)), NotBefore)


def test_a_wait_that_ends_before_the_cap_stays() -> None:
    """At the hard margin of the access token, or of the refresh token itself."""
    for given, wait in (
        (tokens(expires_at=at(7200)), 7140),
        (tokens(expires_at=START + YEARS, refresh_token_expires_at=at(7200)), 7140),
        (tokens(expires_at=None), 120),
    ):
        login = made(given)
        written = apply_failure(login, attempt(login, 1), Unknown("ServerFailure"), context()).login
        assert written.accounts[0].resend_not_before == at(wait)


def test_a_question_whose_sender_died_is_asked_anew_soon() -> None:
    """A person waits for it. Its siblings, who have no question, wait as others do."""
    pending = Pending("question-1", "the continuation", START)
    login = made(TEN_YEARS, tokens("r-b", account="B", expires_at=START + YEARS))
    login = changed(login, state=AccountState.MFA_REQUIRED, pending=pending, due_at=None)
    found = evolve(login, attempt=2)
    written = stamp_open_attempt(found, found, context()).login
    assert [it.resend_not_before for it in written.accounts] == [at(120), START + timedelta(days=1)]
    assert written.accounts[0].pending == pending
    assert written.accounts[0].due_at is None
    asked = attempt(login, 1, 0)
    unknown = apply_failure(login, asked, Unknown("ServerFailure"), context()).login
    assert unknown.accounts[0].resend_not_before == at(120)


def test_a_late_reply_does_not_end_the_wait_of_a_later_attempt_with_the_same_token() -> None:
    """Both attempts sent one token. The first one's reply repeats it; the second one's outcome is unknown still."""
    login = made(tokens(account="A"))
    first, second = attempt(login, 1), attempt(login, 2)
    login = apply_failure(login, first, Unknown("OutcomeUnknown"), context(60)).login
    login = apply_failure(login, second, Unknown("OutcomeUnknown"), context(300)).login
    waits = login.accounts[0].resend_not_before
    login = apply_success(login, first, success(brought(tokens("r-0", "a-1", "A"))), context(310)).login
    account = login.accounts[0]
    assert account.tokens.access_token == "a-1"
    assert account.unknown_since is not None
    assert account.resend_not_before == waits

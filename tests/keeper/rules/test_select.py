"""What to exchange next, and what somebody who asks is answered."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import Tokens
from mesh_refresh.keeper import Policy, version_of
from mesh_refresh.keeper.rules.mfa import find_question
from mesh_refresh.keeper.rules.plan import nothing_to_send
from mesh_refresh.keeper.rules.select import (
    ASKED_BY_LOOP,
    ASKED_BY_RESTART,
    DROPPED_BY_REFRESH,
    GUARDS,
    Answer,
    CodeFirst,
    Good,
    NotBefore,
    Parked,
    Send,
    answer_refresh,
    answer_tokens,
    choose_due,
    postpone,
)
from mesh_refresh.keeper.rules.select import (
    PARKED as PARKED_GUARDS,
)
from mesh_refresh.logins import Account, AccountState, AmbiguousAccount, Login, Pending, Reason
from mesh_refresh.logins.versions import is_version
from mesh_refresh.stores import PlainText, row_of
from tests.examples import bounded
from tests.keeper.making import START, at, changed, context, made, tokens

pytestmark = pytest.mark.once

QUESTION = Pending("question-1", "the continuation", START)
MFA, RECONNECT = AccountState.MFA_REQUIRED, AccountState.RECONNECT_REQUIRED
UNREADABLE, FIXED = AccountState.UNREADABLE, AccountState.NOT_REFRESHABLE


def ask(login: Login, seconds: float = 0, *, index: int = 0, rejected: bool = False) -> Answer:
    """What `tokens()` does."""
    account = login.accounts[index]
    return answer_tokens(login, account, context(seconds), rejected=account.tokens if rejected else None)


def test_good_tokens_are_handed_out_in_every_state() -> None:
    """Up to the hard margin, whatever else is wrong with the account."""
    for state in AccountState:
        for fields in ({}, {"resend_not_before": at(9999)}, {"retry_not_before": at(9999)}, {"pending": QUESTION}):
            login = changed(made(), state=state, reason=Reason.REFUSED, **fields)
            assert ask(login, 3539) == Good(login.accounts[0].tokens)
            assert not isinstance(ask(login, 3540), Good)
            assert not isinstance(ask(login, rejected=True), Good)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Send),
        ({"state": MFA, "pending": QUESTION}, CodeFirst("question-1")),
        ({"state": RECONNECT, "reason": Reason.REFUSED, "display_message": "!"}, Parked(Reason.REFUSED, "!")),
        ({"state": UNREADABLE, "reason": Reason.UNREADABLE}, Parked(Reason.UNREADABLE, None)),
        ({"state": FIXED, "tokens": tokens(None)}, Parked(Reason.EXPIRED, None)),
        ({"resend_not_before": at(3601)}, NotBefore),
        ({"resend_not_before": at(3600)}, Send),
        ({"retry_not_before": at(3601)}, NotBefore),
        ({"retry_not_before": at(3600)}, Send),
        ({"tokens": tokens(not_before=at(3601))}, NotBefore),
        ({"tokens": tokens(not_before=at(3600))}, Send),
        ({"needs_code": True}, Send),
        ({"failures": 99, "failing_since": START}, Send),
    ],
)
def test_who_has_no_good_tokens(fields: dict[str, Any], expected: Any) -> None:
    """After an hour, when those in the store have ended."""
    found = ask(changed(made(), **fields), 3600)
    if isinstance(expected, type):
        assert isinstance(found, expected)
    else:
        assert found == expected


def test_what_is_not_before_says_when() -> None:
    """The moment is the account's own."""
    for name in ("resend_not_before", "retry_not_before"):
        found = ask(changed(made(), **{name: at(4000)}), 3600)
        assert isinstance(found, NotBefore)
        assert found.at == at(4000)


def test_rejected_tokens_that_are_stored_no_more() -> None:
    """Somebody has refreshed since: the new ones are the answer."""
    login = made(tokens(access="a-1"))
    account = login.accounts[0]
    assert answer_tokens(login, account, context(), rejected=tokens(access="a-0")) == Good(account.tokens)
    assert answer_tokens(login, account, context(), rejected=tokens(access=None)) == Good(account.tokens)


def test_rejected_right_after_a_success() -> None:
    """Not sooner than `min_interval` after it: the broker may lag, or be confused."""
    login = evolve(made(), succeeded_at=at(5))
    assert ask(login, 14.9, rejected=True) == NotBefore(at(15), "they were refreshed a moment ago")
    assert isinstance(ask(login, 15, rejected=True), Send)


def test_rejected_does_not_wait_for_the_end_of_what_is_rejected() -> None:
    """After an unknown outcome others wait until the access token ends; who was refused with it has no such use."""
    login = changed(made(), resend_not_before=at(3540), unknown_since=START)
    assert isinstance(ask(login, 130, rejected=True), Send)


def test_a_sibling_that_waits_for_a_code() -> None:
    """For minutes and no longer nobody is asked for a second code; who needs none goes on."""
    login = made(tokens(account="A"), tokens("r-1", account="B"))
    login = changed(login, 1, state=MFA, pending=evolve(QUESTION, asked_at=at(3600)), needs_code=True)
    needing = changed(login, 0, needs_code=True, due_at=START)
    assert isinstance(ask(needing, 3600), NotBefore)
    assert isinstance(answer_refresh(needing, needing.accounts[0], context(3600)), NotBefore)
    assert isinstance(ask(needing, 4200), Send)
    assert isinstance(ask(login, 3600), Send)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Send),
        ({"state": RECONNECT, "reason": Reason.REFUSED}, Send),
        ({"state": RECONNECT, "reason": Reason.UNKNOWN}, Parked),
        ({"state": RECONNECT, "reason": Reason.EXPIRED, "tokens": tokens(None)}, Parked),
        ({"state": MFA, "pending": QUESTION}, CodeFirst),
        ({"state": UNREADABLE, "reason": Reason.UNREADABLE}, Parked),
        ({"state": FIXED, "tokens": tokens(None)}, Parked),
        ({"resend_not_before": at(1)}, NotBefore),
        ({"retry_not_before": at(1)}, Send),
        ({"tokens": tokens(not_before=at(1))}, NotBefore),
    ],
)
def test_a_forced_refresh(fields: dict[str, Any], expected: type) -> None:
    """Context, unless that could spend a token twice or a body may hold the only one."""
    login = evolve(changed(made(), **fields), succeeded_at=START)
    assert isinstance(answer_refresh(login, login.accounts[0], context()), expected)


def test_the_loop_takes_what_has_been_due_for_longest() -> None:
    """One account at a time, and none that is not due."""
    login = made(tokens(account="A"), tokens("r-1", account="B"), tokens("r-2", account="C"))
    login = changed(changed(changed(login, 0, due_at=at(7)), 1, due_at=at(5)), 2, due_at=at(6))
    assert choose_due(login, context(4.9)) is None
    for seconds in (5, 100):
        found = choose_due(login, context(seconds))
        assert found is not None
        assert found.account.tokens.account_id == "B"


@pytest.mark.parametrize(
    "fields",
    [
        {"due_at": None},
        {"due_at": at(101)},
        {"resend_not_before": at(101)},
        {"state": MFA, "pending": QUESTION},
        {"state": RECONNECT},
        {"state": UNREADABLE},
        {"state": FIXED, "tokens": tokens(None)},
        {"tokens": tokens(None)},
        {"tokens": tokens(not_before=at(101))},
    ],
)
def test_what_the_loop_leaves_alone(fields: dict[str, Any]) -> None:
    """Nothing is sent that is parked, not due, or must be waited for."""
    due = changed(made(), due_at=at(50))
    assert choose_due(due, context(100)) is not None
    assert choose_due(changed(due, **fields), context(100)) is None
    assert choose_due(evolve(due, succeeded_at=at(91)), context(100)) is None
    assert choose_due(evolve(due, succeeded_at=at(90)), context(100)) is not None


_SOON = st.none() | st.integers(0, 200).map(at)
_ACCOUNTS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(AccountState),
        "due_at": _SOON,
        "retry_not_before": _SOON,
        "resend_not_before": _SOON,
        "needs_code": st.booleans(),
        "pending": st.none() | st.integers(0, 200).map(lambda it: evolve(QUESTION, asked_at=at(it))),
    }
)


@st.composite
def logins(draw: st.DrawFn) -> Login:
    """A login of one to three accounts in any state."""
    number = draw(st.integers(1, 3))
    login = made(*(tokens(f"r-{it}", account=str(it)) for it in range(number)))
    for index in range(number):
        fields = draw(_ACCOUNTS)
        kept = tokens(
            None if fields["state"] is FIXED else f"r-{index}",
            account=str(index),
            expires_at=draw(_SOON),
            not_before=draw(_SOON),
        )
        if fields["state"] is FIXED:
            fields["due_at"] = kept.expires_at
        login = changed(login, index, tokens=kept, **fields)
    return evolve(login, succeeded_at=draw(_SOON), changed_at=draw(_SOON))


@given(logins())
@bounded(400)
def test_what_cannot_be_sent_is_not_claimed_again_at_once(login: Login) -> None:
    """Else the loop would claim it at every poll: its row falls due later, or never."""
    if choose_due(login, context(100)) is not None:
        return
    row = row_of(PlainText(), nothing_to_send(login, context(100)).login, at(100))
    assert row.due_at is None or row.due_at > at(100)


@given(logins())
@bounded(400)
def test_putting_off_never_brings_forward(login: Login) -> None:
    """And it forgets nobody who was due: what had a time keeps one."""
    for before, after in zip(login.accounts, postpone(login, context(99)).accounts, strict=True):
        assert (before.due_at is None) == (after.due_at is None)
        assert before.due_at is None or after.due_at is None or after.due_at >= before.due_at
        assert evolve(before, due_at=None) == evolve(after, due_at=None)


@given(logins())
@bounded(400)
def test_nobody_sends_before_the_wait_is_over(login: Login) -> None:
    """Not the loop, not `refresh`, not `tokens()`: whoever finds an exchange may send it."""
    found: list[Account] = []
    exchange = choose_due(login, context(100))
    for index, account in enumerate(login.accounts):
        answers = (exchange, ask(login, 100, index=index), answer_refresh(login, account, context(100)))
        found += [it.account for it in answers if isinstance(it, Send)]
    for account in found:
        assert account.resend_not_before is None or account.resend_not_before <= at(100)
        assert account.tokens.not_before is None or account.tokens.not_before <= at(100)
        assert account.tokens.refresh_token is not None
        assert account.state not in (UNREADABLE, FIXED)


def test_a_success_of_before_the_clock_went_back_holds_up_nothing() -> None:
    """Though the row was written since: else the login would stand still until that time comes again."""
    login = evolve(changed(made(), due_at=at(90)), changed_at=at(100), succeeded_at=at(86_400))
    assert choose_due(login, context(100)) is not None
    assert postpone(login, context(99)).accounts[0].due_at == at(100)
    near = evolve(login, succeeded_at=at(101))  # machines differ by so much
    assert choose_due(near, context(100)) is None


def test_reasons_are_told_in_the_order_of_the_guards() -> None:
    """Of an account with every reason, the next one is told when the one before is gone."""
    login = made(tokens(account="A"), tokens("r-1", account="B"))
    login = changed(login, 1, state=MFA, pending=evolve(QUESTION, asked_at=at(3600)), needs_code=True)
    reasons: list[dict[str, Any]] = [
        {"state": MFA, "pending": QUESTION},
        {"state": UNREADABLE, "reason": Reason.UNREADABLE},
        {"state": RECONNECT, "reason": Reason.REFUSED},
        {"tokens": tokens(None, account="A", not_before=at(3605))},
        {"tokens": tokens(account="A", not_before=at(3605))},
        {"resend_not_before": at(3604)},
        {"refused_at": START},
        {"retry_not_before": at(3603)},
        {"refreshed_at": at(3599)},
        {"needs_code": True},
    ]
    told = [
        CodeFirst("question-1"),
        Parked(Reason.UNREADABLE, None),
        Parked(Reason.REFUSED, None),
        Parked(Reason.EXPIRED, None),
        at(3605),
        at(3604),
        "they were refused a moment ago, and are sent once more after a pause",
        "the last exchange did not go well",
        at(3609),
        "another account of the login waits for a code",
    ]
    for number, expected in enumerate(told):
        account: dict[str, Any] = {}
        for reason in reversed(reasons[number:]):
            account |= reason
        found = ask(changed(login, 0, **account), 3600)
        assert expected in (found, getattr(found, "at", None), getattr(found, "why", None)), number


def test_who_drops_a_guard_names_one_that_there_is() -> None:
    """`refresh` drops some, and the loop, `restart_mfa` and parked accounts ask some."""
    for named in (DROPPED_BY_REFRESH, ASKED_BY_LOOP, ASKED_BY_RESTART, PARKED_GUARDS):
        assert set(named) < set(GUARDS)
    assert [guard for guard in GUARDS if guard in PARKED_GUARDS] == list(PARKED_GUARDS)


def test_a_caller_gets_tokens_that_live_for_as_long_as_it_wants() -> None:
    """Where they end sooner, the account is exchanged; where that cannot be now, they are what the caller gets."""
    login = made()  # for an hour

    def ask_for(minutes: float, seconds: float, **fields: Any) -> Answer:
        found = changed(login, **fields)
        return answer_tokens(found, found.accounts[0], context(seconds), valid_for=timedelta(minutes=minutes))

    assert isinstance(ask_for(10, 3000), Good)
    assert ask_for(10, 3001) == Send(login.accounts[0], spare=login.accounts[0].tokens)
    assert isinstance(ask_for(9, 3001), Good)
    assert isinstance(ask_for(10, 3001, tokens=tokens(expires_at=None)), Good)
    assert isinstance(ask_for(10, 3001, state=FIXED, tokens=tokens(None)), Good)
    for why in (
        {"state": MFA, "pending": QUESTION},
        {"state": RECONNECT, "reason": Reason.REFUSED},
        {"retry_not_before": at(3002)},
        {"resend_not_before": at(3002)},
    ):
        assert isinstance(ask_for(10, 3001, **why), Good), why


def test_more_than_half_of_the_lifetime_counts_as_half() -> None:
    """Nothing that a caller wants makes each call an exchange; of tokens whose age is not known, it is all."""
    login = made()
    for seconds, expected in ((0, Good), (1800, Good), (1801, Send)):
        found = answer_tokens(login, login.accounts[0], context(seconds), valid_for=timedelta(days=1))
        assert isinstance(found, expected), seconds
    ageless = changed(login, tokens=evolve(login.accounts[0].tokens, obtained_at=None))
    assert isinstance(answer_tokens(ageless, ageless.accounts[0], context(0), valid_for=timedelta(days=1)), Send)


def test_no_wish_for_longer_lived_tokens_breaks_the_least_interval() -> None:
    """Since the last success of any account of the login."""
    policy = Policy(min_interval=timedelta(minutes=50))
    login = evolve(made(), succeeded_at=at(1000))
    for seconds, expected in ((3001, Good), (3999, Good), (4000, Send)):
        long_lived = changed(login, tokens=tokens(expires_at=at(4500)))
        found = answer_tokens(
            long_lived, long_lived.accounts[0], context(seconds, policy), valid_for=timedelta(minutes=30)
        )
        assert isinstance(found, expected), seconds


def test_a_caller_is_told_what_to_show_to_the_person() -> None:
    """And which accounts wait for a code, where several do."""
    asking = evolve(QUESTION, display_message="Look at your telephone.")
    login = changed(made(tokens(account="x"), tokens("r-1", account="y")), state=MFA, pending=asking)
    assert ask(login, 9999) == CodeFirst("question-1", "Look at your telephone.")
    both = changed(login, 1, state=MFA, pending=QUESTION)
    with pytest.raises(AmbiguousAccount) as ambiguous:
        find_question(both)
    assert ambiguous.value.account_ids == ("x", "y")


def test_a_version_says_which_tokens_were_rejected() -> None:
    """Only that of the stored tokens leads to an exchange; by any other, nothing is sent, however old they are."""
    login = made()
    account = login.accounts[0]
    version = version_of(login.login_id, account.tokens)
    assert is_version(version)
    assert isinstance(answer_tokens(login, account, context(0), rejected=version), Send)
    others = (
        version_of("another login", account.tokens),
        version_of(login.login_id, evolve_tokens(account.tokens, account_id="b")),
        version_of(login.login_id, evolve_tokens(account.tokens, access_token="new")),
    )
    assert len({version, *others}) == 4
    for other in others:
        for seconds in (0, 3599, 9999):
            assert answer_tokens(login, account, context(seconds), rejected=other) == Good(account.tokens)
    renewed = evolve_tokens(account.tokens, refresh_token="another", obtained_at=at(9), expires_at=at(99))
    assert version_of(login.login_id, renewed) == version, "another access token, and nothing else, is news"


def evolve_tokens(given: Tokens, **fields: Any) -> Tokens:
    return Tokens.from_document({**given.to_document(), **fields})

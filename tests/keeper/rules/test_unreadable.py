"""Replies that are kept as they came: which they are, and what becomes of the accounts."""

import json
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import MfaRequired, Refreshed, Reply, Tokens, UnreadableReply
from mesh_refresh.keeper.events import AccountUnreadable
from mesh_refresh.keeper.rules.attempt import Attempt, Unreadable
from mesh_refresh.keeper.rules.failure import Refused, Unknown, apply_failure
from mesh_refresh.keeper.rules.mfa import park_with_question, reopen_question
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.keeper.rules.unreadable import ONLY_STRANGERS, judge, keep_unreadable, names_only_strangers
from mesh_refresh.logins import AccountState, Login, Reason
from mesh_refresh.messages import BodyKind
from tests.keeper.making import attempt, beside, brought, changed, context, made, question, success, tokens
from tests.replies.wire_replies import decoded, entry, read
from tests.replies.wire_replies import success as succeeding

PARKED = AccountState.UNREADABLE


def ids(account: str | None = None, mesh: str | None = None) -> Tokens:
    return tokens("r-9", "a-9", account, mesh_account_id=mesh)


# Whose reply it is.


@pytest.mark.parametrize(
    ("stored", "came", "only"),
    [
        ([ids("A")], [ids("B")], True),
        ([ids("A")], [ids("B"), ids("C", "MC")], True),
        ([ids("A", "MA")], [ids("B", "MB")], True),
        ([ids(None, "MA")], [ids(None, "MB")], True),
        ([ids(None, "MA")], [ids("A")], True),
        ([ids("A"), ids("B")], [ids("C")], True),
        ([ids("A", "X")], [ids("X", "A")], True),
        ([ids("A")], [ids("A")], False),
        ([ids("A")], [ids("B"), ids("A")], False),
        ([ids("A"), ids("B")], [ids("C"), ids("B")], False),
        ([ids("A", "MA")], [ids("renamed", "MA")], False),
        ([ids("A", "MA")], [ids("A", "other")], False),
        ([ids("A")], [ids("B"), ids()], False),
        ([ids()], [ids("B")], False),
        ([ids("A"), ids()], [ids("B")], False),
        ([ids("A")], [], False),
    ],
)
def test_which_replies_name_only_strangers(stored: list[Tokens], came: list[Tokens], *, only: bool) -> None:
    """Both kinds of ids count, each for itself; what has no id says nothing."""
    login = made(tokens("r-0", account="A", mesh_account_id="MA"))
    accounts = tuple(evolve(login.accounts[0], tokens=it) for it in stored)
    assert names_only_strangers(evolve(login, accounts=accounts), came) is only


STORED = tokens("fake-refresh-0", "fake-access-0", "A")
THEIRS = entry("B", "MB", accessToken="fake-access-of-b", refreshToken="fake-refresh-of-b")


@pytest.mark.parametrize("asks", [False, True])
def test_the_body_of_a_reply_to_somebody_else_is_kept(asks: bool) -> None:
    """As it came, with the reason in words, and as one that may hold a token."""
    body = succeeding(THEIRS, status="mfaRequired" if asks else "succeeded")
    reply = decoded(200, body)
    outcome = read(reply, STORED)
    assert isinstance(outcome, MfaRequired if asks else Refreshed)
    kept = judge(made(STORED), outcome)
    assert isinstance(kept, UnreadableReply)
    assert (kept.body, kept.may_hold_token, kept.display_message) == (reply.body, True, ONLY_STRANGERS)
    assert kept.before == STORED
    assert judge(made(STORED, tokens("r-1", account="B")), outcome) is outcome


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("body", [None, b"", b'{"content":"of another form"}'])
def test_tokens_that_the_body_has_not_are_kept_beside_it(body: bytes | None, *, asks: bool) -> None:
    """A strategy of the user's has made them without a reply, or changed them."""
    theirs = tokens("fake-refresh-of-b", "fake-access-of-b", "B")
    reply: Any = None if body is None else Reply(200, BodyKind.OTHER_JSON, body=body)
    outcome: Any = Refreshed(STORED, (theirs,), reply, None)
    if asks:
        outcome = MfaRequired(STORED, STORED, (theirs,), reply, "fake-access-for-the-code")
    kept = judge(made(STORED), outcome)
    assert isinstance(kept, UnreadableReply)
    assert kept.body.startswith(body or b"{")
    documents = [json.loads(line) for line in kept.body.removeprefix(body or b"").split(b"\n") if line]
    assert Tokens.from_document(documents[0]) == theirs
    assert ("fake-access-for-the-code" in kept.body.decode()) is asks


# What becomes of the accounts.


def parked(login: Login, flying: Attempt, body: bytes = b"?", seconds: float = 5, *, late: bool = False) -> Any:
    return keep_unreadable(login, flying, Unreadable(body, late=late), context(seconds))


def test_a_siblings_reply_leaves_a_kept_body_alone() -> None:
    """Both accounts have one token: the second reply parks both, and each has what came for it."""
    login = made(tokens(account="A"), tokens(account="B"))
    first, second = attempt(login, 1, 0), attempt(login, 2, 1)
    login = parked(parked(login, first, b"of A").login, second, b"of B").login
    assert [it.body for it in login.accounts] == [b"of A", b"of B"]


def test_a_second_body_of_an_account_is_kept_too() -> None:
    """One line apart, and once each."""
    login = made()
    flying = [attempt(login, number) for number in (1, 2, 3)]
    for sent, body in zip(flying, (b"one", b"two", b"one"), strict=True):
        login = parked(login, sent, body).login
    assert login.accounts[0].body == b"one\ntwo"


def test_a_body_that_holds_the_other_is_enough() -> None:
    """The first half, and then all of it."""
    login = made()
    first, second = attempt(login, 1), attempt(login, 2)
    for bodies in ((b"half", b"half and whole"), (b"half and whole", b"half")):
        after = parked(parked(login, first, bodies[0]).login, second, bodies[1]).login
        assert after.accounts[0].body == b"half and whole"


# Late replies.


def test_a_late_reply_parks_what_the_attempt_has_brought() -> None:
    """Its own success is written, and stays; nobody knows which of both pairs is in force."""
    login = made(tokens(account="A"), tokens("r-b", account="B"))
    flying = attempt(login, 1)
    login = apply_success(login, flying, success(brought(tokens("r-1", "a-1", "A"))), context(1)).login
    after = parked(login, flying, late=True)
    account, other = after.login.accounts
    before = login.accounts[0]
    assert account == evolve(
        before,
        state=PARKED,
        due_at=None,
        parked_at=context(5).now,
        reason=Reason.UNREADABLE,
        body=b"?",
        unknown_since=context(5).now,
        last_error="UnreadableReply",
    )
    assert other == login.accounts[1]
    assert [type(it) for it in after.events] == [AccountUnreadable]
    again = parked(after.login, flying, seconds=9, late=True)
    assert (again.login, again.events) == (after.login, ())


def test_a_late_reply_parks_the_siblings_that_came_by_the_same_reply() -> None:
    """What they have could end what is inside."""
    login = made(tokens(account="A"), tokens(account="B"), tokens("r-c", account="C"))
    flying = attempt(login, 1)
    fresh = success(brought(tokens("r-1", "a-1", "A")), beside(tokens("r-1", "b-1", "B")))
    after = parked(apply_success(login, flying, fresh, context(1)).login, flying, late=True).login
    assert [it.state for it in after.accounts] == [PARKED, PARKED, AccountState.ACTIVE]
    assert [it.body for it in after.accounts] == [b"?", None, None]


@pytest.mark.parametrize("rotates", [True, False])
def test_a_late_reply_after_a_newer_success_is_kept_and_parks_nobody(rotates: bool) -> None:
    """The newer pair has shown that it is in force. The bytes stay through what comes later."""
    login = made()
    flying = attempt(login, 1)
    for number in (1, 2):
        fresh = tokens(f"r-{number}" if rotates else "r-0", f"a-{number}")
        login = apply_success(login, attempt(login, number), success(brought(fresh)), context(number)).login
    after = parked(login, flying, late=True)
    assert after.login.accounts == (evolve(login.accounts[0], body=b"?"),)
    assert [type(it) for it in after.events] == [AccountUnreadable]
    sent = attempt(after.login, 3)
    later = apply_success(after.login, sent, success(brought(tokens("r-3", "a-3"))), context(9)).login.accounts[0]
    assert (later.tokens.refresh_token, later.state, later.body) == ("r-3", AccountState.ACTIVE, b"?")


def test_a_late_reply_before_the_success_of_its_attempt() -> None:
    """That is written all the same, also where it brings an access token only."""
    for refresh in ("r-0", "r-1"):
        login = made()
        flying = attempt(login, 1)
        login = parked(login, flying, late=True).login
        assert login.accounts[0].state is PARKED
        after = apply_success(login, flying, success(brought(tokens(refresh, "a-1"))), context(9)).login.accounts[0]
        assert (after.tokens.refresh_token, after.tokens.access_token, after.body) == (refresh, "a-1", b"?")


def test_a_late_reply_after_a_failure_of_its_attempt() -> None:
    """Whatever that said: the only live pair may be in what came afterwards."""
    for failure in (Refused(), Unknown("ServerFailure"), Unknown("ServerFailure", may_resend=False)):
        login = made()
        flying = attempt(login, 1)
        login = apply_failure(login, flying, failure, context(1)).login
        login = apply_failure(login, attempt(login, 2), Refused(), context(2)).login
        account = parked(login, flying, late=True).login.accounts[0]
        assert (account.state, account.body, account.due_at) == (PARKED, b"?", None)


def test_a_late_reply_leaves_a_question_open() -> None:
    """A person is at work on it, and its continuation may hold a live token too."""
    login = made()
    flying = attempt(login, 1)
    login = park_with_question(login, flying, question("question-1", "r-1"), context(1)).login
    after = parked(login, flying, late=True)
    assert after.login.accounts == (evolve(login.accounts[0], body=b"?"),)
    assert [type(it) for it in after.events] == [AccountUnreadable]


@pytest.mark.parametrize("code_for", ["question-1", None])
@pytest.mark.parametrize("ending", [None, Unknown("UnreadableReply"), "the code was wrong"])
def test_a_late_reply_to_a_code_closes_its_question(code_for: str | None, ending: Unknown | str | None) -> None:
    """Its tokens went out with the code, or to be asked anew: another code would send them a second time."""
    login = made()
    login = park_with_question(login, attempt(login, 1), question("question-1", "r-1"), context(1)).login
    flying = attempt(login, 2, code_for=code_for)
    if isinstance(ending, Unknown):
        login = apply_failure(login, flying, ending, context(2)).login
    elif ending is not None:
        login = reopen_question(login, flying)
    assert login.accounts[0].state is AccountState.MFA_REQUIRED
    account = parked(login, flying, late=True).login.accounts[0]
    assert (account.state, account.body, account.pending, account.due_at) == (PARKED, b"?", None, None)


def test_a_late_reply_to_a_code_leaves_the_next_question_open() -> None:
    """The code brought another question, whose continuation may hold a live token."""
    login = made()
    login = park_with_question(login, attempt(login, 1), question("question-1", "r-1"), context(1)).login
    flying = attempt(login, 2, code_for="question-1")
    login = park_with_question(login, flying, question("question-2", "r-2"), context(2)).login
    after = parked(login, flying, late=True).login
    assert after.accounts == (evolve(login.accounts[0], body=b"?"),)


def test_a_late_reply_to_a_login_made_anew_is_of_nobody() -> None:
    """The person has logged in since: another account epoch, or another row."""
    login = made()
    flying = attempt(login, 1)
    for other in (made(), changed(login, epoch="another")):
        after = parked(other, flying, late=True)
        assert (after.login, after.events) == (other, ())


def test_a_late_reply_adds_to_what_is_kept() -> None:
    """The exchange's own reply could not be read either."""
    login = made()
    flying = attempt(login, 1)
    login = parked(login, flying, b"half a to").login
    assert parked(login, flying, b"stray", late=True).login.accounts[0].body == b"half a to\nstray"

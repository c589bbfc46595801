"""The order of writes: what is older never overwrites what is newer, whoever writes last."""

from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.keeper.events import AccountRefreshed
from mesh_refresh.keeper.rules.attempt import Unreadable
from mesh_refresh.keeper.rules.failure import Failed, Failure, Refused, Unknown, apply_failure
from mesh_refresh.keeper.rules.mfa import park_with_question
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.keeper.rules.unreadable import keep_unreadable
from mesh_refresh.logins import AccountState, Login, Reason
from tests.keeper.making import at, attempt, beside, brought, changed, context, made, question, success, tokens

FAILURES: list[Failure] = [
    Refused(),
    Refused(blamed=False),
    Unknown("ServerFailure"),
    Unknown("ServerFailure", may_resend=False),
    Failed("Locked", blamed=True),
    Failed("Throttled", blamed=False),
]


def renewed(login: Login, number: int, refresh: str, access: str, seconds: float = 0, **more: Any) -> Login:
    """After the attempt of that number at the first account, which was sent with what is stored."""
    fresh = tokens(refresh, access, login.accounts[0].tokens.account_id, got=seconds)
    return apply_success(
        login, attempt(login, number, seconds=seconds), success(brought(fresh)), context(seconds)
    ).login


def pair(login: Login, index: int = 0) -> tuple[str | None, str | None]:
    kept = login.accounts[index].tokens
    return kept.refresh_token, kept.access_token


def test_a_late_success_is_taken_up() -> None:
    """The lease is long gone, but the token that it spent is still the stored one."""
    login = made()
    flying = attempt(login, 1)
    login = apply_failure(login, attempt(login, 2), Refused(), context(5)).login
    after = apply_success(login, flying, success(brought(tokens("r-1", "a-1"))), context(500))
    assert pair(after.login) == ("r-1", "a-1")
    assert [type(it) for it in after.events] == [AccountRefreshed]


def test_a_late_success_brings_a_parked_account_back() -> None:
    """Refused twice meanwhile, because the late one had spent its token."""
    login = made()
    flying = attempt(login, 1)
    for number in (2, 3):
        login = apply_failure(login, attempt(login, number), Refused(), context(number * 200)).login
    assert login.state is AccountState.RECONNECT_REQUIRED
    after = apply_success(login, flying, success(brought(tokens("r-1", "a-1"))), context(900)).login
    account = after.accounts[0]
    assert (account.state, account.reason, account.failures, account.refused_at) == (AccountState.ACTIVE, None, 0, None)


@pytest.mark.parametrize("rotates", [True, False])
def test_a_late_older_success_never_overwrites_a_newer_pair(rotates: bool) -> None:
    """Also where the broker does not rotate, and so the spent token is stored for ever."""
    login = made()
    flying = attempt(login, 1)
    newer = renewed(login, 2, "r-2" if rotates else "r-0", "a-2", 100)
    outcome = success(brought(tokens("r-1" if rotates else "r-0", "a-1")))
    after = apply_success(newer, flying, outcome, context(200))
    assert after.login.accounts == newer.accounts
    assert after.events == ()


def test_a_newer_success_overwrites_an_older_one_that_came_first() -> None:
    """By its number, whoever holds the lease now."""
    login = made()
    second = attempt(login, 2)
    login = renewed(login, 1, "r-1", "a-1")
    after = apply_success(login, second, success(brought(tokens("r-2", "a-2"))), context(9)).login
    assert pair(after) == ("r-2", "a-2")


@pytest.mark.parametrize("rotates", [True, False])
def test_a_success_that_is_read_again_from_the_spool(rotates: bool) -> None:
    """It is known: neither is anything told, nor does what came since come to nothing."""
    login = made()
    first = attempt(login, 1)
    outcome = success(brought(tokens("r-1" if rotates else "r-0", "a-1")))
    login = apply_success(login, first, outcome, context(1)).login
    sent = apply_failure(login, attempt(login, 2), Unknown("ServerFailure"), context(50)).login
    for since in (login, sent, apply_failure(login, attempt(login, 2), Refused(), context(50)).login):
        again = apply_success(since, first, outcome, context(60))
        assert again.login.accounts == since.accounts
        assert again.events == ()


def test_absent_is_not_erased() -> None:
    """An entry of nothing but an access token, of nothing but a refresh token, and of nothing at all."""
    login = made(tokens(account="A", trade_token="t", metadata={"a": "b"}, ref=7), tokens("r-b", "a-b", "B"))
    given = [(tokens(None, "a-1", "B"), False), (tokens("r-1", None, "B"), False), (tokens(None, None, "B"), False)]
    for fresh, own in [*given, (tokens(None, "a-1", "B"), True)]:
        sent = attempt(login, 1)
        entries = success(brought(evolve(login.accounts[0].tokens, access_token="a-9")), beside(fresh, own=own))
        after = apply_success(login, sent, entries, context(1)).login
        assert pair(after, 1) == ("r-b", fresh.access_token or "a-b")
        kept = after.accounts[0].tokens
        assert (kept.refresh_token, kept.trade_token, kept.metadata, kept.ref) == ("r-0", "t", {"a": "b"}, 7)


def test_a_lifetime_stays_with_its_token() -> None:
    """A new access token without one has none known; the refresh token keeps its own."""
    ends = at(99_999)
    login = made(tokens(account="A"), tokens("r-b", "a-b", "B", refresh_token_expires_at=ends))
    fresh = tokens(None, "a-1", "B", expires_at=None)
    after = apply_success(login, attempt(login, 1), success(beside(fresh, own=False)), context(1)).login
    kept = after.accounts[1].tokens
    assert (kept.expires_at, kept.refresh_token_expires_at) == (None, ends)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_of_what_is_stored_no_more(failure: Failure) -> None:
    """A refusal counts only if the refused token is still the stored one, and so does everything else."""
    login = made()
    flying = attempt(login, 1)
    newer = renewed(login, 2, "r-2", "a-2")
    assert apply_failure(newer, flying, failure, context(5)).login == newer
    assert apply_failure(newer, flying, failure, context(5)).events == ()


@pytest.mark.parametrize("failure", FAILURES)
def test_a_login_made_anew(failure: Failure) -> None:
    """It was removed and added: what was sent for the old row is of nobody, even with the same tokens."""
    old, login = made(), made()
    flying = attempt(old, 1)
    assert apply_failure(login, flying, failure, context(5)).login == login
    assert apply_success(login, flying, success(brought(tokens("r-1"))), context(5)).login == login
    assert park_with_question(login, flying, question(), context(5)).login == login
    assert keep_unreadable(login, flying, Unreadable(b"?"), context(5)).login == login


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_that_is_written_twice_counts_once(failure: Failure) -> None:
    """A store that raises may have done it: the second look must not park, count or tell again."""
    login = made()
    flying = attempt(login, 1)
    once = apply_failure(login, flying, failure, context(5)).login
    twice = apply_failure(once, flying, failure, context(5))
    assert twice.login.accounts == once.accounts
    assert twice.events == ()


def test_an_account_that_joined_meanwhile() -> None:
    """By an older attempt: the newer one's tokens are taken, for the older one's may be spent."""
    login = made(tokens(account="A"))
    first, second = attempt(login, 1), attempt(login, 2)

    def outcome(number: int) -> Any:
        mine = tokens(f"r-{number}", f"a-{number}", "A")
        return success(brought(mine), beside(tokens(f"c-{number}", f"ac-{number}", "C")))

    login = apply_success(login, first, outcome(1), context(1)).login
    assert pair(login, 1) == ("c-1", "ac-1")
    assert pair(apply_success(login, second, outcome(2), context(2)).login, 1) == ("c-2", "ac-2")
    late = apply_success(made(tokens(account="A")), second, outcome(2), context(2)).login
    assert len(late.accounts) == 1, "another login"


def test_an_unreadable_reply_is_kept_once() -> None:
    """It parks the account with its body; a newer success, or the same reply again, is not undone by it."""
    login = made()
    flying = attempt(login, 1)
    parked = keep_unreadable(login, flying, Unreadable(b"half a to"), context(5))
    account = parked.login.accounts[0]
    assert (account.state, account.body, account.reason) == (AccountState.UNREADABLE, b"half a to", Reason.UNREADABLE)
    assert account.tokens == login.accounts[0].tokens
    again = keep_unreadable(parked.login, flying, Unreadable(b"half a to"), context(9))
    assert (again.login, again.events) == (parked.login, ())
    for refresh in ("r-0", "r-2"):
        newer = renewed(login, 2, refresh, "a-2")
        assert keep_unreadable(newer, flying, Unreadable(b"half a to"), context(9)).login.accounts == newer.accounts


def test_an_unreadable_reply_parks_who_shares_the_token() -> None:
    """And who was renewed by the same reply as that; nobody else: sending it could end the one inside."""
    login = made(tokens(account="A"), tokens(account="B"), tokens("r-c", account="C"))
    login = changed(login, 2, produced_by=3)
    after = keep_unreadable(login, attempt(login, 4), Unreadable(b"?"), context(1)).login
    states = [it.state for it in after.accounts]
    assert states == [AccountState.UNREADABLE, AccountState.UNREADABLE, AccountState.ACTIVE]
    assert [it.body for it in after.accounts] == [b"?", None, None]


def test_a_success_ends_everything_that_was_wrong() -> None:
    """Failures, waits and warnings; and the event says what it ended. A body stays: it may hold another token."""
    login = changed(made(), failures=7, failing_since=at(), last_error="Locked", refused_at=at(), sibling_renewed=True)
    login = changed(login, unknown_since=at(), retry_not_before=at(50), behind=True, display_message="!", body=b"?")
    after = apply_success(login, attempt(login, 1), success(brought(tokens("r-1", "a-1"))), context(60))
    account = after.login.accounts[0]
    left = (
        account.failing_since,
        account.last_error,
        account.refused_at,
        account.unknown_since,
        account.retry_not_before,
    )
    assert left == (None,) * 5
    assert (account.failures, account.sibling_renewed, account.behind) == (0, False, False)
    assert (account.body, account.display_message) == (b"?", None)
    assert [getattr(it, "failures", None) for it in after.events] == [7]


@pytest.mark.parametrize("echo", [False, True])
def test_a_success_that_rotates_nothing_never_puts_the_spent_token_back(echo: bool) -> None:
    """Two attempts sent one token, and the first has brought its successor: the second brings an access token only.

    Also where its reply repeats the token that was sent, for the account asked for and for another one.
    """
    login = made(tokens(account="A"), tokens("r-b", "b-0", "B"))
    first, second = attempt(login, 1), attempt(login, 2)
    both = brought(tokens("r-1", "a-1", "A", got=1)), beside(tokens("r-b1", "b-1", "B", got=1))
    login = apply_success(login, first, success(*both), context(1)).login
    late = brought(tokens("r-0", "a-2", "A", got=2), own=echo), beside(tokens("r-b", "b-2", "B", got=2), own=echo)
    after = apply_success(login, second, success(*late), context(2)).login
    assert [pair(after, index) for index in (0, 1)] == [("r-1", "a-2"), ("r-b1", "b-2")]


@pytest.mark.parametrize("refresh", ["r-0", None])
def test_a_question_that_rotates_nothing_never_puts_the_spent_token_back(refresh: str | None) -> None:
    """The same where the second reply asks for a code."""
    login = made()
    second = attempt(login, 2)
    login = renewed(login, 1, "r-1", "a-1")
    after = park_with_question(login, second, question("question-1", refresh), context(5)).login
    assert after.state is AccountState.MFA_REQUIRED
    assert pair(after) == ("r-1", "a-1")


def test_those_who_shared_the_spent_token_tell_its_successor() -> None:
    """The account asked for was given no refresh token, but those that shared its old one were: it takes theirs."""
    login = made(tokens(account="A"), tokens("r-0", "b-0", "B"), tokens("r-c", "c-0", "C"))
    entries = (
        brought(tokens("r-0", "a-1", "A"), own=False),
        beside(tokens("r-1", "b-1", "B")),
        beside(tokens("r-c1", "c-1", "C")),
    )
    after = apply_success(login, attempt(login, 1), success(*entries), context(1)).login
    assert [it.tokens.refresh_token for it in after.accounts] == ["r-1", "r-1", "r-c1"]
    others = apply_success(login, attempt(login, 1), success(entries[0], entries[2]), context(1)).login
    assert [it.tokens.refresh_token for it in others.accounts] == ["r-0", "r-0", "r-c1"]

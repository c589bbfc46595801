"""What an account has of each field after an `add`: of the given tokens, of the account's past, of a sibling."""

from datetime import datetime
from itertools import permutations
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.keeper.rules.add import Added, Terms, new_login, with_tokens
from mesh_refresh.keeper.rules.schedule import chance_of
from mesh_refresh.logins import AccountState
from tests.keeper.making import HOUR, POLICY, START, at, changed, context, made, tokens
from tests.keeper.rules.test_add import PARKED, add, rotated


@pytest.mark.parametrize(
    ("done", "is_changed"),
    [
        (Added("u"), False),
        (Added("u", unchanged=("A",)), False),
        (Added("u", new=(None,)), True),
        (Added("u", replaced=("A",)), True),
        (Added("u", woken=("A",)), True),
    ],
)
def test_whether_anything_was_written(done: Added, is_changed: bool) -> None:
    assert done.changed is is_changed


def test_every_field_of_the_given_tokens_wins() -> None:
    """Over one that the account has."""
    old = tokens(
        account="A", mesh_account_id="M", trade_token="t", metadata={"a": "b"}, ref=7, refresh_token_expires_at=at(9)
    )
    fresh = tokens(
        "r-new", "a-new", "A", mesh_account_id="M2", trade_token="t2", metadata={}, ref=8, token_id="id-2",
        refresh_token_expires_at=at(99), got=50,
    )  # fmt: skip
    after = add(made(old), fresh)[0].accounts[0].tokens
    assert after == fresh


def test_every_field_that_the_given_tokens_lack_stays() -> None:
    """Of the account, which is known by its credential."""
    old = tokens(
        account="A", mesh_account_id="M", trade_token="t", metadata={"a": "b"}, ref=7, refresh_token_expires_at=at(9e5)
    )
    after = add(made(old), tokens(None, "a-new"))[0].accounts[0].tokens
    assert (after.account_id, after.mesh_account_id, after.ref) == ("A", "M", 7)
    assert (after.trade_token, after.metadata) == ("t", {"a": "b"})
    assert (after.refresh_token, after.refresh_token_expires_at) == ("r-0", at(9e5))


def test_a_woken_account_takes_the_end_of_the_token_that_it_keeps() -> None:
    """The given end where it is given with the stored token, else the stored one."""
    parked = changed(rotated(made(tokens(refresh_token_expires_at=at(5_000))), 1), **PARKED)
    ends = parked.accounts[0].tokens.refresh_token_expires_at
    old = add(parked, tokens("r-0", "a-new", refresh_token_expires_at=at(9_000)))[0].accounts[0].tokens
    assert (old.refresh_token, old.refresh_token_expires_at) == ("r-1", ends)
    same = add(parked, tokens("r-1", "a-new", refresh_token_expires_at=at(9_000)))[0].accounts[0].tokens
    assert (same.refresh_token, same.refresh_token_expires_at) == ("r-1", at(9_000))


def test_tokens_without_a_credential_are_others_each_time() -> None:
    """Nothing is in flight with them, and nothing is known of them."""
    login = changed(made(tokens(None)), settled_by=7)
    after = add(login, tokens(None, "a-new"))[0].accounts[0]
    assert after.epoch != login.accounts[0].epoch
    assert after.unknown_since is None
    assert after.renewed_at is None


def test_when_the_refresh_token_came_and_what_its_siblings_did_stays() -> None:
    login = changed(made(), renewed_at=at(-500), sibling_renewed=True)
    after = add(login, tokens(None, "a-new", got=100))[0].accounts[0]
    assert (after.renewed_at, after.sibling_renewed) == (at(-500), True)
    woken = add(changed(login, **PARKED), tokens(access="a-new", got=100))[0].accounts[0]
    assert (woken.renewed_at, woken.sibling_renewed, woken.refused_at) == (at(-500), False, None)


def test_a_login_of_a_broker_that_is_left_alone_stays_with_its_callers() -> None:
    """Also where its credential was here before."""
    terms = Terms(on_demand=frozenset({"coinbase"}))
    login = changed(made(), resend_not_before=at(900))
    after = with_tokens(login, [tokens(None, "a-new", got=100)], context(100), terms)[0].accounts[0]
    assert (after.needs_code, after.due_at) == (True, None)
    held = new_login("user-7", "row", (tokens(None),), context(), terms)[0].accounts[0]
    assert (held.needs_code, held.due_at) == (False, at(3600)), "it is never exchanged"


def test_what_never_ends_is_never_due() -> None:
    """Also where its credential has an unknown outcome behind it."""
    login = changed(made(tokens(expires_at=None)), resend_not_before=at(900))
    assert add(login, tokens(None, "a-new", expires_at=None, got=100))[0].accounts[0].due_at is None


def test_a_token_of_another_account_does_not_name_it() -> None:
    """Two ids are two accounts, whichever token comes for them."""
    after, done = add(made(tokens(account="A")), tokens(account="B"))
    assert done.new == ("B",)
    assert len(after.accounts) == 2


def test_a_login_without_accounts_takes_tokens_without_a_name() -> None:
    after, done = add(evolve(made(), accounts=()), tokens())
    assert (done.new, len(after.accounts)) == ((None,), 1)


@pytest.mark.parametrize(("which", "spender"), [*permutations(range(3), 2)])
def test_a_token_that_a_sibling_has_spent_is_replaced_by_what_came_after(which: int, spender: int) -> None:
    """Whichever account it is given for, and whichever of the others had it; what is known of it comes along."""
    login = made(*(tokens(f"r-{name}", None, name) for name in "ABC"))
    spent = f"r-{'ABC'[spender]}"
    known = login.accounts[spender].known
    newer = tokens("r-newer", None, "ABC"[spender], refresh_token_expires_at=at(9_000))
    login = changed(login, spender, tokens=newer, known=known, produced_by=5, settled_by=6, failed_by=4)
    after = add(login, tokens(spent, "a-new", "ABC"[which], got=100))[0].accounts[which]
    assert (after.tokens.refresh_token, after.tokens.refresh_token_expires_at) == ("r-newer", at(9_000))
    assert (after.produced_by, after.settled_by, after.failed_by) == (5, 6, 4)
    assert after.tokens.access_token == "a-new"


def test_an_account_that_has_the_very_token_goes_before_one_that_had_it() -> None:
    """Of two siblings."""
    login = made(tokens("r-spent", None, "A"), tokens("r-now", None, "B"))
    login = changed(login, 0, tokens=tokens("r-newer", None, "A"), settled_by=1)
    login = changed(login, 1, tokens=tokens("r-spent", None, "B"), settled_by=2)
    after = add(login, tokens("r-spent", "a-c", "C"))[0].accounts[2]
    assert (after.tokens.refresh_token, after.settled_by) == ("r-spent", 2)


def test_a_sibling_that_has_no_credential_any_more_passes_nothing_on() -> None:
    login = made(tokens("r-spent", "a-0", "A"))
    login = changed(login, 0, tokens=tokens(None, "a-0", "A"), settled_by=7)
    after = add(login, tokens("r-spent", "a-b", "B"))[0].accounts[1]
    assert (after.tokens.refresh_token, after.settled_by) == ("r-spent", 0)


def test_waits_of_the_past_hold_back_what_is_due_sooner() -> None:
    """The latest of them counts."""
    for waits in ({"resend_not_before": at(90_000)}, {"retry_not_before": at(90_000)}):
        login = changed(made(), **waits)
        assert add(login, tokens(None, "a-new", got=100))[0].accounts[0].due_at == at(90_000)
    early = changed(made(), resend_not_before=at(1), retry_not_before=at(2))
    due = add(early, tokens(None, "a-new", got=100))[0].accounts[0].due_at
    assert due is not None
    assert at(2) < due < at(3_700)


def test_an_account_that_is_woken_forgets_why_it_was_parked() -> None:
    login = changed(made(), **PARKED, retry_not_before=at(90_000), failures=3, last_error="TokensRefused")
    after = add(login, tokens(access="a-new", got=100))[0].accounts[0]
    assert (after.state, after.reason, after.parked_at) == (AccountState.ACTIVE, None, None)
    assert (after.retry_not_before, after.failures, after.last_error) == (None, 0, None)
    assert after.due_at is not None
    assert START < after.due_at <= at(100) + HOUR


def test_when_tokens_were_obtained() -> None:
    """As they say, or now: their lifetime needs a beginning. The refresh token came then, too."""
    given = tokens(obtained_at=None, expires_at=at(3600))
    account = made(given, seconds=7).accounts[0]
    assert (account.tokens.obtained_at, account.renewed_at) == (at(7), at(7))
    account = made(tokens(got=3), seconds=7).accounts[0]
    assert (account.tokens.obtained_at, account.renewed_at) == (at(3), at(3))
    assert made(tokens(None)).accounts[0].renewed_at is None


def test_when_a_new_account_is_due() -> None:
    """At once, unless callers alone exchange it; and spread only where it is asked for, and due."""

    def due(*given: Tokens, **terms: Any) -> datetime | None:
        return new_login("user-7", "row", given, context(), Terms(**terms))[0].accounts[0].due_at

    assert due(tokens(), at_once=True) == START
    assert due(tokens(), at_once=True, on_demand=frozenset({"*"})) is None
    assert due(tokens(access=None)) == START
    assert due(tokens(expires_at=None), over=HOUR) is None
    overdue = tokens(got=-7200)
    soft = POLICY.refresh_fraction * HOUR
    assert due(overdue) == at(-3600) - soft * (1 + POLICY.spread * chance_of("user-7", 0))
    assert due(overdue, over=HOUR) == START + HOUR * chance_of("user-7", 0)


def test_an_account_is_told_by_either_id() -> None:
    login, done = new_login("user-7", "row", (tokens(mesh_account_id="M"), tokens("r-1", account="B")), context())
    assert done.new == ("M", "B")
    assert len(login.accounts) == 2

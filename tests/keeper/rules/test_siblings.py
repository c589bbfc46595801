"""Accounts of one login that share tokens in each way: none loses its own, and they never renew each other for ever."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.keeper.rules.attempt import Success
from mesh_refresh.keeper.rules.select import NotBefore, answer_tokens, choose_due
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.logins import Account, AccountState, Login
from tests.keeper.making import (
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

Broker = Callable[[Login, Account, int, float], Success]


def fresh(account: Account, refresh: str | None, number: int, seconds: float) -> Tokens:
    name = account.tokens.account_id
    return tokens(refresh, f"a-{name}-{number}", name, got=seconds)


def all_of_one_pair(login: Login, asked: Account, number: int, seconds: float) -> Success:
    entries = [(brought if it is asked else beside)(fresh(it, f"r-{number}", number, seconds)) for it in login.accounts]
    return success(*entries)


def the_one_asked_for(login: Login, asked: Account, number: int, seconds: float) -> Success:
    return success(brought(fresh(asked, f"r-{number}", number, seconds)))


def all_but_the_one_asked_for(login: Login, asked: Account, number: int, seconds: float) -> Success:
    return success(*(beside(fresh(it, f"r-{number}", number, seconds)) for it in login.accounts if it is not asked))


def nothing_but_a_refresh_token(login: Login, asked: Account, number: int, seconds: float) -> Success:
    kept = evolve(asked.tokens, refresh_token=f"r-{number}", obtained_at=at(seconds))
    return success(brought(kept, access=False))


def a_stranger(login: Login, asked: Account, number: int, seconds: float) -> Success:
    return success(beside(tokens(f"r-{number}", f"z-{number}", "Z", got=seconds)))


def strangers(login: Login, asked: Account, number: int, seconds: float) -> Success:
    return success(
        *(beside(tokens(f"r-{name}-{number}", f"z-{number}", name, got=seconds)) for name in ("Y", "Z")),
    )


def another_without_rotation(login: Login, asked: Account, number: int, seconds: float) -> Success:
    """An access token of one other account; no refresh token."""
    other = next(it for it in login.accounts if it is not asked)
    return success(beside(fresh(other, None, number, seconds), own=False))


def an_echo_for_another(login: Login, asked: Account, number: int, seconds: float) -> Success:
    """The same with the refresh token that was sent."""
    other = next(it for it in login.accounts if it is not asked)
    return success(beside(fresh(other, asked.tokens.refresh_token, number, seconds)))


def exchanges(login: Login, broker: Broker, span: float = 3600) -> tuple[Login, list[tuple[float, str | None]]]:
    """What the loop does of its own accord for so long, one exchange after another: when, and which account."""
    done: list[tuple[float, str | None]] = []
    moment = 1.0
    while moment < span:
        found = choose_due(login, context(moment))
        if found is not None:
            number = len(done) + 1
            done.append((moment, found.account.tokens.account_id))
            sent = attempt(login, number, found.account, seconds=moment)
            login = apply_success(login, sent, broker(login, found.account, number, moment), context(moment)).login
        moment += 1.0
    return login, done


def three(**shared: str) -> Login:
    """Three accounts, all of them due, with one refresh token or one each."""
    refresh = shared.get("refresh")
    login = made(*(tokens(refresh or f"r-{name}", f"a-{name}", name) for name in ("A", "B", "C")))
    for index in range(3):
        login = changed(login, index, due_at=START)
    return login


def test_one_exchange_for_all() -> None:
    """Where the reply names everybody: one exchange in the round."""
    login, done = exchanges(three(refresh="r-0"), all_of_one_pair, 1800)
    assert done == [(1.0, "A")]
    assert {it.tokens.refresh_token for it in login.accounts} == {"r-1"}


def test_each_once_where_replies_name_one() -> None:
    """All share a token, each needs an access token of its own: one exchange each in the round, and no more."""
    login, done = exchanges(three(refresh="r-0"), the_one_asked_for, 1800)
    assert sorted(name or "" for _, name in done) == ["A", "B", "C"]
    assert [moment for moment, _ in done] == [1, 11, 21]
    assert {it.tokens.refresh_token for it in login.accounts} == {"r-3"}
    assert [it.tokens.access_token for it in login.accounts] == ["a-A-1", "a-B-2", "a-C-3"]


def test_a_day_of_rounds() -> None:
    """Hour by hour: about as many exchanges as accounts and lifetimes ask for."""
    _, done = exchanges(three(refresh="r-0"), the_one_asked_for, 12 * 3600)
    assert 3 * 12 <= len(done) <= 3 * 12 * 1.7


NOT_WHAT_WAS_ASKED_FOR: list[Broker] = [
    all_but_the_one_asked_for,
    another_without_rotation,
    an_echo_for_another,
    nothing_but_a_refresh_token,
    a_stranger,
    strangers,
]


@pytest.mark.parametrize("broker", NOT_WHAT_WAS_ASKED_FOR)
@pytest.mark.parametrize("needs_code", [False, True])
@pytest.mark.parametrize("shared", [{"refresh": "r-0"}, {}])
def test_who_asks_waits_where_a_reply_does_not_bring_what_was_asked_for(
    broker: Broker, needs_code: bool, shared: dict[str, str]
) -> None:
    """Whatever it brings instead: the account is not sent again at once, and a reply written twice counts once."""
    login = changed(three(**shared), 0, needs_code=needs_code, failing_since=at(-50), failures=2)
    login = changed(login, 0, tokens=evolve(login.accounts[0].tokens, expires_at=at(-1)))
    sent, came = attempt(login, 1), broker(login, login.accounts[0], 1, 0)
    once = apply_success(login, sent, came, context()).login
    account = once.accounts[0]
    found = answer_tokens(once, account, context())
    assert isinstance(found, NotBefore)
    assert found.at >= at(5)
    assert account.failures == 3
    assert account.failing_since == at(-50)
    assert (account.due_at is None) == account.needs_code
    assert apply_success(once, sent, came, context(1)).login.accounts == once.accounts


@pytest.mark.parametrize("broker", NOT_WHAT_WAS_ASKED_FOR)
@pytest.mark.parametrize("shared", [{"refresh": "r-0"}, {}])
def test_replies_that_never_bring_what_was_asked_for(broker: Broker, shared: dict[str, str]) -> None:
    """Nobody is exchanged for ever: it is paced as failures are."""
    _, done = exchanges(three(**shared), broker, 4 * 3600)
    for hour in range(4):
        number = sum(hour * 3600 <= moment < (hour + 1) * 3600 for moment, _ in done)
        assert number <= (45 if hour == 0 else 30)


def test_a_single_account_that_replies_never_name() -> None:
    """It takes the new refresh token all the same, and is tried more and more rarely."""
    login, done = exchanges(changed(made(tokens(account="A")), due_at=START), a_stranger, 3600)
    assert len(done) <= 15
    assert login.accounts[0].tokens.refresh_token == f"r-{len(done)}" or login.accounts[0].failures


def test_a_pair_each_is_left_alone() -> None:
    """An account with a token of its own keeps it, and is only marked."""
    login = three()
    after = apply_success(login, attempt(login, 1), the_one_asked_for(login, login.accounts[0], 1, 0), context()).login
    assert [it.tokens.refresh_token for it in after.accounts] == ["r-1", "r-B", "r-C"]
    assert [it.sibling_renewed for it in after.accounts] == [False, True, True]
    assert [it.due_at for it in after.accounts[1:]] == [at(10), at(10)]


def test_a_mark_of_what_was_before_is_not_made() -> None:
    """A late success of another account says nothing of tokens that came after it."""
    login = three()
    flying = attempt(login, 1)
    second = attempt(login, 2, 1)
    login = apply_success(login, second, success(brought(fresh(login.accounts[1], "r-b2", 2, 5))), context(5)).login
    late = apply_success(login, flying, success(brought(fresh(login.accounts[0], "r-a1", 1, 0))), context(9)).login
    assert [it.sibling_renewed for it in late.accounts] == [False, False, True]


def test_an_entry_without_a_refresh_token_of_its_own() -> None:
    """The client filled it up with the login's: a sibling's own is not overwritten by that, a shared one is."""
    login = made(tokens(account="A"), tokens(account="B"), tokens("r-c", "a-c", "C", refresh_token_expires_at=at(9999)))
    entries = (
        brought(tokens("r-1", "a-1", "A")),
        beside(tokens("r-1", "b-1", "B"), own=False),
        beside(tokens("r-1", "c-1", "C"), own=False),
    )
    after = apply_success(login, attempt(login, 1), success(*entries), context(1)).login
    assert [it.tokens.refresh_token for it in after.accounts] == ["r-1", "r-1", "r-c"]
    assert [it.tokens.access_token for it in after.accounts] == ["a-1", "b-1", "c-1"]
    assert after.accounts[2].tokens.refresh_token_expires_at == at(9999)


def test_a_sibling_logged_in_anew_while_its_exchange_was_out() -> None:
    """Its old tokens are nobody's, but the refresh token in the reply is the live one of those who shared it."""
    login = made(tokens(account="A"), tokens(account="B"))
    flying = attempt(login, 1, 1)
    login = changed(login, 1, epoch="another", tokens=tokens("r-new", "a-new", "B"))
    after = apply_success(login, flying, success(brought(tokens("r-1", "a-1", "B"))), context(5)).login
    assert [it.tokens.refresh_token for it in after.accounts] == ["r-1", "r-new"]
    assert after.accounts[1].tokens.access_token == "a-new"


def test_parked_siblings_come_back_with_the_token_they_shared() -> None:
    """What they were parked for has come to life again; one with a token of its own stays parked."""
    login = three(refresh="r-0")
    login = changed(login, 1, state=AccountState.RECONNECT_REQUIRED, due_at=None)
    login = changed(login, 2, state=AccountState.RECONNECT_REQUIRED, due_at=None, tokens=tokens("r-c", account="C"))
    after = apply_success(login, attempt(login, 1), the_one_asked_for(login, login.accounts[0], 1, 5), context(5)).login
    states = [it.state for it in after.accounts]
    assert states == [AccountState.ACTIVE, AccountState.ACTIVE, AccountState.RECONNECT_REQUIRED]


def test_what_is_spent_is_not_sent_again_where_no_successor_is_told() -> None:
    """Two others came with two tokens, and the account asked for with none: its own may be spent, so it waits."""
    login = changed(made(tokens(account="A")), due_at=START)
    after = apply_success(login, attempt(login, 1), strangers(login, login.accounts[0], 1, 0), context()).login
    assert len(after.accounts) == 3
    assert choose_due(after, context(119)) is None
    assert after.accounts[0].unknown_since is not None


def test_the_cap_of_a_wait_holds_for_who_has_failed_for_long() -> None:
    """The loop tries it once a day by then; somebody who insists waits for `Policy.resend_after_cap` at the most."""
    policy = evolve(context().policy, resend_after_cap=timedelta(hours=1))
    login = changed(made(tokens(account="A")), due_at=START, failures=9, failing_since=at(-30 * 24 * 3600))
    came = strangers(login, login.accounts[0], 1, 0)
    account = apply_success(login, attempt(login, 1), came, context(policy=policy)).login.accounts[0]
    assert account.resend_not_before is not None
    assert account.resend_not_before <= at(3600)
    assert account.due_at == account.retry_not_before
    assert account.retry_not_before is not None
    assert account.retry_not_before > at(20 * 3600)

"""A wall clock that was ahead, and was put back: no time of then holds anything up."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import asdict, evolve, fields

from mesh_refresh.keeper.rules.attempt import CodeWanted, Success
from mesh_refresh.keeper.rules.clock_skew import rewind_login, rewind_result
from mesh_refresh.keeper.rules.select import choose_due
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.keeper.runtime.writer import change_for
from mesh_refresh.logins import Account, AccountState, Login, Pending
from mesh_refresh.tokens import Tokens
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
    question,
    success,
    tokens,
)

pytestmark = pytest.mark.once

MFA = AccountState.MFA_REQUIRED
QUESTION = Pending("question-1", "the continuation", START)
YEARS = timedelta(days=3650)


def moments(value: object) -> list[datetime]:
    """Every time that is told in it."""
    if isinstance(value, datetime):
        return [value]
    if isinstance(value, list | tuple):
        return [moment for item in value for moment in moments(item)]
    if isinstance(value, Account | Login | Pending | Tokens):
        return [moment for it in fields(type(value)) for moment in moments(getattr(value, it.name))]
    return []


def test_the_clock_went_back() -> None:
    """Nobody knows how much time has passed: what is refreshed is due, and what is waited for is told anew."""
    login = evolve(made(tokens(got=3600)), changed_at=at(3700), succeeded_at=at(3650))
    login = changed(login, resend_not_before=at(3820), retry_not_before=at(3710))
    seen = rewind_login(login, at(100))
    one = seen.accounts[0]
    assert (one.due_at, one.resend_not_before, one.retry_not_before) == (at(100), at(220), at(110))
    assert seen.succeeded_at is None
    assert one.tokens.expires_at == at(3600), "an hour after it was obtained, as if that had been now"
    assert rewind_login(evolve(login, changed_at=at(220)), at(100)).accounts == login.accounts
    assert rewind_login(seen, at(100)) == seen
    assert seen.changed_at == at(100)


def test_the_clock_went_back_while_a_code_is_waited_for() -> None:
    """Siblings wait for minutes and no longer, also when those minutes began in the future."""
    login = made(tokens(account="A"), tokens("r-1", account="B"))
    login = changed(login, 1, state=MFA, pending=evolve(QUESTION, asked_at=at(36_000)))
    login = changed(evolve(login, changed_at=at(36_000)), needs_code=True, due_at=START)
    seen = rewind_login(login, at(100))
    assert choose_due(seen, context(700)) is not None


def test_parked_and_on_demand_accounts_after_the_clock_went_back() -> None:
    """They do not become due by that, and delayed ones are not exchanged before their time."""
    login = evolve(made(), changed_at=at(9999))
    for given in ({"due_at": None, "needs_code": True}, {"due_at": None, "state": MFA, "pending": QUESTION}):
        seen = rewind_login(changed(login, **given), START)
        assert choose_due(seen, context()) is None
        assert seen.accounts[0].due_at is None
    delayed = evolve(made(tokens(access=None, not_before=at(500))), changed_at=at(9999))
    assert choose_due(rewind_login(delayed, START), context()) is None


@pytest.mark.parametrize("ahead", [HOUR, 24 * HOUR, YEARS])
def test_no_time_of_a_clock_that_was_ahead_is_left(ahead: timedelta) -> None:
    """Whatever was written then: lifetimes go on from now, and nothing else is in the future."""
    then = START + ahead
    told: dict[str, Any] = {it.name: then for it in fields(Account) if it.type == datetime | None}
    given = tokens(got=ahead.total_seconds(), not_before=then, refresh_token_expires_at=then + HOUR)
    account = Account(given, pending=evolve(QUESTION, asked_at=then), **told)
    login = Login("a", "coinbase", (account,), round_at=then, succeeded_at=then, changed_at=then)
    seen = evolve(rewind_login(login, START), changed_at=None)
    assert max(moments(seen)) == START + HOUR, asdict(seen)
    assert seen.accounts[0].tokens.refresh_token_expires_at == START + HOUR


def test_what_was_told_before_the_clock_was_ahead_stays() -> None:
    """Only what is in the future was told by it."""
    login = evolve(made(tokens(refresh_token_expires_at=at(99_999))), changed_at=at(86_400), round_at=at(-5))
    seen = rewind_login(login, at(100))
    assert seen.round_at == at(-5)
    assert seen.accounts[0].tokens == login.accounts[0].tokens
    assert seen.accounts[0].renewed_at == login.accounts[0].renewed_at


def rounds_after(login: Login, policy_seconds: int) -> int:
    """How often the loop exchanges three accounts that share a token, where each reply names the one asked for."""
    done, moment = 0, 1.0
    while moment < policy_seconds:
        found = choose_due(login, context(moment))
        if found is not None:
            done += 1
            name = found.account.tokens.account_id
            came = success(brought(tokens(f"r-{done}", f"a-{done}", name, got=moment)))
            login = apply_success(
                login, attempt(login, done, found.account, seconds=moment), came, context(moment)
            ).login
        moment += 1.0
    return done


@pytest.mark.parametrize("ahead", [90, 3600, 10 * 86_400])
@pytest.mark.parametrize("behind", [False, True])
def test_siblings_do_not_renew_each_other_until_the_clock_is_right(ahead: float, behind: bool) -> None:
    """The round began when the clock was ahead, by little or by much; each account is exchanged once or twice."""
    login = made(*(tokens("r-0", f"a-{name}", name) for name in "ABC"))
    for index in range(3):
        login = changed(login, index, due_at=START, behind=behind)
    login = evolve(login, round_at=at(ahead), changed_at=at(ahead))
    assert rounds_after(rewind_login(login, at()), 1800) <= 6


def test_a_round_that_is_ahead_although_the_row_is_not() -> None:
    """It was written again since, by a clock that was right."""
    login = made(*(tokens("r-0", f"a-{name}", name) for name in "ABC"))
    for index in range(3):
        login = changed(login, index, due_at=START, behind=True)
    assert rounds_after(evolve(login, round_at=at(86_400), changed_at=at()), 1800) <= 6


@pytest.mark.parametrize("ahead", [HOUR, YEARS])
def test_a_reply_that_was_asked_for_when_the_clock_was_ahead(ahead: timedelta) -> None:
    """It is written when the clock is right: its lifetimes count from now, and not from a time that is to come."""
    login, seconds = made(tokens(account="A"), tokens(account="B")), ahead.total_seconds()
    sent = attempt(login, 1, seconds=seconds)
    ends = START + ahead + HOUR
    came = [
        kind(tokens("r-1", f"a-{name}", name, got=seconds, refresh_token_expires_at=ends))
        for kind, name in ((brought, "A"), (beside, "B"))
    ]
    after = change_for(sent, success(*came))(login, context(5)).login
    assert [it.tokens.expires_at for it in after.accounts] == [at(5) + HOUR] * 2
    assert [it.tokens.refresh_token_expires_at for it in after.accounts] == [at(5) + HOUR] * 2
    assert max(moments(after)) == at(5) + HOUR
    asked = evolve(question("question-1", "r-1", came[1]), refresh_token_expires_at=ends)
    parked = change_for(sent, asked)(login, context(5)).login
    assert max(moments(parked)) == at(5) + HOUR
    assert parked.accounts[0].tokens.refresh_token == "r-1"


def test_a_reply_in_time_is_taken_as_it_came() -> None:
    """Clocks of machines differ by so much."""
    login = made()
    sent, came = attempt(login, 1, seconds=100), success(brought(tokens("r-1", "a-1", got=100)))
    assert isinstance(came, Success)
    assert not isinstance(came, CodeWanted)
    assert rewind_result(sent, came, at()) == (sent, came)


def test_an_account_that_can_only_expire_does_so_at_the_end_of_its_tokens() -> None:
    """Those were obtained by a clock that was years ahead: the person is told when they end, and not in years."""
    alone = evolve(tokens(got=0), refresh_token=None, obtained_at=START + YEARS, expires_at=at(3600) + YEARS)
    account = evolve(made(alone).accounts[0], state=AccountState.NOT_REFRESHABLE, due_at=alone.expires_at)
    login = evolve(made(alone), accounts=(account,), changed_at=START + YEARS)
    seen = rewind_login(login, at(100)).accounts[0]
    assert seen.due_at == seen.tokens.expires_at == at(3700)


def test_a_reply_of_before_that_the_client_remembers_is_rewound_too() -> None:
    """The clock was put back between that reply and the attempt that is answered with it."""
    login = made(tokens())
    came = Success((brought(tokens("r-1", "a-1", got=HOUR.total_seconds())),), 0)
    sent, seen = rewind_result(attempt(login, 1, seconds=10), came, at(11))
    assert sent.begun_at == at(10)
    assert isinstance(seen, Success)
    assert seen.shared == 0
    assert seen.entries[0].tokens.obtained_at == at(11)
    assert seen.entries[0].tokens.expires_at == at(11) + HOUR

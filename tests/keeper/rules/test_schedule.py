"""When an account is due, and until when its tokens are handed out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.rules.schedule import (
    ONCE_A_DAY,
    backoff_until,
    chance_of,
    good_until,
    is_good,
    next_due,
    resend_not_before,
    respect_min_interval,
    wants_new_refresh_token,
)
from mesh_refresh.logins import Account, AccountState
from tests.examples import bounded
from tests.keeper.making import HOUR, POLICY, START, at, changed, made, tokens

LAST = datetime.max.replace(tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)


def account(seconds: float | None = 3600, **given: Any) -> Account:
    """An account whose access token lives so long."""
    ends = None if seconds is None else START + timedelta(seconds=seconds)
    return Account(tokens(expires_at=ends, **given), renewed_at=START)


def due(one: Account, chance: float = 0.0, policy: Policy = POLICY) -> datetime | None:
    return next_due(one, policy, chance=chance, now=START)


@pytest.mark.parametrize(
    ("life", "before"),
    [(5, 1), (60, 12), (3600, 720), (9000, 1800), (86_400, 1800), (30 * 86_400, 1800)],
)
def test_margins_for_seconds_and_for_days(life: int, before: int) -> None:
    """A fifth of the lifetime before its end, half an hour at the most; up to twice that by chance."""
    assert due(account(life)) == at(life - before)
    latest = due(account(life), chance=0.5)
    assert latest == at(life - before * 1.5)


@pytest.mark.parametrize(("life", "hard"), [(5, 0.25), (60, 3), (3600, 60), (86_400, 60)])
def test_the_hard_margin(life: int, hard: float) -> None:
    """An access token is handed out until a twentieth of its lifetime before its end, a minute at the most."""
    one = account(life).tokens
    assert good_until(one, POLICY) == at(life - hard)
    assert is_good(one, at(life - hard) - timedelta(microseconds=1), POLICY)
    assert not is_good(one, at(life - hard), POLICY)


def test_what_has_no_known_end() -> None:
    """It is good for ever and never due, but for `keep_alive`."""
    one = account(None)
    assert due(one) is None
    assert is_good(one.tokens, LAST, POLICY)
    alive = Policy(keep_alive=timedelta(days=10))
    assert due(one, 0.0, alive) == START + timedelta(days=10)
    assert due(one, 0.5, alive) == START + timedelta(days=9.5)
    refreshed = evolve(one, refreshed_at=at(3600))
    assert due(refreshed, 0.0, alive) == at(3600) + timedelta(days=10)


def test_keep_alive_does_not_put_off() -> None:
    """The earlier moment counts, whatever it comes from."""
    assert due(account(3600), 0.0, Policy(keep_alive=timedelta(days=10))) == at(2880)
    assert due(account(3600), 0.0, Policy(keep_alive=timedelta(minutes=10))) == at(600)


def test_tokens_that_begin_without_a_lifetime_have_the_cap() -> None:
    """Where it is not known when they were obtained, the margins are their caps."""
    one = Account(evolve(account(3600).tokens, obtained_at=None))
    assert due(one) == at(1800)
    assert good_until(one.tokens, POLICY) == at(3540)


def test_without_an_access_token_it_is_due_at_once() -> None:
    """Where there is nothing for the next call to Mesh; but a token id is something."""
    assert due(account(None, access=None)) == START
    assert due(account(None, access=None, token_id="id-1")) is None


def test_delayed_authentication() -> None:
    """What cannot be exchanged yet is due as soon as it can be."""
    assert due(account(None, access=None, not_before=at(86_400))) == at(86_400)
    assert due(account(600, not_before=at(86_400))) == at(86_400), "an access token does not bring it forward"


def test_the_refresh_tokens_own_end() -> None:
    """It counts too, and a new one is asked for; unless that is known to be of no use."""
    one = account(None, refresh_token_expires_at=START + timedelta(days=10))
    assert due(one) == START + timedelta(days=8)
    assert not wants_new_refresh_token(one, START, POLICY)
    assert wants_new_refresh_token(one, START + timedelta(days=8), POLICY)
    long = account(None, refresh_token_expires_at=START + timedelta(days=100))
    assert due(long) == START + timedelta(days=93)
    stuck = evolve(one, renewal_stuck=True)
    assert due(stuck) is None
    assert not wants_new_refresh_token(stuck, START + timedelta(days=9), POLICY)


@given(st.floats(0, 0.999), st.integers(1, 10**7), st.integers(1, 10**7))
@bounded(200)
def test_what_is_due_for_its_refresh_token_asks_for_a_new_one(chance: float, access: int, refresh: int) -> None:
    """Else it would be due again right after the exchange."""
    one = account(access, refresh_token_expires_at=at(refresh))
    moment = due(one, chance)
    assert moment is not None
    if moment < (due(evolve(one, renewal_stuck=True), chance) or LAST):
        assert wants_new_refresh_token(one, moment, POLICY)


def test_a_code_is_never_needed_at_night() -> None:
    """An account whose last refresh needed a code is never due by itself."""
    ends = {"refresh_token_expires_at": at(60)}
    assert due(evolve(account(60, **ends), needs_code=True), 0.0, Policy(keep_alive=HOUR)) is None


def test_without_a_refresh_token_its_end_is_when_it_is_looked_at() -> None:
    """It cannot be refreshed, only declared expired; without an end, never."""
    one = evolve(account(60, refresh=None), state=AccountState.NOT_REFRESHABLE)
    assert due(one) == at(60)
    assert due(evolve(account(None, refresh=None), state=AccountState.NOT_REFRESHABLE)) is None


def test_ten_thousand_logins_do_not_fall_due_in_one_second() -> None:
    """Added in one second with an hour to live, they are spread evenly over the 12 minutes of the margin."""
    moments = [made(login_id=f"user-{number}").accounts[0].due_at or START for number in range(10_000)]
    assert at(2160) < min(moments)
    assert max(moments) <= at(2880)
    seconds = [0] * 720
    for moment in moments:
        seconds[int((moment - at(2160)).total_seconds())] += 1
    assert max(seconds) <= 40, "13.9 a second on average"
    minutes = [sum(seconds[start : start + 60]) for start in range(0, 720, 60)]
    assert min(minutes) > 700
    assert max(minutes) < 970


def test_chance_differs_by_login_and_attempt() -> None:
    """Any text will do as an id, and the same question has the same answer."""
    numbers = [chance_of(login_id, number) for login_id in ("a", "b", "\0", "\ud800", "") for number in range(50)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 1 for number in numbers)
    assert chance_of("a", 7) == chance_of("a", 7)


def test_backing_off() -> None:
    """Doubled with each failure up to the cap, shortened by chance by half at the most."""
    waits = [
        (backoff_until(evolve(account(), failures=n), POLICY, now=START, chance=0.0) - START).total_seconds()
        for n in (1, 2, 3, 7, 8, 100, 10**6)
    ]
    assert waits == [10, 20, 40, 640, 900, 900, 900]
    assert backoff_until(evolve(account(), failures=1), POLICY, now=START, chance=0.999) > at(5)


def test_giving_up() -> None:
    """After a week of unbroken failure it is tried once a day."""
    failing = evolve(account(), failures=500, failing_since=START)
    week = START + POLICY.give_up_after
    assert backoff_until(failing, POLICY, now=week - timedelta(seconds=1), chance=0.0) < week + timedelta(minutes=15)
    assert backoff_until(failing, POLICY, now=week, chance=0.0) == week + ONCE_A_DAY


def test_settling() -> None:
    """The settling time is the least; a good access token makes it longer, the refresh token's end shorter."""
    assert resend_not_before(account(None), POLICY, now=START) == at(120)
    assert resend_not_before(account(60), POLICY, now=START) == at(120)
    assert resend_not_before(account(3600), POLICY, now=START) == at(3540)
    ends = {"refresh_token_expires_at": at(1000)}
    assert resend_not_before(account(3600, **ends), POLICY, now=START) <= at(1000)
    assert resend_not_before(account(3600, refresh_token_expires_at=at(10)), POLICY, now=START) == at(120)


def test_after_a_success_nothing_is_due_for_a_while() -> None:
    """`min_interval` holds for every account of the login, but not for what only expires."""
    login = evolve(made(tokens(account="A"), tokens("r-1", account="B")), succeeded_at=at(100))
    login = changed(changed(login, 0, due_at=at(50)), 1, due_at=None)
    assert [it.due_at for it in respect_min_interval(login, POLICY).accounts] == [at(110), None]
    assert respect_min_interval(login, Policy(min_interval=timedelta())) is login
    expiring = changed(login, 0, state=AccountState.NOT_REFRESHABLE)
    assert respect_min_interval(expiring, POLICY).accounts[0].due_at == at(50)


def test_the_ends_of_the_calendar() -> None:
    """Dates that nobody means overflow nowhere."""
    for ends in (FIRST, LAST):
        for got in (FIRST, LAST):
            extreme = tokens(expires_at=ends, obtained_at=got, refresh_token_expires_at=ends)
            one = Account(extreme, renewed_at=got, failures=5, failing_since=FIRST)
            for moment in (FIRST, START, LAST):
                for chance in (0.0, 0.999):
                    next_due(one, Policy(keep_alive=HOUR), chance=chance, now=moment)
                    backoff_until(one, POLICY, now=moment, chance=chance)
                resend_not_before(one, POLICY, now=moment)
                is_good(extreme, moment, POLICY)
                wants_new_refresh_token(one, moment, POLICY)

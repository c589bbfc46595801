"""A policy is refused where it makes no sense, and never shows a surprise later."""

import math
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve, fields

from mesh_refresh import InvalidRequest
from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.limits.limiter import Limiter
from mesh_refresh.keeper.rules.schedule import next_due
from mesh_refresh.keeper.rules.select import answer_refresh, answer_tokens, choose_due, postpone
from mesh_refresh.logins import Pending
from tests.keeper.making import at, changed, context, made, tokens

SPANS = [it.name for it in fields(Policy) if isinstance(it.default, timedelta)]
MAY_BE_ZERO = {"min_interval", "resend_after", "confirm_after", "max_wait", "refresh_before", "hard_margin", "drain"}
FRACTIONS = ["refresh_fraction", "hard_fraction", "refusal_share"]
COUNTS = ["concurrency", "concurrency_each", "unknown_run", "unreadable_run", "refusal_logins", "event_queue"]
RATES = ["rate", "rate_each", "spread"]


def policy_of(name: str, value: Any) -> Policy:
    given: dict[str, Any] = {name: value}
    return Policy(**given)


def refused(**given: Any) -> None:
    with pytest.raises(InvalidRequest, match="Policy"):
        Policy(**given)


def test_defaults_are_accepted() -> None:
    """Nobody needs to say anything, and the optional bounds are off."""
    policy = Policy()
    assert (policy.keep_alive, policy.concurrency_each, policy.rate, policy.rate_each) == (None,) * 4


@pytest.mark.parametrize("name", [*SPANS, "keep_alive"])
def test_spans(name: str) -> None:
    """A span is a timedelta, not negative, and longer than nothing wherever nothing would make no sense."""
    for wrong in (5, 5.0, "5", timedelta(seconds=-1), timedelta(microseconds=-1)):
        refused(**{name: wrong})
    if name not in MAY_BE_ZERO:
        refused(**{name: timedelta()})
    elif name != "refresh_before":
        assert getattr(policy_of(name, timedelta()), name) == timedelta()


@pytest.mark.parametrize("name", FRACTIONS)
def test_fractions(name: str) -> None:
    """A fraction is a number from 0 to 1."""
    for wrong in (-0.1, 1.1, math.nan, math.inf, "0.5", None, timedelta(1)):
        refused(**{name: wrong})


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    """A count is a whole number above zero: True and 2.0 are none."""
    for wrong in (0, -1, 2.0, True, "2", math.inf):
        refused(**{name: wrong})


@pytest.mark.parametrize("name", RATES)
def test_rates(name: str) -> None:
    """A rate is a finite number: with any other the bound would be none, or the loop would end in an error."""
    for wrong in (-1, "2", math.nan, math.inf, True):
        refused(**{name: wrong})
    if name != "spread":
        refused(**{name: 0})
    assert getattr(policy_of(name, 0.5), name) == 0.5


def test_a_spread_that_no_date_can_bear() -> None:
    """A margin times this would overflow."""
    refused(spread=1e300, refresh_fraction=1e-305, hard_fraction=0)


def test_a_process_that_reports_is_not_silent() -> None:
    """It counts as silent after a minute."""
    refused(report_every=timedelta(seconds=31))
    assert Policy(report_every=timedelta(seconds=30)).report_every == timedelta(seconds=30)


def test_the_hard_margin_is_the_lesser_one() -> None:
    """What is not handed out any more must have been due before."""
    refused(hard_fraction=0.2)
    refused(hard_fraction=0.3, refresh_fraction=0.25)
    refused(hard_margin=timedelta(minutes=31))
    refused(refresh_before=timedelta())
    Policy(refresh_before=timedelta(), hard_margin=timedelta())


@pytest.mark.parametrize(("fraction", "spread"), [(0.9, 1.0), (0.5, 1.0), (0.2, 4.0), (1.0, 0.0)])
def test_margins_as_long_as_the_lifetime(fraction: float, spread: float) -> None:
    """With these, fresh tokens would be due at once, for ever: that is refused."""
    refused(refresh_fraction=fraction, spread=spread)


def test_no_accepted_policy_makes_fresh_tokens_due() -> None:
    """However odd the margins that are accepted are: what has just been obtained is not due."""
    account = made(tokens(refresh_token_expires_at=at(7200))).accounts[0]
    for fraction, spread in [(0.2, 1.0), (0.45, 1.0), (0.9, 0.1), (0.1, 8.0)]:
        policy = Policy(refresh_fraction=fraction, spread=spread, refresh_before=timedelta(days=9))
        due = next_due(account, policy, chance=0.999, now=at())
        assert due is not None
        assert due > at()


@pytest.mark.parametrize(
    "name", ["mfa_wait", "min_interval", "resend_after", "confirm_after", "give_up_after", "keep_alive", "backoff_cap"]
)
def test_for_ever(name: str) -> None:
    """The longest span there is means never, and overflows nowhere."""
    policy = policy_of(name, timedelta.max)
    login = made(tokens(account="A", refresh_token_expires_at=at(7200)), tokens("r-1", account="B"), policy=policy)
    login = changed(evolve(login, succeeded_at=at()), 1, pending=Pending("question-1", "a document", at()))
    login = changed(login, needs_code=True)
    one = login.accounts[0]
    later = context(9000, policy)
    choose_due(login, later)
    postpone(login, later)
    answer_tokens(login, one, later, rejected=one.tokens)
    answer_refresh(login, one, later)
    assert next_due(login.accounts[1], policy, chance=0.5, now=context().now) is not None


def test_a_gate_of_any_accepted_rate() -> None:
    """The gate can count with every rate that a policy takes."""
    for rate in (1e-6, 0.3, 1, 1e9):
        gate = Limiter(Policy(rate=rate, rate_each=rate))
        gate.enter("coinbase", 0.0)
        gate.slots(1.0)
        gate.shut("coinbase", "login", 1.0)

"""How a keeper behaves, as one value."""

import math
from datetime import timedelta
from typing import Any, TypeGuard

from attrs import Attribute, field, fields, frozen
from attrs.validators import optional

from mesh_refresh.errors import InvalidRequest

_FOR_EVER = timedelta(days=36_525)
"""A hundred years: with a longer time, dates would be out of range."""
_MOST_SPREAD = 1_000
_MOST_REPORT_EVERY = timedelta(seconds=30)


def _time_or_none_at_all(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, timedelta):
        raise InvalidRequest(f"Policy.{attribute.name} must be a timedelta.")
    if value < timedelta():
        raise InvalidRequest(f"Policy.{attribute.name} must not be negative.")


def _time(policy: object, attribute: "Attribute[Any]", value: object) -> None:
    _time_or_none_at_all(policy, attribute, value)
    if value == timedelta():
        raise InvalidRequest(f"Policy.{attribute.name} must be longer than nothing.")


def _fraction(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not _is_number(value) or not 0 <= value <= 1:
        raise InvalidRequest(f"Policy.{attribute.name} must be a number from 0 to 1.")


def _spread(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not _is_number(value) or not 0 <= value <= _MOST_SPREAD:
        raise InvalidRequest(f"Policy.{attribute.name} must be a number from 0 to {_MOST_SPREAD}.")


def _rate(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not _is_number(value) or value <= 0:
        raise InvalidRequest(f"Policy.{attribute.name} must be a positive number.")


def _count(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if type(value) is not int or value < 1:
        raise InvalidRequest(f"Policy.{attribute.name} must be a whole number above zero.")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@frozen
class Policy:
    """When a keeper refreshes, how often, how patiently and how much at once.

    A margin is a fraction of a token's lifetime, with a cap: so lifetimes of seconds and of days both work. Raises
    `InvalidRequest` for a value that makes no sense, and names the field.
    """

    refresh_before: timedelta = field(default=timedelta(minutes=30), validator=_time_or_none_at_all)
    """The margin: an access token is refreshed at the latest this long before its end, or `refresh_fraction` of its
    lifetime before, where that is less."""
    refresh_fraction: float = field(default=0.2, validator=_fraction)
    spread: float = field(default=1.0, validator=_spread)
    """Random jitter: a login falls due up to this many margins earlier. So a fleet that was added in one second does
    not fall due in one second."""
    hard_margin: timedelta = field(default=timedelta(minutes=1), validator=_time_or_none_at_all)
    """`Keeper.tokens` no longer returns an access token that ends within this, or within `hard_fraction` of its
    lifetime, where that is less."""
    hard_fraction: float = field(default=0.05, validator=_fraction)
    refresh_token_before: timedelta = field(default=timedelta(days=7), validator=_time)
    """The margin of a refresh token that has an end of its own. `refresh_fraction` counts here too."""
    min_interval: timedelta = field(default=timedelta(seconds=10), validator=_time_or_none_at_all)
    """The least time from a success to the next exchange of the login, by the loop or for a rejected token."""
    keep_alive: timedelta | None = field(default=None, validator=optional(_time))
    """The longest time between two refreshes, also where no lifetime is known. None: only tokens with a known end are
    refreshed by time."""
    lease: timedelta = field(default=timedelta(minutes=3), validator=_time)
    """For how long one process has a login to itself. It must be longer than the client's `RetryPolicy.deadline`."""
    resend_after: timedelta = field(default=timedelta(minutes=2), validator=_time_or_none_at_all)
    """The least time from an exchange with an unknown outcome until the same tokens are sent again."""
    resend_after_cap: timedelta = field(default=timedelta(days=1), validator=_time)
    """The longest such time, or `keep_alive` where that is less. Between both, the wait lasts for as long as the stored
    access token is good. It is never shorter than `resend_after`."""
    confirm_after: timedelta = field(default=timedelta(minutes=2), validator=_time_or_none_at_all)
    """The time from a first refusal until the same tokens are sent once more, to confirm it. An account whose sibling
    waits for a code is looked at again after the same time."""
    backoff: timedelta = field(default=timedelta(seconds=10), validator=_time)
    """The pause after an account's first failure. Each further failure doubles it; jitter shortens it by up to half."""
    backoff_cap: timedelta = field(default=timedelta(minutes=15), validator=_time)
    give_up_after: timedelta = field(default=timedelta(days=7), validator=_time)
    """An account that has only failed for this long is tried once a day."""
    max_wait: timedelta = field(default=timedelta(seconds=30), validator=_time_or_none_at_all)
    """How long `Keeper.tokens` waits for a refresh, unless its caller says."""
    mfa_wait: timedelta = field(default=timedelta(minutes=10), validator=_time)
    """For how long an open question for a code holds back siblings that would need a code too."""
    concurrency: int = field(default=50, validator=_count)
    """Exchanges at once, in this process."""
    concurrency_each: int | None = field(default=None, validator=optional(_count))
    """Exchanges at once for each broker. None: four fifths of `concurrency`, so that a slow broker does not hold up the
    others."""
    rate: float | None = field(default=None, validator=optional(_rate))
    """Exchanges begun in a second, in this process. None: no bound."""
    rate_each: float | None = field(default=None, validator=optional(_rate))
    """The same for each broker."""
    cool_down: timedelta = field(default=timedelta(seconds=5), validator=_time)
    """The first pause after an outage that is no account's fault. Each probe that fails doubles it."""
    cool_down_cap: timedelta = field(default=timedelta(minutes=1), validator=_time)
    halt_probe: timedelta = field(default=timedelta(minutes=1), validator=_time)
    """The time between two probes while client keys are refused, or Mesh redirects."""
    unknown_run: int = field(default=10, validator=_count)
    """After this many unknown outcomes in a row, of a broker's logins, its breaker opens."""
    unreadable_run: int = field(default=5, validator=_count)
    """After this many logins of a broker in a row whose replies cannot be read, its breaker opens."""
    fault_logins: int = field(default=10, validator=_count)
    """After this many logins of a broker whose requests are not accepted (403, 404, 451, an odd 400, or a strategy that
    raises), its breaker opens, if they are `refusal_share` of the logins that were answered within `refusal_window`.
    Fewer than these back off, each for itself. An outage that so many logins have met is not one login's own."""
    refusal_logins: int = field(default=20, validator=_count)
    """Refusals of at least this many distinct logins of a broker..."""
    refusal_share: float = field(default=0.5, validator=_fraction)
    """...which are at least this share of the logins that were answered..."""
    refusal_window: timedelta = field(default=timedelta(minutes=10), validator=_time)
    """...within this time are the broker's fault. They count against no account, and its breaker opens..."""
    refusal_trust: timedelta = field(default=timedelta(hours=1), validator=_time)
    """...until a login of that broker succeeds, or the breaker has been open for this long. After that refusals are
    believed, for the same time at the most. That ends earlier if none comes for `refusal_window`, or if a login
    succeeds whose own tokens had been refused."""
    poll: timedelta = field(default=timedelta(seconds=1), validator=_time)
    """The time between two claims, when nothing else happens."""
    drain: timedelta = field(default=timedelta(seconds=30), validator=_time_or_none_at_all)
    """When the keeper is left: how long writes are tried at a store that fails, beside the exchanges' deadline. A write
    that begins later is tried for three seconds all the same."""
    event_queue: int = field(default=10_000, validator=_count)
    """The most events that wait for the handler. Beyond that the oldest are dropped."""

    notice_give_up: timedelta = field(default=timedelta(days=3), validator=_time)
    """A notice whose handler fails is tried for this long, counted from the first try. Then it is dead: it is kept, and
    holds back no other notice."""
    notice_keep: timedelta = field(default=timedelta(days=30), validator=_time)
    """Notices that have been due for this long are forgotten: dead ones, and those that no handler ever took."""
    report_every: timedelta = field(default=timedelta(seconds=15), validator=_time)
    """How often a process tells the others of itself, by the store: 30 seconds at the most. The fleet is counted at
    every fourth of these times, or less often."""

    def __attrs_post_init__(self) -> None:
        for attribute in fields(Policy):
            value = getattr(self, attribute.name)
            if isinstance(value, timedelta) and value > _FOR_EVER:
                object.__setattr__(self, attribute.name, _FOR_EVER)
        if self.report_every > _MOST_REPORT_EVERY:
            raise InvalidRequest("Policy.report_every must be at most 30 seconds: after a minute a process is silent.")
        if self.hard_fraction >= self.refresh_fraction or self.hard_margin > max(self.refresh_before, timedelta(0)):
            raise InvalidRequest("Policy: the hard margin must be less than the margin at which the loop refreshes.")
        if self.refresh_fraction * (1 + self.spread) >= 1:
            raise InvalidRequest("Policy: with this refresh_fraction and spread, new tokens would be due at once.")

"""How a keeper behaves, as one value."""

import math
from datetime import timedelta
from typing import TypeGuard

from attrs import fields, frozen

from mesh_refresh.errors import InvalidRequest

_MAY_BE_ZERO = {"min_interval", "resend_after", "confirm_after", "max_wait", "refresh_before", "hard_margin", "drain"}


@frozen
class Policy:
    """When a keeper refreshes, how often, how patiently and how much at once. Raises `InvalidRequest` for nonsense.

    Margins are fractions of a token's lifetime with a cap, so that lifetimes of seconds and of days both work.
    """

    refresh_before: timedelta = timedelta(minutes=30)
    """Refresh at the latest so long before the access token ends, or `refresh_fraction` of its lifetime before, where
    that is less."""
    refresh_fraction: float = 0.2
    spread: float = 1.0
    """Logins fall due up to so many of those margins earlier, each by a chance of its own: a fleet that was added in
    one second does not fall due in one."""
    hard_margin: timedelta = timedelta(minutes=1)
    """An access token that ends within this (or `hard_fraction` of its lifetime, where that is less) is not handed out
    any more."""
    hard_fraction: float = 0.05
    refresh_token_before: timedelta = timedelta(days=7)
    """Renew a refresh token at the latest so long before its own end (`refresh_fraction` counts here too)."""
    min_interval: timedelta = timedelta(seconds=10)
    """Neither the loop nor a rejected token makes two exchanges of a login within this after a success."""
    keep_alive: timedelta | None = None
    """Refresh at least so often, also where no lifetime is known. None: only what has an end is refreshed by time."""
    lease: timedelta = timedelta(minutes=3)
    """For how long one process has a login to itself. Must be longer than the client's deadline."""
    resend_after: timedelta = timedelta(minutes=2)
    """After an exchange with an unknown outcome, the same tokens are not sent again sooner than this."""
    resend_after_cap: timedelta = timedelta(days=1)
    """After an unknown outcome, the same tokens are sent again at the latest after this, or after `keep_alive` where
    that is less, however long the stored access token lives; never sooner than after `resend_after`."""
    confirm_after: timedelta = timedelta(minutes=2)
    """After a first refusal, the same tokens are sent once more, to confirm it, at the earliest after this. An account
    whose sibling waits for a code is looked at again after this."""
    backoff: timedelta = timedelta(seconds=10)
    """The pause after the first failure of an account; doubled with each, and shortened by chance by up to half."""
    backoff_cap: timedelta = timedelta(minutes=15)
    give_up_after: timedelta = timedelta(days=7)
    """After failing for so long without a break, an account is tried once a day."""
    max_wait: timedelta = timedelta(seconds=30)
    """How long `Keeper.tokens` waits, unless it is told otherwise."""
    mfa_wait: timedelta = timedelta(minutes=10)
    """While a code is waited for, for so long at the most, no sibling that would need one too is exchanged."""
    concurrency: int = 50
    """Exchanges at once, in this process."""
    concurrency_each: int | None = None
    """Exchanges at once for each broker. None: all but the last fifth of `concurrency`, so that a broker that is slow
    does not hold up the others."""
    rate: float | None = None
    """Exchanges begun in a second, in this process; None: as many as there are."""
    rate_each: float | None = None
    """The same for each broker."""
    cool_down: timedelta = timedelta(seconds=5)
    """The first pause after a fault that is nobody's; doubled with each probe that fails."""
    cool_down_cap: timedelta = timedelta(minutes=1)
    halt_probe: timedelta = timedelta(minutes=1)
    """How often it is tried whether refused client keys, or a redirect, are a thing of the past."""
    unknown_run: int = 10
    """So many unknown outcomes of a broker without a success between cool it down."""
    unreadable_run: int = 5
    """Replies to so many logins of a broker that cannot be read, without one between that can, cool it down."""
    fault_logins: int = 10
    """Requests of at least so many distinct logins of a broker that are not accepted (403, 404, 451, an odd 400, or a
    strategy that raises), if they are `refusal_share` of the logins that were answered within `refusal_window`, are the
    broker's fault, and hold it back. Each of fewer backs off for itself."""
    refusal_logins: int = 20
    """Refusals of at least so many distinct logins of a broker..."""
    refusal_share: float = 0.5
    """...which are at least this share of the logins that were answered..."""
    refusal_window: timedelta = timedelta(minutes=10)
    """...within this time are the broker's fault, and count against nobody..."""
    refusal_trust: timedelta = timedelta(hours=1)
    """...until a login of that broker succeeds, or it has gone on for so long. Then they are believed, for as long
    again at the most: until none came for `refusal_window`, or a login succeeds whose own tokens had been refused."""
    poll: timedelta = timedelta(seconds=1)
    """How often the store is asked what is due, when nothing else happens."""
    drain: timedelta = timedelta(seconds=30)
    """At the end, how long a store that fails is tried with what must be written, beside the exchanges' deadline.

    A write that begins later is tried for three seconds all the same.
    """
    event_queue: int = 10_000
    """Events that wait for the handler; when there are more, the oldest are dropped."""

    def __attrs_post_init__(self) -> None:
        for attribute in fields(Policy):
            value = getattr(self, attribute.name)
            _check(attribute.name, value)
            if isinstance(value, timedelta) and value > _FOR_EVER:
                object.__setattr__(self, attribute.name, _FOR_EVER)
        if self.hard_fraction >= self.refresh_fraction or self.hard_margin > max(self.refresh_before, timedelta(0)):
            raise InvalidRequest("Policy: the hard margin must be less than the margin at which the loop refreshes.")
        if self.refresh_fraction * (1 + self.spread) >= 1:
            raise InvalidRequest("Policy: with this refresh_fraction and spread, new tokens would be due at once.")


_FOR_EVER = timedelta(days=36_525)
"""A hundred years: longer, and dates cannot be told any more."""
_MOST_SPREAD = 1_000
_LEAST_LOGINS = ("unknown_run", "unreadable_run", "fault_logins", "refusal_logins")
_FRACTIONS = ("refresh_fraction", "hard_fraction", "refusal_share")


def _check(name: str, value: object) -> None:
    if value is None and name in ("keep_alive", "concurrency_each", "rate", "rate_each"):
        return
    if name in _FRACTIONS:
        if not _is_number(value) or not 0 <= value <= 1:
            raise InvalidRequest(f"Policy.{name} must be a number from 0 to 1.")
    elif name in ("spread", "rate", "rate_each"):
        if not _is_number(value) or value < 0 or (name != "spread" and value == 0):
            raise InvalidRequest(f"Policy.{name} must be a positive number.")
        if name == "spread" and value > _MOST_SPREAD:
            raise InvalidRequest(f"Policy.spread must be at most {_MOST_SPREAD}.")
    elif name in ("concurrency", "concurrency_each", "event_queue", *_LEAST_LOGINS):
        if type(value) is not int or value < 1:
            raise InvalidRequest(f"Policy.{name} must be a whole number above zero.")
    elif not isinstance(value, timedelta):
        raise InvalidRequest(f"Policy.{name} must be a timedelta.")
    elif value < timedelta() or (value == timedelta() and name not in _MAY_BE_ZERO):
        raise InvalidRequest(f"Policy.{name} must be longer than nothing.")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

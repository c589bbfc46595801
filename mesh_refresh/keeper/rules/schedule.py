"""When an account is due, and whether its tokens are still good. Pure."""

import hashlib
from datetime import datetime, timedelta

from attrs import evolve

from mesh_refresh.keeper.policy import Policy
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.tokens import Tokens

ONCE_A_DAY = timedelta(days=1)


def chance_of(login_id: str, number: int) -> float:
    """A number in [0, 1) that looks random, and is the same for the same login and attempt."""
    digest = hashlib.blake2b(f"{number}\0{login_id}".encode("utf-8", "surrogatepass"), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56


def margin(lifetime: timedelta | None, cap: timedelta, fraction: float) -> timedelta:
    """The lesser of both: a fraction of the lifetime, where that is known, and the cap."""
    return cap if lifetime is None else min(cap, max(lifetime, timedelta()) * fraction)


def _lifetime(tokens: Tokens) -> timedelta | None:
    if tokens.obtained_at is None or tokens.expires_at is None:
        return None
    return tokens.expires_at - tokens.obtained_at


def good_until(tokens: Tokens, policy: Policy) -> datetime | None:
    """Until when the access token is handed out; None where its end is not known."""
    if tokens.expires_at is None:
        return None
    return _earlier(tokens.expires_at, margin(_lifetime(tokens), policy.hard_margin, policy.hard_fraction))


def is_good(tokens: Tokens, now: datetime, policy: Policy) -> bool:
    """Whether there is an access token (or token id) to hand out."""
    if tokens.auth_token is None:
        return False
    until = good_until(tokens, policy)
    return until is None or now < until


def renewal_margin(account: Account, policy: Policy, chance: float = 0.0) -> timedelta:
    """How long before its end the refresh token itself is renewed."""
    ends = account.tokens.refresh_token_expires_at
    life = ends - account.renewed_at if ends is not None and account.renewed_at is not None else None
    return margin(life, policy.refresh_token_before, policy.refresh_fraction) * (1 + policy.spread * chance)


def wants_new_refresh_token(account: Account, now: datetime, policy: Policy) -> bool:
    """Whether the next exchange asks for a new refresh token."""
    ends = account.tokens.refresh_token_expires_at
    if ends is None or account.renewal_stuck:
        return False
    return now >= _earlier(ends, renewal_margin(account, policy, chance=1.0))


def next_due(account: Account, policy: Policy, *, chance: float, now: datetime) -> datetime | None:
    """When the loop refreshes a healthy account; None: never by itself."""
    tokens = account.tokens
    if account.state is AccountState.NOT_REFRESHABLE:
        return tokens.expires_at
    if account.needs_code:
        return None
    if tokens.auth_token is None:
        return tokens.not_before or now
    due = []
    if tokens.expires_at is not None:
        soft = margin(_lifetime(tokens), policy.refresh_before, policy.refresh_fraction)
        due.append(_earlier(tokens.expires_at, soft * (1 + policy.spread * chance)))
    if tokens.refresh_token_expires_at is not None and not account.renewal_stuck:
        due.append(_earlier(tokens.refresh_token_expires_at, renewal_margin(account, policy, chance)))
    if policy.keep_alive is not None:
        due.append(_later(account.refreshed_at or now, policy.keep_alive * (1 - 0.1 * chance)))
    earliest = min(due, default=None)
    return earliest if earliest is None or tokens.not_before is None else max(earliest, tokens.not_before)


def backed_off(account: Account, policy: Policy, *, now: datetime, chance: float) -> datetime:
    """When an account that has just failed (its `failures` say how often) is tried again."""
    if account.failing_since is not None and now - account.failing_since >= policy.give_up_after:
        return _later(now, ONCE_A_DAY * (1 - chance / 10))
    seconds = policy.backoff.total_seconds() * 2.0 ** min(max(account.failures - 1, 0), 60)
    return _later(now, timedelta(seconds=min(seconds, policy.backoff_cap.total_seconds()) * (1 - chance / 2)))


def resend_not_before(account: Account, policy: Policy, *, now: datetime) -> datetime:
    """After an unknown outcome: when its tokens may be sent again.

    Beyond the settling time, another process may still hold the new pair and write it. So nobody sends while the old
    access token is good, but never past the refresh token's own end, nor longer than the policy's cap. A question that
    waits for a code is asked anew after the settling time: a person waits for it.
    """
    least = _later(now, policy.resend_after)
    until = good_until(account.tokens, policy)
    if until is None or account.pending is not None:
        return least
    until = min(until, _later(now, min(policy.resend_after_cap, policy.keep_alive or policy.resend_after_cap)))
    ends = account.tokens.refresh_token_expires_at
    if ends is not None:
        until = min(until, _earlier(ends, margin(None, policy.hard_margin, policy.hard_fraction)))
    return max(least, until)


def retry_not_before(account: Account, policy: Policy, *, now: datetime, chance: float) -> datetime:
    """After an unknown outcome, which `account` has counted: before then it is tried for nobody's sake.

    This binds those too whom `resend_not_before` does not, because the access token is of no use to them.
    """
    return max(_later(now, policy.resend_after), backed_off(account, policy, now=now, chance=chance))


def paced(login: Login, policy: Policy) -> Login:
    """`login` with no account due sooner than the least interval after its last success allows."""
    if login.succeeded_at is None or not policy.min_interval:
        return login
    earliest = _later(login.succeeded_at, policy.min_interval)
    if all(account.due_at is None or account.due_at >= earliest for account in login.accounts):
        return login
    return evolve(
        login,
        accounts=tuple(
            account
            if account.due_at is None or account.due_at >= earliest or account.state is not AccountState.ACTIVE
            else evolve(account, due_at=earliest)
            for account in login.accounts
        ),
    )


def _earlier(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment - by
    except OverflowError:
        return datetime.min.replace(tzinfo=moment.tzinfo)


def _later(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=moment.tzinfo)

"""When an account is due, and until when its tokens are good. Pure. `Policy` has the numbers: see docs/keeper.md."""

import hashlib
from datetime import datetime, timedelta

from attrs import evolve

from mesh_refresh.keeper.policy import Policy
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.tokens import Tokens

ONCE_A_DAY = timedelta(days=1)


def chance_of(login_id: str, number: int) -> float:
    """Jitter: a number in [0, 1) that looks random, and is the same for the same login and attempt."""
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
    """When the access token is handed out for the last time: its hard margin. None where its end is not known."""
    if tokens.expires_at is None:
        return None
    return _earlier(tokens.expires_at, margin(_lifetime(tokens), policy.hard_margin, policy.hard_fraction))


def is_good(tokens: Tokens, now: datetime, policy: Policy) -> bool:
    """Whether there is an access token (or token id) to hand out."""
    if tokens.auth_token is None:
        return False
    until = good_until(tokens, policy)
    return until is None or now < until


def lasts(tokens: Tokens, valid_for: timedelta, now: datetime) -> bool:
    """Whether the access token lives for so long, or for half of its own lifetime: new ones may live for no longer."""
    life, ends = _lifetime(tokens), tokens.expires_at
    return ends is None or ends - now >= (valid_for if life is None else min(valid_for, life / 2))


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
    """When the loop refreshes a healthy account; None: never, only a caller does. `chance` is the login's jitter."""
    tokens = account.tokens
    if account.state is AccountState.NOT_REFRESHABLE:
        return tokens.expires_at
    if account.needs_code or account.state is AccountState.MANAGED:
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


def backoff_until(account: Account, policy: Policy, *, now: datetime, chance: float) -> datetime:
    """When an account that has just failed is tried again. `Account.failures` says how often it has failed in a row."""
    if account.failing_since is not None and now - account.failing_since >= policy.give_up_after:
        return _later(now, ONCE_A_DAY * (1 - chance / 10))
    return _later(now, backoff(account.failures, chance, policy))


def backoff(failures: int, chance: float, policy: Policy) -> timedelta:
    """The pause after so many failures in a row: doubled with each, and shortened at random by up to half."""
    seconds = policy.backoff.total_seconds() * 2.0 ** min(max(failures - 1, 0), 60)
    return timedelta(seconds=min(seconds, policy.backoff_cap.total_seconds()) * (1 - chance / 2))


def resend_not_before(account: Account, policy: Policy, *, now: datetime) -> datetime:
    """Earliest time at which the loop, `refresh` or `tokens` may send the tokens again after an unknown outcome.

    Another process may hold the new pair and write it later than `Policy.resend_after`. So the wait goes on while the
    stored access token is good. Beyond `resend_after` it ends before the refresh token does, and after
    `Policy.resend_after_cap` or `Policy.keep_alive`, counted from the last unknown outcome. A question for a code may
    be asked anew after `resend_after`, because a person waits for it.

    See docs/decisions/retries-and-unknown-outcomes.md.
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
    """Earliest time at which the loop or `tokens` retries after an unknown outcome, which `account` has counted.

    It also binds callers whose access token was rejected: they need not wait for `resend_not_before`, which lasts for
    as long as that token is good.
    """
    return max(_later(now, policy.resend_after), backoff_until(account, policy, now=now, chance=chance))


def respect_min_interval(login: Login, policy: Policy) -> Login:
    """`login` with no account due sooner than `Policy.min_interval` after the login's last success."""
    if login.succeeded_at is None or not policy.min_interval:
        return login
    earliest = _later(login.succeeded_at, policy.min_interval)

    def is_early(account: Account) -> bool:
        return account.state is AccountState.ACTIVE and account.due_at is not None and account.due_at < earliest

    return login.having(
        tuple([evolve(account, due_at=earliest) if is_early(account) else account for account in login.accounts])
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

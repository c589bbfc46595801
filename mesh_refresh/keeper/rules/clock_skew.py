"""Times of a wall clock that was ahead, and was put back since. Pure. See docs/decisions/rows-changed-in-the-future.md.

How much time has really passed is not known. So every such time is moved back by as much as the clock was ahead:
lifetimes and waits count from now, as if no time had passed. A time that stays in the future would hold up a wait, a
round of siblings or an expired token until that future comes.
"""

from datetime import datetime, timedelta
from typing import TypeVar

from attrs import evolve

from mesh_refresh.keeper.rules.attempt import Attempt, CodeWanted, ExchangeResult, ReplyEntry, Success
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from mesh_refresh.tokens import Tokens

_Moment = TypeVar("_Moment", datetime, datetime | None)
_PASTS = ("refreshed_at", "renewed_at", "failing_since", "parked_at", "refused_at", "unknown_since")
"""Times of an account that are never to come: one that is was told by a clock that was ahead."""


def rewind_login(login: Login, now: datetime) -> Login:
    """`login` as it counts now, where it was written at a time that is still to come.

    Every account that the loop refreshes is due. The login counts as changed at `now`, so that a second look changes
    nothing. A login that was written in the past is returned as it is.
    """
    if login.changed_at is None or login.changed_at <= now + CLOCK_TOLERANCE:
        return login
    by = login.changed_at - now
    succeeded_at = None if login.succeeded_at is not None and login.succeeded_at > now else login.succeeded_at
    login = evolve(login, changed_at=now).succeeding(_earlier(login.round_at, now, by), succeeded_at)
    return login.having(tuple([_rewound(account, now, by) for account in login.accounts]))


def rewind_result(attempt: Attempt, kept: ExchangeResult, now: datetime) -> tuple[Attempt, ExchangeResult]:
    """Both as they count now, where the clock was put back while the reply was under way, or in the spool.

    The attempt may be later than the reply: the client answers with what it has received for half a minute.
    """
    entries = kept.entries if isinstance(kept, Success | CodeWanted) else ()
    obtained = [entry.tokens.obtained_at for entry in entries if entry.tokens.obtained_at is not None]
    by = max(attempt.begun_at, *obtained) - now if obtained else attempt.begun_at - now
    if by <= CLOCK_TOLERANCE:
        return attempt, kept
    attempt = evolve(attempt, begun_at=min(attempt.begun_at, now))
    if not isinstance(kept, Success | CodeWanted):
        return attempt, kept
    entries = tuple([_entry(entry, now, by) for entry in entries])
    if isinstance(kept, Success):
        return attempt, evolve(kept, entries=entries)
    ends = kept.refresh_token_expires_at
    return attempt, evolve(kept, entries=entries, refresh_token_expires_at=None if ends is None else ends - by)


def _rewound(account: Account, now: datetime, by: timedelta) -> Account:
    tokens, pending = _tokens(account.tokens, now, by), account.pending
    if account.renewed_at is not None and account.renewed_at > now and tokens.refresh_token_expires_at is not None:
        tokens = evolve(tokens, refresh_token_expires_at=tokens.refresh_token_expires_at - by)
    if pending is not None:
        pending = evolve(pending, asked_at=_earlier(pending.asked_at, now, by))
    return evolve(
        account,
        tokens=tokens,
        pending=pending,
        due_at=_due_at(account, tokens, now),
        retry_not_before=None if account.retry_not_before is None else account.retry_not_before - by,
        resend_not_before=None if account.resend_not_before is None else account.resend_not_before - by,
        **{name: _earlier(getattr(account, name), now, by) for name in _PASTS},
    )


def _due_at(account: Account, tokens: Tokens, now: datetime) -> datetime | None:
    """At once where it is refreshed; at the end of `tokens` where it can only expire."""
    if account.due_at is not None and account.state is AccountState.ACTIVE:
        return now
    return tokens.expires_at if account.state is AccountState.NOT_REFRESHABLE else account.due_at


def _entry(entry: ReplyEntry, now: datetime, by: timedelta) -> ReplyEntry:
    tokens, ends = _tokens(entry.tokens, now, by), entry.tokens.refresh_token_expires_at
    if ends is not None and "refresh_token_expires_at" in entry.brought:
        tokens = evolve(tokens, refresh_token_expires_at=ends - by)
    return evolve(entry, tokens=tokens)


def _tokens(tokens: Tokens, now: datetime, by: timedelta) -> Tokens:
    """Tokens that were obtained in the future were obtained now, and so count their times."""
    if tokens.obtained_at is None or tokens.obtained_at <= now:
        return tokens
    return evolve(
        tokens,
        obtained_at=tokens.obtained_at - by,
        expires_at=None if tokens.expires_at is None else tokens.expires_at - by,
        not_before=None if tokens.not_before is None else tokens.not_before - by,
    )


def _earlier(moment: _Moment, now: datetime, by: timedelta) -> _Moment:
    return moment - by if moment is not None and moment > now else moment

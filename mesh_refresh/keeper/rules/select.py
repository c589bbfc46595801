"""What to exchange next, and what to answer somebody who asks. Pure."""

from datetime import datetime

from attrs import evolve, frozen

from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.schedule import is_good, wants_new_refresh_token
from mesh_refresh.logins import Account, AccountState, Login, Reason
from mesh_refresh.replies.lineage import Credential, refresh_token_of
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from mesh_refresh.tokens import Tokens


@frozen
class Send:
    """Send this account's tokens."""

    account: Account
    renew: bool = False
    """Ask for a new refresh token too."""


@frozen
class Good:
    """These are fresh."""

    tokens: Tokens


@frozen
class CodeFirst:
    """A code is needed."""

    pending_id: str


@frozen
class Parked:
    """The person must log in again."""

    reason: Reason | None
    display_message: str | None


@frozen
class NotBefore:
    """Nothing can be sent before."""

    at: datetime
    why: str


_NEVER_AGAIN = (Reason.UNKNOWN, Reason.AMBIGUOUS)
"""What is parked for one of these may be spent, and is not sent again by hand either."""
Answer = Good | CodeFirst | Parked | NotBefore | Send


def next_exchange(
    login: Login, now: datetime, policy: Policy, credential: Credential = refresh_token_of
) -> Send | None:
    """What the loop sends of a login that it has claimed: the account that has been due for longest."""
    if now < _earliest(login, now, policy):
        return None
    due = [
        account
        for account in login.accounts
        if account.state is AccountState.ACTIVE
        and account.due_at is not None
        and account.due_at <= now
        and credential(account.tokens) is not None
        and not _waits(account, now)
        and (account.tokens.not_before is None or account.tokens.not_before <= now)
        and not _sibling_asks(login, account, now, policy)
    ]
    if not due:
        return None
    account = min(due, key=lambda it: it.due_at or now)
    return _exchange(account, now, policy)


def put_off(login: Login, now: datetime, policy: Policy) -> Login:
    """`login` with what is due and must not be sent yet put off to when it may be."""
    earliest = _earliest(login, now, policy)
    accounts = []
    for account in login.accounts:
        if account.state is AccountState.ACTIVE and account.due_at is not None:
            moments = [account.due_at, account.resend_not_before, account.tokens.not_before, earliest, now]
            until = max(moment for moment in moments if moment is not None)
            if _sibling_asks(login, account, now, policy):
                until = max(until, now + policy.confirm_after)
            accounts.append(evolve(account, due_at=until))
        else:
            accounts.append(account)
    return evolve(login, accounts=tuple(accounts))


def answer(
    login: Login,
    account: Account,
    now: datetime,
    policy: Policy,
    *,
    rejected: Tokens | None = None,
    credential: Credential = refresh_token_of,
) -> Answer:
    """What `Keeper.tokens` does for somebody who asks for `account`."""
    tokens = account.tokens
    refused = rejected is not None and rejected.auth_token is not None and rejected.auth_token == tokens.auth_token
    if is_good(tokens, now, policy) and not refused:
        return Good(tokens)
    found = parked_for(account, credential)
    if found is not None:
        return found
    if tokens.not_before is not None and now < tokens.not_before:
        return NotBefore(tokens.not_before, "the broker does not let these tokens be exchanged yet")
    if _waits(account, now) and not refused:
        return NotBefore(account.resend_not_before or now, "nobody knows yet what became of the last exchange")
    if account.retry_not_before is not None and now < account.retry_not_before:
        return NotBefore(account.retry_not_before, why_held(account))
    earliest = _earliest(login, now, policy)
    if refused and now < earliest:
        return NotBefore(earliest, "they were refreshed a moment ago")
    own = _interval_ends(account.refreshed_at, now, policy)
    if not refused and now < own:
        # A reply took longer than they live, or they live for less than the margin: the next ones may be no better.
        return NotBefore(own, "the new tokens had run out, or almost, when they came")
    return _unless_sibling_asks(login, account, now, policy)


def forced(
    login: Login, account: Account, now: datetime, policy: Policy, *, credential: Credential = refresh_token_of
) -> Answer:
    """What `Keeper.refresh` does: exchange now, unless that could spend a token twice."""
    is_refreshable = credential(account.tokens) is not None
    if not is_refreshable and is_good(account.tokens, now, policy):
        return Parked(Reason.NOT_REFRESHABLE, account.display_message)
    by_hand = account.state is AccountState.RECONNECT_REQUIRED and account.reason not in _NEVER_AGAIN
    if not by_hand or not is_refreshable:
        found = parked_for(account, credential)
        if found is not None:
            return found
    if account.tokens.not_before is not None and now < account.tokens.not_before:
        return NotBefore(account.tokens.not_before, "the broker does not let these tokens be exchanged yet")
    if _waits(account, now):
        return NotBefore(account.resend_not_before or now, "nobody knows yet what became of the last exchange")
    if account.refused_at is not None and account.retry_not_before is not None and now < account.retry_not_before:
        return NotBefore(
            account.retry_not_before, "they were refused a moment ago, and are sent once more after a pause"
        )
    return _unless_sibling_asks(login, account, now, policy)


def parked_for(account: Account, credential: Credential) -> CodeFirst | Parked | None:
    """What keeps an account from being exchanged by itself, or None."""
    if account.state is AccountState.MFA_REQUIRED and account.pending is not None:
        return CodeFirst(account.pending.id)
    if account.parked:
        return Parked(account.reason, account.display_message)
    if credential(account.tokens) is None:
        return Parked(Reason.EXPIRED, account.display_message)
    return None


def _exchange(account: Account, now: datetime, policy: Policy) -> Send:
    return Send(account, wants_new_refresh_token(account, now, policy))


def _earliest(login: Login, now: datetime, policy: Policy) -> datetime:
    """When the next exchange may be, unless somebody insists. A success in the future: the clock went back since."""
    return _interval_ends(login.succeeded_at, now, policy)


def _interval_ends(success: datetime | None, now: datetime, policy: Policy) -> datetime:
    return now if success is None or success > now + CLOCK_TOLERANCE else success + policy.min_interval


def why_held(account: Account) -> str:
    """What happened before `Account.retry_not_before` was set, in words."""
    if account.last_error is None:
        return "the last exchange did not go well"
    return f"the last exchange failed ({account.last_error})"


def _waits(account: Account, now: datetime) -> bool:
    return account.resend_not_before is not None and now < account.resend_not_before


def _unless_sibling_asks(login: Login, account: Account, now: datetime, policy: Policy) -> NotBefore | Send:
    until = _sibling_asks(login, account, now, policy)
    if until is not None:
        return NotBefore(until, "another account of the login waits for a code")
    return _exchange(account, now, policy)


def _sibling_asks(login: Login, account: Account, now: datetime, policy: Policy) -> datetime | None:
    """Until when a person is being asked for a code of this login, and would be asked for a second one."""
    if not account.needs_code:
        return None
    asked = [other.pending.asked_at for other in login.accounts if other is not account and other.pending is not None]
    until = max(asked, default=now) + policy.mfa_wait
    return until if asked and now < until else None

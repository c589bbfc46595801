"""What a keeper tells an application, as values. There is no secret in any of them.

Events can be lost in a crash. What must not be missed is asked for with
``Keeper.logins(state=..., changed_since=...)``.
"""

from datetime import datetime
from enum import StrEnum

from attrs import frozen

from mesh_refresh.logins import AccountState, Reason


class BreakerFault(StrEnum):
    """Why a breaker opened."""

    CLIENT_REFUSED = "client_refused"
    """401: the client id or secret is wrong."""
    REDIRECTED = "redirected"
    """3xx: the base URL leads elsewhere."""
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    NOT_SENT = "not_sent"
    """No connection."""
    NOT_PERMITTED = "not_permitted"
    """403, 404, 451."""
    REJECTED = "rejected"
    """The request as such is not accepted."""
    UNKNOWN_OUTCOMES = "unknown_outcomes"
    """A run of them."""
    UNREADABLE = "unreadable"
    """A run of replies that cannot be read: what stands between you and Mesh damages them."""
    REFUSALS = "refusals"
    """More logins of one broker were refused than can be their own fault."""


@frozen
class AccountEvent:
    """Something that concerns one account."""

    login_id: str
    account_id: str | None
    """The broker's id of the account, or Mesh's; None where neither is known."""
    broker: str
    at: datetime


@frozen
class AccountRefreshed(AccountEvent):
    """It has fresh tokens, and they are in the store."""

    failures: int = 0
    """How many failures in a row this ended. Above zero: take a warning back that you showed."""
    was: AccountState = AccountState.ACTIVE
    """The state before; if it was parked, it is not any more."""
    expires_at: datetime | None = None


@frozen
class AccountJoined(AccountEvent):
    """A reply brought an account of the login that was not known. It is in the store with its tokens."""


@frozen
class MfaNeeded(AccountEvent):
    """Ask the person for a code, and give it to `Keeper.submit_mfa`."""

    pending_id: str
    """Which question the code answers."""
    display_message: str | None = None


@frozen
class ReconnectRequired(AccountEvent):
    """The person must log in at the broker again."""

    reason: Reason
    display_message: str | None = None


@frozen
class AccountUnreadable(AccountEvent):
    """A reply that cannot be taken is kept, sealed, for `mesh-refresh salvage`: it may hold the only live token."""


@frozen
class ReconnectSoon(AccountEvent):
    """The refresh token ends, and asking for a new one did not move its end."""

    ends_at: datetime


@frozen
class AttemptFailed(AccountEvent):
    """An exchange of this account failed; it is tried again."""

    error: str
    """The class of `mesh_refresh.errors`; or "lease ran out", where a process has ended with the exchange under way."""
    failures: int
    """In a row."""
    retry_at: datetime | None


@frozen
class BreakerEvent:
    """Something that concerns a broker, or all of them, and no account."""

    broker: str | None
    """None: all brokers."""
    fault: BreakerFault
    at: datetime


@frozen
class BreakerOpened(BreakerEvent):
    """Exchanges of this broker (of all) are held back. No account is blamed.

    Told again once an hour while everything is halted, because a person has to act.
    """

    retry_at: datetime
    """When the first probe is sent."""
    display_message: str | None = None


@frozen
class BreakerClosed(BreakerEvent):
    """Exchanges go on."""

    opened_at: datetime


Event = AccountEvent | BreakerEvent
"""What `on_event` is called with."""

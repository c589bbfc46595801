"""What a keeper tells an application, as values. No event has a secret in it. See docs/events.md.

An event is told once, after the write, and is lost in a crash. What must not be missed is a notice: docs/notices.md.
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
    """3xx: the base URL is not that of Mesh."""
    THROTTLED = "throttled"
    """429: Mesh asks for fewer requests of this broker."""
    UNAVAILABLE = "unavailable"
    """503: Mesh or the broker is down."""
    NOT_SENT = "not_sent"
    """No connection to Mesh."""
    NOT_PERMITTED = "not_permitted"
    """403, 404, 451."""
    REJECTED = "rejected"
    """The request itself is not accepted."""
    UNKNOWN_OUTCOMES = "unknown_outcomes"
    """Many in a row: requests go out, and no answer comes."""
    UNREADABLE = "unreadable"
    """Many replies in a row cannot be read: a proxy between you and Mesh damages them."""
    REFUSALS = "refusals"
    """More logins of one broker are refused than can be their own fault."""


@frozen
class AccountEvent:
    """An event of one account."""

    login_id: str
    account_id: str | None
    """The broker's id of the account, or Mesh's; None where neither is known."""
    broker: str
    at: datetime


@frozen
class AccountRefreshed(AccountEvent):
    """The account has fresh tokens, and they are in the store."""

    failures: int = 0
    """How many failures in a row this ended. Above zero: take back the warning that you showed."""
    was: AccountState = AccountState.ACTIVE
    """The state before. If the account was parked, it is not any more."""
    expires_at: datetime | None = None


@frozen
class AccountJoined(AccountEvent):
    """A reply brought a new account of the login. It is in the store with its tokens."""


@frozen
class MfaNeeded(AccountEvent):
    """The broker wants a code. Ask the person for it, and give it to `Keeper.submit_mfa`."""

    pending_id: str
    """The id of the question that the code answers."""
    display_message: str | None = None


@frozen
class ReconnectRequired(AccountEvent):
    """The person must log in at the broker again."""

    reason: Reason
    display_message: str | None = None


@frozen
class AccountUnreadable(AccountEvent):
    """A reply came that cannot be taken, and may hold the only live token.

    It is kept, sealed: `mesh-refresh salvage` shows it.
    """


@frozen
class ReconnectSoon(AccountEvent):
    """The refresh token ends, and asking for a new one did not move its end: the person must log in before that."""

    ends_at: datetime


@frozen
class AttemptFailed(AccountEvent):
    """An exchange of this account failed, and is tried again."""

    error: str
    """The name of a class of `mesh_refresh.errors`; or "lease ran out": a process has ended during the exchange."""
    failures: int
    """How many in a row."""
    retry_at: datetime | None


@frozen
class BreakerEvent:
    """An event of a broker, or of all brokers, and of no account."""

    broker: str | None
    """None: all brokers."""
    fault: BreakerFault
    at: datetime


@frozen
class BreakerOpened(BreakerEvent):
    """Exchanges of this broker (of all) are held back. It counts against no account.

    While refused keys or a redirect halt everything, it is told again once an hour: a person has to act.
    """

    retry_at: datetime
    """When the first probe is sent."""
    display_message: str | None = None


@frozen
class BreakerClosed(BreakerEvent):
    """Exchanges of this broker (of all) go on."""

    opened_at: datetime


Event = AccountEvent | BreakerEvent
"""What `on_event` is called with."""

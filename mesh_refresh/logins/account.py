"""One account of a login, as it is kept."""

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from mesh_refresh.masking import masked, masked_size
from mesh_refresh.tokens import Tokens


class AccountState(StrEnum):
    """What can be done with an account."""

    ACTIVE = "active"
    """It is refreshed when it is due."""
    MFA_REQUIRED = "mfa_required"
    """It waits for a code of the person."""
    RECONNECT_REQUIRED = "reconnect_required"
    """Only the person logging in again will help; `Account.reason` says why."""
    UNREADABLE = "unreadable"
    """A reply came that cannot be taken and may hold its only live token: `Account.body` has the bytes."""
    NOT_REFRESHABLE = "not_refreshable"
    """There is no refresh token: what it has is good until it ends."""


class Reason(StrEnum):
    """Why an account is parked."""

    REFUSED = "refused"
    """Mesh refused its tokens twice, with a pause between."""
    REFUSED_AFTER_UNKNOWN = "refused_after_unknown"
    """They were sent once without an answer that could be kept (a crash, a broken connection), and are refused since:
    most likely they were spent then."""
    REFUSED_AFTER_SIBLING = "refused_after_sibling"
    """They were refused after another account of the login was renewed: most likely both stood for one token."""
    UNKNOWN = "unknown"
    """They were sent without an answer, and their strategy allows no second request."""
    UNREADABLE = "unreadable"
    """A reply that cannot be read, is another person's or came late may hold the only live token."""
    NOT_REFRESHABLE = "not_refreshable"
    """There is no refresh token: nothing can be exchanged."""
    AMBIGUOUS = "ambiguous"
    """A reply renewed it, and does not say which of several pairs is its own: accounts without an id have these."""
    EXPIRED = "expired"
    """The access token has ended, and there was no refresh token."""


@frozen
class Pending:
    """A question that waits for a code."""

    id: str
    """Drawn at random. A code answers this question and no other."""
    document: str = field(repr=masked)
    """The continuation, as `MfaRequired.to_json` writes it."""
    asked_at: datetime
    answered: bool = False
    """A code was sent for it, and nobody knows what came of that."""
    display_message: str | None = None


@frozen(slots=False)  # faster to make
class Account:
    """One account of a login: its tokens, and what became of them."""

    tokens: Tokens
    state: AccountState = AccountState.ACTIVE
    epoch: str = ""
    """Drawn at random with each `add` that is news: what was sent for an earlier one does not count any more."""
    due_at: datetime | None = None
    """When the loop refreshes it; None: never by itself."""
    retry_not_before: datetime | None = None
    """After a failure: nobody but `refresh` tries before."""
    resend_not_before: datetime | None = None
    """After an unknown outcome: nobody sends its tokens before, because another process may still hold new ones."""
    produced_by: int = 0
    """The number of the attempt that brought the stored refresh token; 0 where it was added."""
    settled_by: int = 0
    """The number of the latest attempt that brought anything for it."""
    refreshed_at: datetime | None = None
    """The last success."""
    renewed_at: datetime | None = None
    """When the stored refresh token came."""
    failures: int = 0
    """In a row, since the last success."""
    failing_since: datetime | None = None
    last_error: str | None = None
    """The name of what went wrong last, as in `mesh_refresh.errors`."""
    reason: Reason | None = None
    """Why it is parked."""
    parked_at: datetime | None = None
    display_message: str | None = None
    """What Mesh suggests to show to the person, or why a reply was not taken."""
    failed_by: int = 0
    """The number of the last attempt whose failure was counted: each counts once, however often it is written."""
    refused_at: datetime | None = None
    """The first refusal of these tokens, after which they are sent once more."""
    unknown_since: datetime | None = None
    """These tokens were sent, and nobody knows what became of them."""
    sibling_renewed: bool = False
    """Another account of the login was renewed since these tokens came."""
    behind: bool = False
    """It took a new refresh token from a sibling, and its own access token is older than that."""
    needs_code: bool = False
    """Its last refresh needed a code, so it is refreshed on demand only."""
    renewal_stuck: bool = False
    """Asking for a new refresh token did not move that token's end."""
    pending: Pending | None = None
    body: bytes | None = field(default=None, repr=lambda value: "None" if value is None else masked_size(value))
    """The replies that could not be taken: kept until the person logs in anew, or what is in them is added."""
    known: str = field(default="", repr=lambda value: f"<{len(value)}>")
    """Marks of tokens that this account has or had, so that adding one of them again is no news: see
    `mesh_refresh.logins.fingerprints`."""

    @property
    def parked(self) -> bool:
        """Whether the loop leaves it alone until somebody does something."""
        return self.state not in (AccountState.ACTIVE, AccountState.NOT_REFRESHABLE)

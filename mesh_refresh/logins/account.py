"""One account of a login, as it is kept. `mesh_refresh.keeper.rules` says how it goes from state to state."""

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from mesh_refresh.masking import masked, masked_size
from mesh_refresh.tokens import Tokens


class AccountState(StrEnum):
    """What can be done with an account."""

    ACTIVE = "active"
    """The loop refreshes it when it is due."""
    MFA_REQUIRED = "mfa_required"
    """It waits for a code that the person must type."""
    RECONNECT_REQUIRED = "reconnect_required"
    """Only the person logging in again will help; `Account.reason` says why."""
    UNREADABLE = "unreadable"
    """A reply came that cannot be taken and may hold its only live token: `Account.body` has the bytes."""
    NOT_REFRESHABLE = "not_refreshable"
    """There is nothing to exchange, mostly no refresh token: the access token is good until it ends."""
    MANAGED = "managed"
    """There is nothing to exchange, and nothing to do: Mesh refreshes what its token id stands for."""


_NOT_PARKED = (AccountState.ACTIVE, AccountState.NOT_REFRESHABLE, AccountState.MANAGED)


class Reason(StrEnum):
    """Why an account is parked."""

    REFUSED = "refused"
    """Mesh refused its tokens twice, with a pause between."""
    REFUSED_AFTER_UNKNOWN = "refused_after_unknown"
    """Its tokens were sent once, and no answer could be kept (a crash, a broken connection). They are refused since:
    most likely they were spent then."""
    REFUSED_AFTER_SIBLING = "refused_after_sibling"
    """Its tokens were refused after another account of the login was renewed: most likely both shared one token."""
    UNKNOWN = "unknown"
    """Its tokens were sent, no answer came, and their strategy allows no second request."""
    UNREADABLE = "unreadable"
    """A reply that cannot be read, is another person's or came late may hold the only live token."""
    NOT_REFRESHABLE = "not_refreshable"
    """A refresh was asked for, and there is nothing to exchange."""
    AMBIGUOUS = "ambiguous"
    """A reply renewed the login, and does not say which of several pairs is its own: accounts without an id have these.
    """
    EXPIRED = "expired"
    """The access token has ended, and there was nothing to exchange."""


@frozen
class Pending:
    """A question of the broker that waits for a code. `mesh_refresh.keeper.rules.mfa` has its rules."""

    id: str
    """A random id. A code answers this question and no other."""
    document: str = field(repr=masked)
    """The continuation, as `MfaRequired.to_json` writes it."""
    asked_at: datetime
    answered: bool = False
    """A code was sent for it, and the outcome is not known: no second code is sent."""
    display_message: str | None = None


@frozen(slots=False)  # faster to make
class Account:
    """One account of a login: its tokens, and what became of them."""

    tokens: Tokens
    state: AccountState = AccountState.ACTIVE
    epoch: str = ""
    """A random id, new with each `add` of other tokens: the outcome of an exchange before that does not count."""
    due_at: datetime | None = None
    """When the loop refreshes it. None: never, only a caller does."""
    produced_by: int = 0
    """The number of the attempt that brought the stored refresh token; 0: it was added."""
    settled_by: int = 0
    """The number of the latest attempt that brought anything for it, or that began before its tokens were added."""
    refreshed_at: datetime | None = None
    """The last success."""
    renewed_at: datetime | None = None
    """When the stored refresh token came."""
    known: str = field(default="", repr=lambda value: f"<{len(value)}>")
    """Marks of tokens that this account has or had, so that adding one of them again changes nothing: see
    `mesh_refresh.logins.fingerprints`."""
    retry_not_before: datetime | None = None
    """After a failure: the earliest time at which the loop or `Keeper.tokens` tries again. `Keeper.refresh` need not
    wait."""
    resend_not_before: datetime | None = None
    """After an unknown outcome: the earliest time at which its tokens are sent again. Another process may hold the new
    pair until then, and write it."""
    failures: int = 0
    """In a row, since the last success."""
    failing_since: datetime | None = None
    last_error: str | None = None
    """The last error, mostly the name of a class of `mesh_refresh.errors`."""
    reason: Reason | None = None
    """Why it is parked. Of an active account, why it was, until an exchange has succeeded: it is retried."""
    parked_at: datetime | None = None
    display_message: str | None = None
    """What Mesh suggests to show to the person, or why a reply was not taken."""
    failed_by: int = 0
    """The number of the last attempt whose failure was counted. Each counts once, however often it is written."""
    refused_at: datetime | None = None
    """The first refusal of these tokens, after which they are sent once more."""
    unknown_since: datetime | None = None
    """Since when the stored tokens may be spent: they were sent, and the outcome is not known."""
    sibling_renewed: bool = False
    """Another account of the login was renewed since these tokens came."""
    behind: bool = False
    """It took a new refresh token from a sibling, and its own access token is older: it is due in the same round."""
    needs_code: bool = False
    """Its last refresh needed a code, so the loop leaves it to callers."""
    renewal_stuck: bool = False
    """Asking for a new refresh token did not move that token's end."""
    announced: str = ""
    """The kind of the notice that says how it is now; empty: none does, it works. `mesh_refresh.keeper.rules.notices`
    writes it."""
    pending: Pending | None = None
    body: bytes | None = field(default=None, repr=lambda value: "None" if value is None else masked_size(value))
    """The replies that could not be taken: kept until the person logs in anew, or what is in them is added."""

    @property
    def ends_at(self) -> datetime | None:
        """When its access token ends; None: that is not known, or Mesh renews what the token id stands for."""
        return None if self.state is AccountState.MANAGED else self.tokens.expires_at

    @property
    def parked(self) -> bool:
        """Whether the loop leaves it alone until a person acts: one of three states."""
        return self.state not in _NOT_PARKED

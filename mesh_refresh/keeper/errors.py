"""What a keeper raises, beside the errors of `mesh_refresh`. Each message says what happened, whether a token may be
spent, and what to do.
"""

from datetime import datetime
from typing import Any

from mesh_refresh.errors import InvalidRequest, MeshRefreshError, ReplyFacts
from mesh_refresh.logins import Reason
from mesh_refresh.replies.outcomes import NotSaved
from mesh_refresh.stores.errors import StoreError

WHY = {
    Reason.REFUSED: "the broker refused its tokens twice",
    Reason.REFUSED_AFTER_UNKNOWN: "its tokens were sent once without an answer, and are refused since",
    Reason.REFUSED_AFTER_SIBLING: "its tokens were refused after another account of the login was renewed",
    Reason.UNKNOWN: "its tokens were sent without an answer, and may not be sent twice",
    Reason.UNREADABLE: "a reply that cannot be read may hold its only live token: “mesh-refresh salvage” shows it",
    Reason.NOT_REFRESHABLE: "it has no refresh token",
    Reason.AMBIGUOUS: (
        "a reply renewed its login and does not say which of several pairs is its own: accounts without an id have them"
    ),
    Reason.EXPIRED: "its access token has ended, and there is no refresh token",
}
"""Why accounts are parked."""


class ReconnectNeeded(MeshRefreshError):
    """Fresh tokens come only when the person logs in at the broker again. `tokens` and `refresh` raise it."""

    needs_reconnect = True
    _next = "Let the person log in again, and add what Link hands over. What is stored stays until then."

    def __init__(self, reason: Reason | None, display_message: str | None = None) -> None:
        why = WHY[reason] if reason is not None else "the account is parked"
        super().__init__(f"The person must log in again: {why}.")
        self.facts = ReplyFacts(display_message=display_message)
        self.reason = reason
        """Why the account is parked."""


class NotReadyInTime(MeshRefreshError):
    """There are no fresh tokens yet: `max_wait` is over, or a longer wait could not help."""

    retryable = True
    _next = "What is stored is kept, and the keeper goes on by itself. Ask again later."

    def __init__(self, why: str, *, retry_at: datetime | None = None) -> None:
        when = "" if retry_at is None else f" Not before {retry_at:%Y-%m-%d %H:%M:%S} UTC."
        super().__init__(f"No fresh tokens in time: {why}.{when}")
        self.retry_at = retry_at
        """When it may be worth to ask again; None: not known."""


class KeeperLeaving(NotReadyInTime):
    """The keeper is being left, and begins nothing any more. A keeper in another process may have the answer."""

    def __init__(self) -> None:
        super().__init__("the keeper is being left")


class LoginExists(MeshRefreshError):
    """The login is in the store already, and was to be added as a new one only."""

    _what = "There is such a login already."
    _next = "Nothing was changed. Add its tokens without `only_new`, or under another id."


class CodeNotWanted(InvalidRequest):
    """No open question waits for this code: it was answered already, or never asked."""

    _what = "No code is waited for here; nothing was sent."
    _next = "Look at the account: another process may have answered, or the broker must be let ask anew."


class KeeperClosed(InvalidRequest):
    """The keeper was left, or was not entered yet."""

    _what = "This keeper is not running; nothing was sent."
    _next = "Use it inside `async with Keeper(...)`."


class LeftInSpool(NotSaved):
    """The store did not take new tokens before the keeper was left. They are sealed in its spool, and not lost."""

    _next = "They are sealed in the spool, and the next keeper with the same spool and key takes them up: start it."


def without_secrets(error: BaseException) -> dict[str, Any]:
    """What a log record tells of `error`: its class, and the text of a store's error, which has no secret."""
    found = {"error": type(error).__name__}
    return {**found, "reason": str(error)} if isinstance(error, StoreError) else found

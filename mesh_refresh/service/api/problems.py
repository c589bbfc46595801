"""What callers of the API are told of an error. The most derived class that has a row says it.

A detail is in words of this package. What Mesh or a broker wrote stands in `displayMessage` alone.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from attrs import frozen

from mesh_refresh.errors import (
    ClientRefused,
    Conflict,
    InvalidRequest,
    Locked,
    MeshRefreshError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
    RedirectRefused,
    RequestRejected,
    Throttled,
    TokensRefused,
    Unavailable,
    UnavailableForLegalReasons,
)
from mesh_refresh.keeper import (
    AmbiguousAccount,
    CodeNotWanted,
    KeeperClosed,
    KeeperLeaving,
    LoginExists,
    LoginMoved,
    NotReadyInTime,
    ReconnectNeeded,
    UnknownAccount,
    UnknownLogin,
)
from mesh_refresh.observing import outcome_name
from mesh_refresh.replies.outcomes import AccountNotInReply, CodeRefused, MfaPending
from mesh_refresh.service.api.parameters import MediaTypeRefused
from mesh_refresh.service.web.problems import jittered, problem
from mesh_refresh.stores import StoreDamaged, StoreError, WrongKey

_SOON = 2.0
"""Seconds until a caller may ask again, where it is not known when that is of use."""
_LONGEST_WAIT = 3600.0

_DETAILS: Mapping[type[MeshRefreshError], str] = {
    AmbiguousAccount: "The login has several accounts. Nothing was sent. Name one of accountIds as accountId.",
    CodeRefused: "The broker refused this code. No token is spent, and the question is still open: ask the person once "
    "more, and send the code with the same pendingId.",
    LoginExists: "There is a login with this id, and nothing was changed. Without If-None-Match its tokens are added.",
    LoginMoved: "The login was moved to another store. Nothing was sent. Ask a service on that store.",
    MfaPending: "The broker wants an MFA code. Ask the person for it, and POST it to mfa with this pendingId.",
    UnknownAccount: "The login has no such account. Nothing was sent. GET of the login lists its accounts.",
}
"""What is told in place of an error's own words, where these speak of Python."""


@frozen
class ProblemForm:
    """How an error is told."""

    status: int
    reason: str
    members: Callable[[Any], Mapping[str, Any]] = lambda _: {}
    """What else a program needs of the error."""


_EXCHANGE_FAILED = ProblemForm(
    502,
    "exchange_failed",
    lambda error: {
        "error": outcome_name(error),
        "retryable": error.retryable,
        "tokenMayBeSpent": error.token_may_be_spent,
    },
)
_INTERNAL = ProblemForm(500, "internal")
_UNREADABLE = ProblemForm(500, "login_unreadable")
_STOPPING = ProblemForm(503, "stopping")
_NO_STORE = ProblemForm(503, "store_unavailable")

ANSWERS: Mapping[type[MeshRefreshError], ProblemForm] = {
    MeshRefreshError: _INTERNAL,
    InvalidRequest: ProblemForm(422, "invalid_request"),
    MediaTypeRefused: ProblemForm(415, "unsupported_media_type"),
    CodeNotWanted: ProblemForm(409, "code_not_wanted"),
    KeeperClosed: _STOPPING,
    KeeperLeaving: _STOPPING,
    NotReadyInTime: ProblemForm(503, "not_ready"),
    UnknownLogin: ProblemForm(404, "unknown_login"),
    UnknownAccount: ProblemForm(404, "unknown_account"),
    LoginMoved: ProblemForm(421, "login_moved"),
    LoginExists: ProblemForm(412, "login_exists"),
    AmbiguousAccount: ProblemForm(409, "ambiguous_account", lambda error: {"accountIds": list(error.account_ids)}),
    MfaPending: ProblemForm(
        409,
        "mfa_pending",
        lambda error: {"pendingId": error.pending_id, "displayMessage": error.display_message},
    ),
    ReconnectNeeded: ProblemForm(
        409, "reconnect_required", lambda error: {"why": error.reason, "displayMessage": error.display_message}
    ),
    CodeRefused: ProblemForm(422, "code_refused", lambda error: {"displayMessage": error.display_message}),
    StoreError: _NO_STORE,
    StoreDamaged: _UNREADABLE,
    WrongKey: _UNREADABLE,
    **dict.fromkeys(
        (
            NotSent,
            OutcomeUnknown,
            TokensRefused,
            RequestRejected,
            ClientRefused,
            PermissionDenied,
            NotFound,
            UnavailableForLegalReasons,
            Conflict,
            Locked,
            Throttled,
            Unavailable,
            RedirectRefused,
            AccountNotInReply,
        ),
        _EXCHANGE_FAILED,
    ),
}
"""Of errors without a row of their own, the row of the nearest class above counts."""


def answer_of(error: MeshRefreshError) -> ProblemForm:
    """How `error` is told. Where a keeper had no tokens because its store failed, the store's error counts."""
    cause = error.__cause__
    if isinstance(error, NotReadyInTime) and isinstance(cause, TimeoutError):
        return _NO_STORE
    told = cause if isinstance(error, NotReadyInTime) and isinstance(cause, StoreError) else error
    return next(ANSWERS[kind] for kind in type(told).__mro__ if kind in ANSWERS)


def outcome_of(error: BaseException) -> str:
    """How the audit names the end of a call that `error` has broken off."""
    if isinstance(error, MeshRefreshError):
        return answer_of(error).reason
    return "internal" if isinstance(error, Exception) else "cancelled"


def words_of(error: MeshRefreshError) -> str:
    """What `error` says to people: its text without the facts at its end."""
    return str(error).removesuffix(f" [{error.facts}]")


def explain(error: MeshRefreshError) -> web.Response:
    """The answer for an error that a handler raised."""
    answer = answer_of(error)
    return problem(
        answer.status,
        answer.reason,
        None if answer is _INTERNAL else _DETAILS.get(type(error)) or words_of(error),
        retry_after=_retry_after(answer, error) if answer.status == 503 else None,
        **answer.members(error),
    )


def _retry_after(answer: ProblemForm, error: MeshRefreshError) -> float:
    """Seconds, spread so that callers who were refused together do not come back together."""
    if answer is _STOPPING:
        return 1.0
    at = error.retry_at if isinstance(error, NotReadyInTime) else None
    left = 0.0 if at is None else min(max(0.0, (at - datetime.now(UTC)).total_seconds()), _LONGEST_WAIT)
    return left + jittered(_SOON)

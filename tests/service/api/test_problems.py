"""Every error of this package has an answer; the most derived class says which."""

import asyncio
import importlib
import json
import pkgutil
from datetime import UTC, datetime, timedelta

import pytest

import mesh_refresh
from mesh_refresh import MeshRefreshError, MfaPending, ReplyFacts, Throttled, TokensRefused
from mesh_refresh.keeper import (
    AmbiguousAccount,
    CodeNotWanted,
    KeeperClosed,
    LoginExists,
    LoginMoved,
    NotReadyInTime,
    Reason,
    ReconnectNeeded,
    UnknownAccount,
    UnknownLogin,
)
from mesh_refresh.observing import outcome_name
from mesh_refresh.replies.outcomes import CodeRefused
from mesh_refresh.service.api.problems import ANSWERS, answer_of, explain, outcome_of
from mesh_refresh.stores import StoreUnavailable, WrongKey

pytestmark = pytest.mark.once

EXCHANGE_FAILED = (502, "exchange_failed")
EXPECTED = {
    "InvalidRequest": (422, "invalid_request"),
    "NewerVersion": (422, "invalid_request"),  # of a spool's file: it reaches no caller
    "MediaTypeRefused": (415, "unsupported_media_type"),
    "CodeNotWanted": (409, "code_not_wanted"),
    "KeeperClosed": (503, "stopping"),
    "KeeperLeaving": (503, "stopping"),
    "NotReadyInTime": (503, "not_ready"),
    "UnknownLogin": (404, "unknown_login"),
    "UnknownAccount": (404, "unknown_account"),
    "LoginMoved": (421, "login_moved"),
    "LoginExists": (412, "login_exists"),
    "AmbiguousAccount": (409, "ambiguous_account"),
    "MfaPending": (409, "mfa_pending"),
    "ReconnectNeeded": (409, "reconnect_required"),
    "CodeRefused": (422, "code_refused"),
    "StoreError": (503, "store_unavailable"),
    "StoreUnavailable": (503, "store_unavailable"),
    "StoreRefused": (503, "store_unavailable"),
    "StoreDamaged": (500, "login_unreadable"),
    "StoreOfNewerVersion": (500, "login_unreadable"),
    "WrongKey": (500, "login_unreadable"),
    **dict.fromkeys(
        (
            "AccountNotInReply",
            "ClientRefused",
            "Conflict",
            "Locked",
            "NotFound",
            "NotSent",
            "OutcomeUnknown",
            "PermissionDenied",
            "RedirectRefused",
            "RequestRejected",
            "ServerFailure",
            "Throttled",
            "TokensRefused",
            "Unavailable",
            "UnavailableForLegalReasons",
            "UnreadableReply",
        ),
        EXCHANGE_FAILED,
    ),
}
"""Of all others, which reach no caller of the API: 500 `internal`."""


def kinds(root: type[MeshRefreshError]) -> set[type[MeshRefreshError]]:
    return {root, *(found for kind in root.__subclasses__() for found in kinds(kind))}


def test_every_error_has_an_answer() -> None:
    """One that is new and has none of its own gets that of the nearest class, and this test asks whether it should."""
    for module in pkgutil.walk_packages(mesh_refresh.__path__, "mesh_refresh."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind for kind in kinds(MeshRefreshError) if kind.__module__.startswith("mesh_refresh.")}
    assert {kind.__name__ for kind in ours} >= EXPECTED.keys()
    answers = {kind.__name__: answer_of(kind.__new__(kind)) for kind in ours}
    found = {name: (answer.status, answer.reason) for name, answer in answers.items()}
    assert found == {name: EXPECTED.get(name, (500, "internal")) for name in found}
    rows = {(answer.status, answer.reason) for answer in ANSWERS.values()}
    assert rows == {*EXPECTED.values(), (500, "internal")}


def told(error: MeshRefreshError) -> dict[str, object]:
    response = explain(error)
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    found: dict[str, object] = json.loads(response.body)
    assert found.pop("status") == response.status
    return found


def test_errors_say_what_a_program_needs() -> None:
    found = told(AmbiguousAccount(account_ids=("x", "y")))
    assert found["accountIds"] == ["x", "y"]
    found = told(MfaPending(pending_id="p", display_message="Look at your telephone."))
    assert (found["pendingId"], found["displayMessage"]) == ("p", "Look at your telephone.")
    found = told(ReconnectNeeded(Reason.REFUSED, "Log in."))
    assert (found["why"], found["displayMessage"]) == ("refused", "Log in.")
    found = told(Throttled())
    assert (found["error"], found["retryable"], found["tokenMayBeSpent"]) == ("throttled", True, False)


def test_a_detail_is_in_our_own_words() -> None:
    """What Mesh wrote stands nowhere but in `displayMessage`."""
    facts = ReplyFacts(
        http_status=400, error_type="planted", message="planted", request_ids={"X-Request-Id": "planted"}
    )
    for error in (TokensRefused(facts=facts), Throttled(facts=facts)):
        assert "planted" in str(error)
        assert "planted" not in str(told(error))
    assert "detail" not in told(MeshRefreshError("planted"))


@pytest.mark.parametrize(
    "error",
    [
        AmbiguousAccount(account_ids=("x", "y")),
        CodeNotWanted(),
        CodeRefused(),
        LoginExists(),
        LoginMoved(),
        MfaPending(),
        ReconnectNeeded(Reason.REFUSED),
        UnknownAccount(),
        UnknownLogin(),
    ],
    ids=outcome_name,
)
def test_a_detail_does_not_speak_of_python(error: MeshRefreshError) -> None:
    """Most callers are written in another language, and have neither a keeper nor a continuation."""
    detail = str(told(error)["detail"])
    assert not [
        word for word in ("`", "account_id", ".accounts", ".pending", "keeper", "continuation") if word in detail
    ]


def test_a_store_that_fails_under_a_keeper_is_told_as_such() -> None:
    """`NotReadyInTime` says only that there are no tokens yet."""
    for cause, reason in (
        (StoreUnavailable(), "store_unavailable"),
        (WrongKey(), "login_unreadable"),
        (TimeoutError(), "store_unavailable"),
        (ValueError(), "not_ready"),
        (None, "not_ready"),
    ):
        error = NotReadyInTime("the store failed")
        error.__cause__ = cause
        assert told(error)["reason"] == reason
    moved = LoginMoved()
    moved.__cause__ = WrongKey()
    assert told(moved)["reason"] == "login_moved"


def test_callers_are_told_when_to_come_back_each_at_another_time() -> None:
    def waits(error: MeshRefreshError) -> set[int]:
        return {int(explain(error).headers["Retry-After"]) for _ in range(99)}

    assert waits(KeeperClosed()) == {1}
    soon = waits(NotReadyInTime("later"))
    assert len(soon) > 1
    assert soon <= {2, 3, 4}
    at = datetime.now(UTC) + timedelta(seconds=60)
    later = waits(NotReadyInTime("later", retry_at=at))
    assert min(later) >= 60
    assert max(later) <= 64
    assert len(later) > 1
    assert max(waits(NotReadyInTime("never", retry_at=at + timedelta(days=9)))) <= 3604
    assert "Retry-After" not in explain(MfaPending(pending_id="p")).headers


def test_the_audit_tells_a_bug_from_a_caller_who_has_hung_up() -> None:
    """And both from an error that callers are told of."""
    ends = (UnknownLogin(), KeyError("a bug"), asyncio.CancelledError())
    assert [outcome_of(end) for end in ends] == ["unknown_login", "internal", "cancelled"]

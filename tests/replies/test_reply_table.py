"""The design's table of replies, row by row and in every combination."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from attrs import frozen

from mesh_refresh import (
    ApiStatus,
    ClientRefused,
    CodeRefused,
    Conflict,
    Locked,
    MeshRefreshError,
    MfaRequired,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RedirectRefused,
    Refreshed,
    RequestRejected,
    ServerFailure,
    Throttled,
    TokensRefused,
    Unavailable,
    UnavailableForLegalReasons,
    UnreadableReply,
)
from tests.replies.wire_replies import CODE, OLD, PAIR, content, decoded, entry, envelope, read, refusal, success

BY_STATUS: dict[str | None, type[MeshRefreshError]] = {
    "serverFailure": ServerFailure,
    "permissionDenied": PermissionDenied,
    "notFound": NotFound,
    "conflict": Conflict,
    "tooManyRequest": Throttled,
    "locked": Locked,
    "unavailableForLegalReasons": UnavailableForLegalReasons,
}
BY_CODE: dict[int, type[MeshRefreshError]] = {
    302: RedirectRefused,
    307: RedirectRefused,
    308: RedirectRefused,
    401: ClientRefused,
    403: PermissionDenied,
    404: NotFound,
    408: ServerFailure,
    409: Conflict,
    423: Locked,
    429: Throttled,
    451: UnavailableForLegalReasons,
    500: ServerFailure,
    502: ServerFailure,
    503: Unavailable,
    504: ServerFailure,
    520: ServerFailure,
}
RETRYABLE = {Conflict, Locked, Throttled, Unavailable}
UNKNOWN = {OutcomeUnknown, ServerFailure, UnreadableReply}
HTML = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"
PROBLEM = {"type": "about:blank", "title": "One or more validation errors occurred", "status": 400, "instance": "/x"}
NO_OBJECTS: list[object] = ["text", 7, [], True, None]
STATUSES = (*(str(status) for status in ApiStatus), None, "splendid")


@frozen
class Case:
    """One enveloped reply."""

    http: int
    status: str | None
    content_status: str | None
    token: bool
    error_type: str
    has_content: bool = True

    @property
    def body(self) -> dict[str, Any]:
        entries = (PAIR,) if self.token else ()
        inner = content(*entries, status=self.content_status) if self.has_content else None
        return envelope(inner, self.status, errorType=self.error_type)

    def expected(self) -> type[object]:
        """By the table: HTTP code, then envelope status, then content status; a token outranks a status."""
        if not 200 <= self.http < 300:
            return UnreadableReply if self.token else self.refused()
        if self.content_status == "mfaRequired":
            return MfaRequired
        if self.token:
            return UnreadableReply if self.content_status == "failed" else Refreshed
        if self.status in BY_STATUS:
            return BY_STATUS[self.status]
        if self.content_status == "failed":
            return TokensRefused
        if self.status == "badRequest":
            return RequestRejected if self.error_type == "missingField" else TokensRefused
        return UnreadableReply

    def refused(self) -> type[object]:
        if self.http in BY_CODE:
            return BY_CODE[self.http]
        if self.status in BY_STATUS:
            return BY_STATUS[self.status]
        return TokensRefused if self.http == 400 and self.error_type != "missingField" else RequestRejected


def cases(http: int) -> Iterator[Case]:
    content_statuses = ("succeeded", "failed", "mfaRequired", None, "renewed")
    for row in product(STATUSES, content_statuses, (False, True), ("", "badRequest", "missingField")):
        yield Case(http, *row)
    for status, error_type in product(STATUSES, ("", "badRequest", "missingField")):
        yield Case(http, status, None, token=False, error_type=error_type, has_content=False)


@pytest.mark.parametrize("http", [200, 201, 204, 299, 400, 402, 418, 422, *BY_CODE])
def test_every_combination(http: int) -> None:
    """HTTP code, envelope, content status, token and errorType make the class that the table says."""
    for case in cases(http):
        reply, expected = decoded(case.http, case.body), case.expected()
        for code in (None, CODE):
            try:
                found: object = read(reply, code=code)
            except MeshRefreshError as error:
                found = error
            wanted = CodeRefused if code and expected is TokensRefused else expected
            assert type(found) is wanted, (case, code)


@pytest.mark.parametrize("http", [200, 400, 402, 418, 422, *BY_CODE])
@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("html", HTML),
        ("empty", b""),
        ("blank", b"\r\n "),
        ("problem", PROBLEM),
        ("array", [1, 2]),
        ("object", {"error": "nope"}),
        ("text", "null"),
    ],
)
def test_bodies_that_are_no_envelope(http: int, form: str, body: object) -> None:
    """But for 400 and 503, ProblemDetails, HTML and empty bodies give the same class by their code."""
    by_code = {200: UnreadableReply, 503: ServerFailure, **{http: BY_CODE[http] for http in BY_CODE if http != 503}}
    expected = by_code.get(http, RequestRejected)
    error = refusal(decoded(http, body))
    assert type(error) is expected
    assert error.http_status == http
    if isinstance(error, UnreadableReply):
        assert not error.may_hold_token


def test_unavailable_by_retry_after_alone() -> None:
    """A 503 without the envelope is Mesh's own where it has a Retry-After, and an unknown outcome where it has none."""
    assert type(refusal(decoded(503, HTML, {"Retry-After": "7"}))) is Unavailable
    assert type(refusal(decoded(503, HTML))) is ServerFailure


def test_problem_details_may_carry_a_string_status() -> None:
    """ProblemDetails of a 400 are no refusal of tokens, whatever type their status has."""
    for status in (400, "400", None):
        assert type(refusal(decoded(400, {**PROBLEM, "status": status}))) is RequestRejected


def test_informational_codes_are_no_answer() -> None:
    """A code below 200 is an unknown outcome."""
    assert type(refusal(decoded(103, b""))) is UnreadableReply


@pytest.mark.parametrize("http", [200, 302, 400, 401, 429, 500, 503])
def test_a_cut_body_is_unreadable_under_every_code(http: int) -> None:
    """A body cut short says nothing for certain, even where what came can be read: a refusal would cost a login."""
    bodies: list[Any] = [b"", b'{"content": {"sta', envelope(None, "badRequest")]
    for body in (*bodies, success(PAIR)) if http != 200 else bodies:
        assert type(refusal(decoded(http, body, complete=False))) is UnreadableReply


def test_a_whole_success_in_a_cut_body_is_read() -> None:
    """An object that closes is whole, whatever its framing said: its tokens are taken."""
    for body in (
        success(PAIR),
        json.dumps(success(PAIR)).encode() + b"\r\n",
        b"\r\n" + json.dumps(success(PAIR)).encode(),
    ):
        assert read(decoded(200, body, complete=False)).all_tokens[0].refresh_token == PAIR["refreshToken"]


@pytest.mark.parametrize("http", sorted({200, 400, 422, *BY_CODE}))
def test_flags(http: int) -> None:
    """Only what is safe and useful to send again is retryable, only a refusal of tokens asks for a new login."""
    for case in cases(http):
        if case.token or case.content_status == "mfaRequired":
            continue
        for code in (None, CODE):
            error = refusal(decoded(case.http, case.body), code=code)
            assert error.retryable is (type(error) in RETRYABLE)
            assert error.needs_reconnect is (type(error) is TokensRefused)
            assert error.token_may_be_spent is (type(error) in UNKNOWN)
            assert isinstance(error, OutcomeUnknown) is (type(error) in UNKNOWN)


def test_every_kind_of_token_outranks_the_envelope() -> None:
    """An access token, a refresh token or a token id alone is a success, whatever the envelope says."""
    for name, status in product(("accessToken", "refreshToken", "tokenId"), STATUSES):
        for inner in (content({name: "fake-new"}), content({name: "fake-new"}, status="renewed")):
            assert type(read(decoded(200, envelope(inner, status)))) is Refreshed


def test_the_deprecated_top_level_is_a_success_too() -> None:
    """A token that stands only at the top level of the content is a token."""
    for name in ("accessToken", "refreshToken"):
        assert type(read(decoded(200, success(**{name: "fake-new"})))) is Refreshed


def test_an_echo_under_failed_is_a_refusal() -> None:
    """A reply that failed and repeats what was sent brings nothing new: the tokens are refused."""
    echo = content({"accessToken": OLD.access_token, "refreshToken": OLD.refresh_token}, status="failed")
    assert type(refusal(decoded(200, envelope(echo)))) is TokensRefused
    assert type(refusal(decoded(400, envelope(echo, "badRequest")))) is TokensRefused


def test_code_refused_names_no_pending_before_the_client_does() -> None:
    """A refusal of a request with a code is a CodeRefused; its class has a place for the continuation."""
    error = refusal(decoded(400, envelope(None, "badRequest")), code=CODE)
    assert isinstance(error, CodeRefused)
    assert error.pending is None


def test_a_second_mfa_round_is_no_refusal() -> None:
    """A request with a code may be answered by another question."""
    assert type(read(decoded(200, envelope(content(status="mfaRequired"))), code=CODE)) is MfaRequired


def test_content_of_a_wrong_type_is_no_content() -> None:
    """A content that is not an object is a success without a token: an unknown outcome."""
    for wrong in NO_OBJECTS:
        error = refusal(decoded(200, envelope(wrong)))
        assert isinstance(error, UnreadableReply)
        assert not error.may_hold_token


def test_entry_that_is_not_listed() -> None:
    """A single entry that is not in a list is an entry all the same."""
    inner = {"status": "succeeded", "brokerAccountTokens": entry(**PAIR)}
    assert type(read(decoded(200, envelope(inner)))) is Refreshed

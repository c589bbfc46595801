"""Which unreadable replies may be the only copy of a token, and so are kept, and which cannot."""

from typing import Any

import pytest

from mesh_refresh import MeshRefreshError, UnreadableReply
from tests.replies.wire_replies import CODE, OLD, PAIR, content, decoded, envelope, refusal, success

TOKEN = "fake-refresh-new"


def unreadable(status: int, body: object, **options: Any) -> UnreadableReply:
    error: MeshRefreshError = refusal(decoded(status, body, **options))
    assert isinstance(error, UnreadableReply), error
    return error


@pytest.mark.parametrize(
    "body",
    [
        b'{"content": {"brokerAccountTokens": [{"refreshToken": "fake-refr',
        b'{"content": {"brokerAccountTokens": [{"refreshToken": "fake-refresh-new"}]}',
        b'{"content"',
        b"[{",
        b'\xef\xbb\xbf{"content": {"refreshToken": "fake-refresh-new"',
        b'{"content": {"refreshToken": "fake-refresh-new \xff"}}',
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_broken_json_may(body: bytes, complete: bool) -> None:
    """JSON that breaks off, or a connection that does, may hide a token: the bytes are kept as they came."""
    error = unreadable(200, body, complete=complete)
    assert error.may_hold_token
    assert error.body == body
    assert error.before == OLD
    assert error.all_tokens == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"<html><body>502</body></html>",
        b"OK",
        b"{}",
        b"[]",
        b"null",
        b'"text"',
        b'{"status": "ok", "message": "fine", "content": {"status": "succeeded"}}',
    ],
)
def test_prose_and_tokenless_json_may_not(body: bytes) -> None:
    """HTML, an empty body, or JSON with no field like a token cannot be the only copy of one."""
    assert not unreadable(200, body).may_hold_token


@pytest.mark.parametrize("body", [b"", b"<html><body>502"])
def test_prose_that_is_cut_may_not(body: bytes) -> None:
    """Nothing, or the beginning of a page, hides no token when it is cut short."""
    assert not unreadable(200, body, complete=False).may_hold_token


@pytest.mark.parametrize(
    "body",
    [
        envelope(content({"refreshToken": TOKEN}, status="failed")),
        envelope(content(status="failed", refreshToken=TOKEN)),
        envelope(content(status="succeeded", novelty={"refreshToken": TOKEN})),
        envelope(None, refreshToken=TOKEN),
        envelope(None, errorData={"refresh_token": TOKEN}),
        envelope(None, errorData=[[{"authToken": TOKEN}]]),
        envelope(content({"tokens": {"tokenId": TOKEN}})),
        [{"accessToken": TOKEN}],
        {"refreshToken": TOKEN},
        {"token": 1234567890},
    ],
)
def test_a_token_at_an_odd_place_may(body: object) -> None:
    """A token where none is expected, or under a status that says failed, is kept."""
    error = unreadable(200, body)
    assert error.may_hold_token
    assert error.needs_reconnect is error.retryable is False


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 408, 409, 418, 423, 429, 451, 500, 502, 503])
def test_a_new_token_under_every_error_code(status: int) -> None:
    """An error code over a new token is an unreadable reply that keeps the bytes."""
    for body in (success(PAIR), envelope(None, "badRequest", errorData={"refreshToken": TOKEN}), {"token": TOKEN}):
        error = unreadable(status, body)
        assert error.may_hold_token
        assert TOKEN.encode() in error.body
    broken = b'{"status": "serverFailure", "content": {"refreshToken": "fake-refresh-new"'
    assert unreadable(status, broken).may_hold_token


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_an_echo_is_not_new(status: int) -> None:
    """An error that repeats the tokens that were sent is read by its code."""
    echo = {"refreshToken": OLD.refresh_token, "accessToken": None, "token": ""}
    assert not isinstance(refusal(decoded(status, envelope(None, "badRequest", errorData=echo))), UnreadableReply)


def test_an_echo_of_a_code_is_not_new() -> None:
    """What was sent with a code is no new token either."""
    sent = {"token": CODE, "refreshToken": OLD.refresh_token, "accessToken": OLD.access_token}
    error = refusal(decoded(400, envelope(None, "badRequest", errorData=sent)), code=CODE)
    assert not isinstance(error, UnreadableReply)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_too_deep_to_look_through_may(status: int) -> None:
    """A nesting that nobody can look through may hide anything."""
    for depth in (60, 300, 900, 5_000):
        body = b'{"errorData": ' + b"[" * depth + b'{"refreshToken": "fake-refresh-new"}' + b"]" * depth + b"}"
        assert unreadable(status, body).may_hold_token, depth


@pytest.mark.parametrize(
    "body",
    [
        {"content": {"status": "succeeded", "refreshToken": {"value": TOKEN}}},
        {"content": {"status": "succeeded", "refreshToken": [TOKEN]}},
        '{"content": {"refreshToken": "fake-refresh-new"}}',
        {"content": '{"refreshToken": "fake-refresh-new"}'},
    ],
)
def test_a_field_like_a_token_of_an_odd_type_may(body: object) -> None:
    """A token inside an object, a list or a JSON text under a token's name is in a field like it."""
    assert unreadable(200, body).may_hold_token


def test_advice() -> None:
    """Only where the bytes may hold a token does the text ask to keep them."""
    assert "Keep .body" in str(unreadable(200, b'{"content"'))
    assert "Keep .body" not in str(unreadable(200, b"<html>"))

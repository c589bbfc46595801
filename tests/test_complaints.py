"""Errors that name tokens without holding one."""

import json
from typing import Any

import pytest

from mesh_refresh import MeshRefreshError, RequestRejected, TokensRefused
from tests.replies.wire_replies import decoded, refusal

ASP_NET = {
    "title": "One or more validation errors occurred.",
    "status": 400,
    "errors": {"RefreshToken": ["The RefreshToken field is required."]},
}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (ASP_NET, RequestRejected),
        ({"status": "badRequest", "message": "no", "errorData": {"token": "expired"}}, TokensRefused),
        ({"status": "badRequest", "errorType": "missingField", "errorData": {"accessToken": ["x"]}}, RequestRejected),
    ],
)
def test_a_field_that_is_wrong(body: dict[str, Any], wanted: type[MeshRefreshError]) -> None:
    """What an error says about a token's field is not taken for a token."""
    assert type(refusal(decoded(400, json.dumps(body).encode()))) is wanted

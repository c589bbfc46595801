"""What Mesh checks of a request before any broker sees it, and the envelopes that it answers with.

Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
"""

import json
import zlib
from collections.abc import Collection, Mapping
from types import NoneType
from typing import Any

from attrs import field, frozen

from mesh_refresh.enums import ApiStatus, AuthStatus, BrokerType
from mesh_refresh.masking import masked_values
from mesh_refresh.testing.fake.options import NEEDS_ACCESS_TOKEN
from mesh_refresh.testing.model.holdings import counted

REFRESH_PATH = "/api/v1/token/refresh"
BROKERS: frozenset[str] = frozenset(BrokerType)
UNAUTHORIZED_TOKEN = "Unauthorized token"
_NOT_CORRECT = "Could not refresh the authentication token. The provided data is not correct"


@frozen
class Answer:
    """What Mesh would answer, before any fault touches it."""

    status: int
    payload: dict[str, Any] = field(repr=masked_values)
    outcome: str
    """In one word, for the tests: ``succeeded``, ``mfaRequired``, ``failed``, ``badRequest``, ``missingField``..."""
    issued: tuple[str, ...] = field(default=(), repr=counted)
    """The refresh tokens that this reply alone brings."""

    @property
    def body(self) -> bytes:
        """The payload as JSON."""
        return json.dumps(self.payload, separators=(",", ":")).encode()


def envelope(status: str = ApiStatus.OK, message: str = "", **parts: Any) -> dict[str, Any]:
    """Mesh's envelope. A part that is None is left out."""
    kept = {key: value for key, value in parts.items() if value is not None}
    text = f"{status}{message}{kept.get('errorType', '')}"
    return {
        "status": str(status),
        "message": message,
        "errorHash": f"{zlib.crc32(text.encode()):08x}",
        "errorType": "",
        **kept,
    }


def success(content: dict[str, Any]) -> dict[str, Any]:
    """The envelope of HTTP 200, around `content`, whose status may still say anything."""
    return envelope(content=content)


def failed_content(message: str) -> dict[str, Any]:
    """A ``content`` that says that the broker refused."""
    return {"status": str(AuthStatus.FAILED), "errorMessage": message}


def bad_request(message: str, *, error_type: str = "badRequest") -> Answer:
    """HTTP 400 with Mesh's envelope."""
    shown = _NOT_CORRECT if error_type == "badRequest" else message
    payload = envelope(ApiStatus.BAD_REQUEST, message, displayMessage=shown, errorType=error_type)
    return Answer(400, payload, error_type)


def unauthorized_token(outcome: str = "badRequest") -> Answer:
    """What a bad broker token gets: a 400, in the page's own words."""
    answer = bad_request(UNAUTHORIZED_TOKEN)
    return Answer(answer.status, answer.payload, outcome)


def client_refused() -> Answer:
    """HTTP 401: the client's keys are wrong."""
    return Answer(401, envelope(ApiStatus.PERMISSION_DENIED, "Client id or secret is not valid"), "clientRefused")


def check_body(body: object, extra_brokers: Collection[str] = ()) -> Answer | None:
    """The refusal of a body that breaks the contract; None for one that keeps it."""
    if not isinstance(body, dict):
        return bad_request("The body must be a JSON object")
    for name in ("refreshToken", "type"):
        if body.get(name) in (None, ""):
            return bad_request(f"{name} is required", error_type="missingField")
    for name, value in body.items():
        if name not in FIELDS:
            return bad_request(f"Unknown field {name[:40]}")
        inside = value.values() if isinstance(value, dict) else ()
        if not isinstance(value, FIELDS[name]) or not all(isinstance(it, str | None) for it in inside):
            return bad_request(f"{name} is of a wrong type")
    if body["type"] not in BROKERS and body["type"] not in extra_brokers:
        return bad_request("type is not a broker")
    if body["type"] in NEEDS_ACCESS_TOKEN and not body.get("accessToken"):
        return bad_request("accessToken is required", error_type="missingField")
    return None


def is_json(content_type: str | None) -> bool:
    """Whether a ``Content-Type`` announces JSON."""
    return (content_type or "").split(";")[0].strip().lower() == "application/json"


def parse(body: bytes) -> object:
    """The JSON value of `body`; None where it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


FIELDS: Mapping[str, tuple[type, ...]] = {
    "type": (str,),
    "refreshToken": (str,),
    "createNewRefreshToken": (bool, NoneType),
    "accessToken": (str, NoneType),
    "tradeToken": (str, NoneType),
    "mfaCode": (str, NoneType),
    "metadata": (dict, NoneType),
}
"""The type of each field. What is in ``metadata`` are texts or nulls too."""

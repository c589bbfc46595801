"""What goes over the wire in place of a faultless reply, as a value that the server only has to write.

At the end are replies that give back what was sent.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from attrs import evolve, field, frozen

from mesh_refresh.codec import BODY_LIMIT
from mesh_refresh.enums import ApiStatus, AuthStatus
from mesh_refresh.masking import masked_size, masked_values
from mesh_refresh.testing.model.contract import Answer, envelope


class Delivery(Enum):
    """What becomes of the pair under a fault."""

    UNTOUCHED = "Mesh does nothing: the tokens that were sent stay in force"
    WHOLE = "Mesh does its work, and the reply can be read as what it is"
    BURIED = "Mesh does its work; the new pair is on the wire whole, but not in a reply that reads as a success"
    WITHHELD = "Mesh does its work, and the new pair is not on the wire, or not whole"


@frozen
class Sent:
    """The parts of a request that a fault may use."""

    body: Mapping[str, Any] = field(repr=masked_values)
    headers: Mapping[str, str] = field(repr=masked_values)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that was sent."""
        names = ("X-Client-Id", "X-Client-Secret")
        keys = [value for name, value in self.headers.items() if name.lower() in map(str.lower, names)]
        return (*(str(value) for name, value in self.body.items() if name != "type" and value), *keys)


JSON_TYPE = "application/json; charset=utf-8"
OVERSIZE = BODY_LIMIT + (1 << 16)
"""More than a client should read."""


@frozen
class Wire:
    """A reply to be written, whole or in part."""

    status: int = 200
    body: bytes = field(default=b"", repr=masked_size)
    headers: Mapping[str, str] = field(factory=dict, repr=masked_values)
    written: int | None = None
    """How many bytes of the body go out before the connection is cut; None: all, and it is not cut."""
    silent: bool = False
    """The connection is cut with nothing written at all."""
    chunked: bool = False
    readable: bytes | None = field(default=None, repr=masked_size)
    """The body before compression, where it is compressed."""

    @property
    def sent(self) -> bytes:
        """What of the body the client can get, before compression."""
        if self.silent:
            return b""
        return self.readable if self.readable is not None else self.body[: self.written]


def faultless(answer: Answer) -> Wire:
    """The answer as Mesh sends it."""
    return Wire(answer.status, answer.body, {"Content-Type": JSON_TYPE})


def json_reply(status: int, payload: object, headers: Mapping[str, str] | None = None) -> Wire:
    """`payload` as JSON."""
    return Wire(status, json.dumps(payload).encode(), {"Content-Type": JSON_TYPE, **(headers or {})})


def cut_in_half(answer: Answer, *, chunked: bool, keep_pair: bool) -> Wire:
    """The reply up to its middle, which is before the first whole token; or up to behind its last token."""
    wire = faultless(answer)
    if keep_pair:
        ends = [wire.body.rfind(value.encode()) + len(value) + 1 for value in answer.issued]
        at = max(ends, default=len(wire.body) // 2)
    else:
        # Through the middle of the first new refresh token, so that what is left looks like a token and is none.
        first = min((wire.body.find(value.encode()) for value in answer.issued), default=len(wire.body) // 2 - 10)
        at = first + 10
    return evolve(wire, written=at, chunked=chunked)


def oversize(answer: Answer) -> Wire:
    """The reply, its tokens first, in more bytes than anyone should read."""
    payload = {"content": answer.payload.get("content"), **answer.payload, "padding": "x" * OVERSIZE}
    return json_reply(answer.status, payload)


def broken_json(answer: Answer) -> Wire:
    """The reply with its last brace missing, though the length agrees."""
    wire = faultless(answer)
    return evolve(wire, body=wire.body[:-1])


def gzipped(answer: Answer) -> Wire:
    """The reply, compressed."""
    wire = faultless(answer)
    compressed = gzip.compress(wire.body, mtime=0)
    return evolve(wire, body=compressed, headers={**wire.headers, "Content-Encoding": "gzip"}, readable=wire.body)


def with_content(answer: Answer, **changes: Any) -> Wire:
    """The reply with these fields of its content changed."""
    content = {**(answer.payload.get("content") or {}), **changes}
    return json_reply(answer.status, {**answer.payload, "content": content})


def with_envelope(answer: Answer, http_status: int | None = None, **changes: Any) -> Wire:
    """The reply with these fields of its envelope changed, and perhaps the HTTP code."""
    return json_reply(http_status or answer.status, {**answer.payload, **changes})


def without_tokens(answer: Answer) -> Wire:
    """The reply with every token left out."""
    content = answer.payload.get("content") or {}
    kept = {key: value for key, value in content.items() if key in ("status", "errorMessage")}
    return with_envelope(answer, content=kept)


def with_novelties(answer: Answer) -> Wire:
    """The reply with fields and enum values that the contract does not list."""
    content = _changed(answer, lambda entry: {**entry, "scope": "read"})
    content |= {"status": "renewed", "novelty": {"deep": [1, None]}}
    return with_envelope(answer, content=content, status="splendid", teamCode="A1", traceId=17)


def with_wrong_types(answer: Answer) -> Wire:
    """The reply with wrong types wherever there is no token."""
    wrong = {"fund": "1,000.00", "cash": "12.5", "isReconnected": "yes", "accountName": 5, "balances": {"USD": "7"}}
    content = _changed(answer, lambda entry: _with_account(entry, wrong))
    content |= {"expiresInSeconds": "3600", "errorMessage": 7}
    return with_envelope(answer, content=content, message=[], displayMessage={}, errorHash=9, errorData="free form")


def with_blanks(answer: Answer) -> Wire:
    """The reply with blanks wherever a token could stand and none does."""
    blanks = {"accessToken": " ", "refreshToken": "\t", "tokenId": "\u200b"}
    content = _changed(answer, lambda entry: {**blanks, **entry})
    return with_envelope(answer, content={"accessToken": "\x00", "refreshToken": "", **content})


def with_odd_numbers(answer: Answer) -> Wire:
    """The reply with numbers that JSON has not, or that are too long for most who read it."""
    odd = {"fund": float("nan"), "cash": float("-inf"), "balances": [{"symbol": "USD", "cash": 2**70}]}
    content = _changed(answer, lambda entry: _with_account(entry, odd))
    content |= {"traceId": 2**70, "refreshTokenExpiresInSeconds": content.get("refreshTokenExpiresInSeconds", 10**40)}
    return with_envelope(answer, content=content, errorData={"score": float("nan"), "ids": [2**70, -(2**70)]})


def _changed(answer: Answer, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The content of the reply, with each of its entries changed."""
    content = dict(answer.payload.get("content") or {})
    if entries := content.get("brokerAccountTokens"):
        content["brokerAccountTokens"] = [change(entry) for entry in entries]
    return content


def _with_account(entry: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "account": {**entry["account"], **facts}} if "account" in entry else entry


def echoing(code: int, secrets: tuple[str, ...]) -> Wire:
    """An error whose messages repeat `secrets`."""
    said = "You sent " + " and ".join(secrets)
    payload = envelope(
        ApiStatus.BAD_REQUEST, said, displayMessage=said, errorType="badRequest", errorData={"sent": list(secrets)}
    )
    return json_reply(code, payload)


def quoting(code: int, secrets: tuple[str, ...]) -> Wire:
    """An error whose statuses repeat `secrets`."""
    said = "unheard of: " + " and ".join(secrets)
    return json_reply(code, envelope(said, content={"status": said}))


def repeated(status: str, body: Mapping[str, Any]) -> Wire:
    """A success under `status` with the tokens in `body`, which was sent, and no others."""
    pair = {name: body[name] for name in ("accessToken", "refreshToken") if name in body}
    content = {"status": str(AuthStatus.SUCCEEDED), "brokerAccountTokens": [pair]}
    return json_reply(200, envelope(str(status), content=content))

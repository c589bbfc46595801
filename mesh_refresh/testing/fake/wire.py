"""What goes over the wire in place of a faultless reply, as a value that the server only has to write."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from mesh_refresh.codec import BODY_LIMIT
from mesh_refresh.masking import masked_size, masked_values
from mesh_refresh.testing.model.contract import Answer

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
    content = dict(answer.payload.get("content") or {})
    entries = [{**entry, "scope": "read"} for entry in content.get("brokerAccountTokens") or []]
    content |= {"status": "renewed", "novelty": {"deep": [1, None]}}
    if entries:
        content["brokerAccountTokens"] = entries
    return with_envelope(answer, content=content, status="splendid", teamCode="A1", traceId=17)


def with_wrong_types(answer: Answer) -> Wire:
    """The reply with wrong types wherever there is no token."""
    content = dict(answer.payload.get("content") or {})
    entries = [_mistyped(entry) for entry in content.get("brokerAccountTokens") or []]
    content |= {"expiresInSeconds": "3600", "errorMessage": 7}
    if entries:
        content["brokerAccountTokens"] = entries
    return with_envelope(answer, content=content, message=[], displayMessage={}, errorHash=9, errorData="free form")


def with_blanks(answer: Answer) -> Wire:
    """The reply with blanks wherever a token could stand and none does."""
    content = dict(answer.payload.get("content") or {})
    blanks = {"accessToken": " ", "refreshToken": "\t", "tokenId": "\u200b"}
    entries = [{**blanks, **entry} for entry in content.get("brokerAccountTokens") or []]
    if entries:
        content["brokerAccountTokens"] = entries
    return with_envelope(answer, content={"accessToken": "\x00", "refreshToken": "", **content})


def with_odd_numbers(answer: Answer) -> Wire:
    """The reply with numbers that JSON has not, or that are too long for most who read it."""
    content = dict(answer.payload.get("content") or {})
    odd = {"fund": float("nan"), "cash": float("-inf"), "balances": [{"symbol": "USD", "cash": 2**70}]}
    entries = [
        {**entry, "account": {**entry["account"], **odd}} if "account" in entry else entry
        for entry in content.get("brokerAccountTokens") or []
    ]
    content |= {"traceId": 2**70, "refreshTokenExpiresInSeconds": content.get("refreshTokenExpiresInSeconds", 10**40)}
    if entries:
        content["brokerAccountTokens"] = entries
    return with_envelope(answer, content=content, errorData={"score": float("nan"), "ids": [2**70, -(2**70)]})


def _mistyped(entry: dict[str, Any]) -> dict[str, Any]:
    if "account" not in entry:
        return entry
    wrong = {"fund": "1,000.00", "cash": "12.5", "isReconnected": "yes", "accountName": 5, "balances": {"USD": "7"}}
    return {**entry, "account": {**entry["account"], **wrong}}

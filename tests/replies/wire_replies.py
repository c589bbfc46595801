"""Replies as Mesh might write them, read as the client reads them, without a client."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import (
    DefaultStrategy,
    HttpReply,
    MeshRefreshError,
    MfaRequired,
    Refreshed,
    RefreshOptions,
    Reply,
    Tokens,
    codec,
)

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When the request was sent."""
OLD = Tokens("coinbase", "fake-refresh-old", access_token="fake-access-old", ref="user-7")
PAIR = {"accessToken": "fake-access-new", "refreshToken": "fake-refresh-new"}
CODE = "fake-code-1"


def content(*entries: Mapping[str, Any], status: str | None = "succeeded", **fields: Any) -> dict[str, Any]:
    """A reply's ``content`` with these entries."""
    listed = {"brokerAccountTokens": list(entries)} if entries else {}
    return {**({} if status is None else {"status": status}), **listed, **fields}


def entry(account_id: str | None = None, mesh_id: str | None = None, **tokens: Any) -> dict[str, Any]:
    """One entry of ``brokerAccountTokens``."""
    ids = {"accountId": account_id, "meshAccountId": mesh_id}
    account = {name: value for name, value in ids.items() if value is not None}
    return {"account": account, **tokens} if account else dict(tokens)


def envelope(inner: object = None, status: str | None = "ok", **fields: Any) -> dict[str, Any]:
    """Mesh's envelope around `inner`."""
    known = {"message": "", "errorHash": "9d3039e8", "errorType": "", "status": status, "content": inner}
    return {**{name: value for name, value in known.items() if value is not None}, **fields}


def success(*entries: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """An envelope that says that all is well."""
    return envelope(content(*entries, **fields))


def decoded(
    status: int, body: object, headers: Mapping[str, str] | None = None, *, complete: bool = True, at: datetime = AT
) -> Reply:
    """`body` (bytes as they are, all else as JSON) as the codec reads it."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return codec.decode_reply(HttpReply(status, headers or {}, raw, complete), at=at)


def read(reply: Reply, tokens: Tokens = OLD, *, code: str | None = None) -> Refreshed | MfaRequired:
    """What `reply` means, to a request with `code` where there is one."""
    strategy = DefaultStrategy()
    plain = code is None
    request = strategy.build(tokens, RefreshOptions()) if plain else strategy.build_mfa(pending(tokens), code or "")
    return strategy.interpret(request, tokens, reply, AT)


def refreshed(body: object, tokens: Tokens = OLD) -> Refreshed:
    """The success that `body` is."""
    outcome = read(decoded(200, body), tokens)
    assert isinstance(outcome, Refreshed)
    return outcome


def refusal(reply: Reply, tokens: Tokens = OLD, *, code: str | None = None) -> MeshRefreshError:
    """The error that `reply` is."""
    with pytest.raises(MeshRefreshError) as caught:
        read(reply, tokens, code=code)
    return caught.value


def pending(tokens: Tokens = OLD, **fields: Any) -> MfaRequired:
    """A continuation after a first reply with these fields in its content."""
    outcome = read(decoded(200, envelope(content(status="mfaRequired", **fields))), tokens)
    assert isinstance(outcome, MfaRequired)
    return outcome


def without_body(asked: MfaRequired) -> MfaRequired:
    """What a document keeps of a continuation: all but the bytes that it was read from."""
    return evolve(asked, reply=evolve(asked.reply, body=b""))

"""A reply's bytes to the typed envelope."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from mesh_refresh.codec.compression import BODY_LIMIT, decompressed
from mesh_refresh.codec.lenient_json import read_json
from mesh_refresh.codec.retry_after import read_retry_after
from mesh_refresh.codec.salvage import find_envelope, is_envelope, without_head
from mesh_refresh.codec.structures import read_content
from mesh_refresh.codec.values import text
from mesh_refresh.enums import ApiStatus, known
from mesh_refresh.messages import REQUEST_IDS, BodyKind, HttpReply, Reply

_REQUEST_IDS = {name.lower(): name for name in REQUEST_IDS}
_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")


def decode_reply(reply: HttpReply, *, at: datetime) -> Reply:
    """All that can be made of a reply that came at `at`. It never raises: what it could not read, it says in `kind`."""
    if not reply.headers:
        return _decoded(reply, None)
    asked = _header(reply.headers, "Retry-After")
    wait = None if asked is None else read_retry_after(asked, at)
    return evolve(_decoded(reply, wait), asked_to_wait=asked is not None, request_ids=_request_ids(reply.headers))


def _decoded(reply: HttpReply, retry_after: timedelta | None) -> Reply:
    body, whole = decompressed(_encoding(reply), reply.body) if reply.headers else (reply.body, True)
    if body is None:
        kind, body = BodyKind.COMPRESSED, reply.body
    elif not (whole and reply.complete) or len(body) > BODY_LIMIT:
        kind = BodyKind.CUT
    else:
        parsed, readable = read_json(body)
        if type(parsed) is dict and (not reply.surplus or is_envelope(parsed)):
            return _envelope(reply.status, parsed, retry_after, body)
        kind = BodyKind.OTHER_JSON if readable else _kind_of_text(body)
    return _salvaged(reply, body, kind, retry_after)


def _salvaged(reply: HttpReply, body: bytes, kind: BodyKind, retry_after: timedelta | None) -> Reply:
    """What can still be made of a reply that is none as it stands: the one whole envelope in it, or its bytes."""
    # More than the limit is not looked through.
    text = None if len(reply.body) > BODY_LIMIT else _envelope_in(reply, body, kind)
    parsed, _ = (None, False) if text is None else read_json(text)
    body = (without_head(reply.raw) if reply.raw else body)[:BODY_LIMIT]
    if text is None or type(parsed) is not dict:
        return Reply(reply.status, kind, retry_after=retry_after, body=body, fault=reply.fault)
    found = evolve(_envelope(reply.status, parsed, retry_after, body), fault=reply.fault, salvaged=True)
    return found if reply.status else evolve(found, http_status=200)


def _envelope_in(reply: HttpReply, body: bytes, kind: BodyKind) -> bytes | None:
    """The reply's own, or that behind an early one which says nothing; behind any other, it may be somebody else's."""
    own = find_envelope(body, reply.body) if reply.complete else None
    surplus = reply.surplus if kind is BodyKind.OTHER_JSON else b""
    return own or find_envelope(body, reply.body, raw=reply.raw, surplus=surplus)


def _kind_of_text(body: bytes) -> BodyKind:
    start = body.lstrip()[:1]
    return BodyKind.EMPTY if not start else BodyKind.BROKEN if start in b"{[" else BodyKind.TEXT


def _envelope(http_status: int, parsed: dict[str, Any], retry_after: timedelta | None, body: bytes) -> Reply:
    get = parsed.get
    status = get("status")
    kind = _kind_of_object(parsed)
    message = text(get("message"))
    if kind is BodyKind.PROBLEM:
        message = text(get("detail")) or text(get("title"))
    return Reply(
        http_status,
        kind,
        known(ApiStatus, status) if type(status) is str else None,
        message,
        text(get("displayMessage")),
        text(get("errorHash")),
        text(get("errorType")),
        get("errorData"),
        text(get("teamCode")),
        read_content(get("content")),
        retry_after,
        body,
    )


def _kind_of_object(parsed: dict[str, Any]) -> BodyKind:
    if is_envelope(parsed):
        return BodyKind.ENVELOPE
    return BodyKind.PROBLEM if "title" in parsed or "detail" in parsed else BodyKind.OTHER_JSON


def _header(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    if value is None:
        value = next((item for key, item in headers.items() if key.lower() == name.lower()), None)
    return value


def _request_ids(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that look like ids: a header is free text."""
    found: dict[str, str] = {}
    for key in headers:
        name, value = _REQUEST_IDS.get(key.lower()), headers[key]
        if name is not None and _ID.fullmatch(value):
            found[name] = value
    return found


def _encoding(reply: HttpReply) -> str:
    return (_header(reply.headers, "Content-Encoding") or "identity").strip().lower()

"""Reading the bytes of a reply as the typed envelope."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from mesh_refresh.codec.compression import BODY_LIMIT, decompressed
from mesh_refresh.codec.lenient_json import read_json
from mesh_refresh.codec.retry_after import read_retry_after
from mesh_refresh.codec.salvage import find_envelope, is_envelope, without_head
from mesh_refresh.codec.structures import read_content, text
from mesh_refresh.enums import ApiStatus, known
from mesh_refresh.messages import REQUEST_IDS, BodyKind, HttpReply, Reply

_ENCODING, _RETRY_AFTER = "Content-Encoding", "Retry-After"
_NAMES = {name.lower(): name for name in (_ENCODING, _RETRY_AFTER, *REQUEST_IDS)}
_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_NONE: Mapping[str, str] = {}


def decode_reply(reply: HttpReply, *, at: datetime) -> Reply:
    """The typed envelope of a reply that came at `at`. Never raises: `kind` says where there is no envelope."""
    if not reply.headers:
        return _decoded(reply, "identity", None, asked=False, ids=_NONE)
    found = _known_headers(reply.headers)
    encoding, asked = found.pop(_ENCODING, "identity"), found.pop(_RETRY_AFTER, None)
    wait = None if asked is None else read_retry_after(asked, at)
    # A header is free text: a value that does not look like an id is left out.
    if not all(map(_ID.fullmatch, found.values())):
        found = {name: value for name, value in found.items() if _ID.fullmatch(value)}
    return _decoded(reply, encoding, wait, asked=asked is not None, ids=found)


def _known_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are read, by their names in `_NAMES`."""
    found: dict[str, str] = {}
    for key in headers:
        name = _NAMES.get(key.lower())
        if name is not None and (name not in found or key == name):
            found[name] = headers[key]
    return found


def _decoded(reply: HttpReply, encoding: str, wait: timedelta | None, *, asked: bool, ids: Mapping[str, str]) -> Reply:
    body, whole = (reply.body, True) if encoding == "identity" else decompressed(encoding.strip().lower(), reply.body)
    if body is None:
        kind, body = BodyKind.COMPRESSED, reply.body
    elif not (whole and reply.complete) or len(body) > BODY_LIMIT:
        kind = BodyKind.CUT
    else:
        parsed, readable = read_json(body)
        if type(parsed) is dict and (not reply.surplus or is_envelope(parsed)):
            return _envelope(reply.status, parsed, wait, body, asked=asked, ids=ids)
        kind = BodyKind.OTHER_JSON if readable else _kind_of_text(body)
    return evolve(_salvaged(reply, body, kind, wait), asked_to_wait=asked, request_ids=ids)


def _salvaged(reply: HttpReply, body: bytes, kind: BodyKind, retry_after: timedelta | None) -> Reply:
    """A reply that cannot be read as it stands: the one whole envelope in its bytes, or the bytes alone."""
    # A body over the limit is not searched.
    text = None if len(reply.body) > BODY_LIMIT else _envelope_in(reply, body, kind)
    parsed, _ = (None, False) if text is None else read_json(text)
    body = (without_head(reply.raw) if reply.raw else body)[:BODY_LIMIT]
    if text is None or type(parsed) is not dict:
        return Reply(reply.status, kind, retry_after=retry_after, body=body, fault=reply.fault)
    found = evolve(_envelope(reply.status, parsed, retry_after, body), fault=reply.fault, salvaged=True)
    return found if reply.status else evolve(found, http_status=200)


def _envelope_in(reply: HttpReply, body: bytes, kind: BodyKind) -> bytes | None:
    """The envelope of the reply; or that behind an early reply which says nothing.

    An envelope behind any other reply may answer the request of another person.
    """
    own = find_envelope(body, reply.body) if reply.complete else None
    surplus = reply.surplus if kind is BodyKind.OTHER_JSON else b""
    return own or find_envelope(body, reply.body, raw=reply.raw, surplus=surplus)


def _kind_of_text(body: bytes) -> BodyKind:
    start = body.lstrip()[:1]
    return BodyKind.EMPTY if not start else BodyKind.BROKEN if start in b"{[" else BodyKind.TEXT


def _envelope(
    http_status: int,
    parsed: dict[str, Any],
    retry_after: timedelta | None,
    body: bytes,
    *,
    asked: bool = False,
    ids: Mapping[str, str] = _NONE,
) -> Reply:
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
        asked,
        request_ids=ids,
    )


def _kind_of_object(parsed: dict[str, Any]) -> BodyKind:
    if is_envelope(parsed):
        return BodyKind.ENVELOPE
    return BodyKind.PROBLEM if "title" in parsed or "detail" in parsed else BodyKind.OTHER_JSON

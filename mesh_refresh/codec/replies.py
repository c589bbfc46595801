"""A reply's bytes to the typed envelope."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
from attrs import evolve

from mesh_refresh.codec.compression import BODY_LIMIT, decompressed
from mesh_refresh.codec.salvage import find_envelope, is_envelope, without_head
from mesh_refresh.codec.structures import read_content
from mesh_refresh.codec.values import text
from mesh_refresh.enums import ApiStatus, known
from mesh_refresh.messages import BodyKind, HttpReply, Reply

LONGEST_RETRY_AFTER = timedelta(hours=1)
"""A longer ``Retry-After`` is cut to this: a mistake in a header must not stop refreshing for a year."""

_TO_THE_BYTE = ("token", "id")
"""How the names of tokens and ids end."""


def decode_reply(reply: HttpReply, *, at: datetime) -> Reply:
    """All that can be made of a reply that came at `at`. It never raises: what it could not read, it says in `kind`."""
    retry_after = _retry_after(reply.headers, at) if reply.headers else None
    body, whole = decompressed(_encoding(reply), reply.body) if reply.headers else (reply.body, True)
    if body is None:
        kind, body = BodyKind.COMPRESSED, reply.body
    elif not (whole and reply.complete) or len(body) > BODY_LIMIT:
        kind = BodyKind.CUT
    else:
        parsed, readable = _parsed(body)
        if type(parsed) is dict and (not reply.surplus or is_envelope(parsed)):
            return _envelope(reply.status, parsed, retry_after, body)
        kind = BodyKind.OTHER_JSON if readable else _kind_of_text(body)
    return _salvaged(reply, body, kind, retry_after)


def _salvaged(reply: HttpReply, body: bytes, kind: BodyKind, retry_after: timedelta | None) -> Reply:
    """What can still be made of a reply that is none as it stands: the one whole envelope in it, or its bytes."""
    # More than the limit is not looked through.
    text = None if len(reply.body) > BODY_LIMIT else find_envelope(body, reply.body, raw=reply.raw)
    parsed, _ = (None, False) if text is None else _parsed(text)
    body = (without_head(reply.raw) if reply.raw else body)[:BODY_LIMIT]
    if text is None or type(parsed) is not dict:
        return Reply(reply.status, kind, retry_after=retry_after, body=body, fault=reply.fault)
    found = _envelope(reply.status, parsed, retry_after, body)
    if not reply.status and found.content is not None and found.content.has_token:
        found = evolve(found, http_status=200)
    # A success is read again from its body, where a continuation is stored; an error keeps what came.
    success = 200 <= found.http_status < 300
    return evolve(found, body=text if success else body, fault=reply.fault, salvaged=True)


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


def _parsed(body: bytes) -> tuple[Any, bool]:
    """The JSON value of `body`, and whether it has one."""
    try:
        return orjson.loads(body), True
    except orjson.JSONDecodeError:
        pass
    # What orjson refuses and others write all the same (NaN, a byte order mark, UTF-16) must not cost a token.
    try:
        value = json.loads(body)
        if not _is_writable(value):
            value = _mended(value)
        return (value, True) if _is_writable(value) else (None, False)
    except (ValueError, RecursionError):
        return None, False


def _is_writable(value: object) -> bool:
    """Whether it can be stored and sent again: a lone surrogate can be neither."""
    try:
        orjson.dumps(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _mended(value: Any, name: str = "") -> Any:
    """`value` with lone surrogates replaced: half a character of somebody's name must not cost a token.

    A token or an id that has one is left as it is, since another one would be no better: such a reply is not read.
    """
    if type(value) is dict:
        return {_mended(key): _mended(item, key) for key, item in value.items()}
    if type(value) is list:
        return [_mended(item, name) for item in value]
    if type(value) is not str or name.lower().endswith(_TO_THE_BYTE):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _header(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    if value is None:
        value = next((item for key, item in headers.items() if key.lower() == name.lower()), None)
    return value


def _encoding(reply: HttpReply) -> str:
    return (_header(reply.headers, "Content-Encoding") or "identity").strip().lower()


def _retry_after(headers: Mapping[str, str], at: datetime) -> timedelta | None:
    """RFC 9110, section 10.2.3: seconds, or an HTTP date."""
    value = _header(headers, "Retry-After")
    if value is None:
        return None
    value = value.strip()
    try:
        if value.isascii() and value.isdigit():
            wait = timedelta(seconds=min(int(value.lstrip("0")[:9] or 0), LONGEST_RETRY_AFTER.total_seconds()))
        else:
            moment = parsedate_to_datetime(value)
            wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - at
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta()), LONGEST_RETRY_AFTER)

"""A reply's bytes to the typed envelope."""

import json
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from mesh_refresh.codec.structures import read_content
from mesh_refresh.codec.values import text
from mesh_refresh.enums import ApiStatus, known
from mesh_refresh.messages import BodyKind, HttpReply, Reply

BODY_LIMIT = 1 << 20
"""The largest body that is read, in bytes, after decompression too."""
LONGEST_RETRY_AFTER = timedelta(hours=1)
"""A longer ``Retry-After`` is cut to this: a mistake in a header must not stop refreshing for a year."""

_API_STATUSES = set(ApiStatus)
_ENVELOPE_FIELDS = {"content", "errorHash", "errorType", "displayMessage", "errorData", "teamCode"}
_TOKEN_NAMES = {"accesstoken", "refreshtoken", "authtoken", "tokenid", "token"}
# The same names in bytes that are not JSON, with the text that follows, perhaps cut short.
_TOKEN_FIELD = re.compile(rb'(?i)"(?:access|refresh|auth)?_?token(?:_?id)?"\s*:\s*"([^"]+)')
_DEEPEST = 50


def decode_reply(reply: HttpReply, *, at: datetime) -> Reply:
    """All that can be made of a reply that came at `at`. It never raises: what it could not read, it says in `kind`."""
    retry_after = _retry_after(reply.headers, at)
    body = _decompressed(reply)
    if body is None or not reply.complete:
        kind = BodyKind.CUT
        body = reply.body if body is None else body
    else:
        parsed, readable = _parsed(body)
        if readable:
            return _envelope(reply.status, parsed, retry_after, body)
        kind = _kind_of_text(body)
    return Reply(
        reply.status,
        kind,
        retry_after=retry_after,
        suspects=tuple(match.decode(errors="replace") for match in _TOKEN_FIELD.findall(body)),
        may_hide_token=200 <= reply.status < 300 and _looks_like_json(reply, body),
        body=body,
    )


def _kind_of_text(body: bytes) -> BodyKind:
    start = body.lstrip()[:1]
    return BodyKind.EMPTY if not start else BodyKind.BROKEN if start in b"{[" else BodyKind.TEXT


def _looks_like_json(reply: HttpReply, body: bytes) -> bool:
    compressed = bool(body) and body is reply.body and _encoding(reply) != "identity"
    return compressed or _kind_of_text(body) is BodyKind.BROKEN


def _envelope(http_status: int, parsed: Any, retry_after: timedelta | None, body: bytes) -> Reply:
    suspects: list[str] = []
    hidden = _collect_tokens(parsed, suspects)
    if type(parsed) is not dict:
        return Reply(
            http_status,
            BodyKind.OTHER_JSON,
            retry_after=retry_after,
            suspects=tuple(suspects),
            may_hide_token=hidden,
            body=body,
        )
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
        tuple(suspects),
        hidden,
        body,
    )


def _kind_of_object(parsed: dict[str, Any]) -> BodyKind:
    status = parsed.get("status")
    if type(status) is str and status in _API_STATUSES:
        return BodyKind.ENVELOPE
    if (status is None or type(status) is str) and not _ENVELOPE_FIELDS.isdisjoint(parsed):
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
        orjson.dumps(value)  # lone surrogates can be neither stored nor sent again: better kept as bytes
        return value, True
    except (ValueError, TypeError, RecursionError):
        return None, False


def _collect_tokens(value: Any, found: list[str], depth: int = 0) -> bool:
    """Adds everything that stands under a token's name to `found`; True where it was too deep to look everywhere."""
    if depth > _DEEPEST:
        return True
    if type(value) is list:
        return any([_collect_tokens(item, found, depth + 1) for item in value if type(item) in (dict, list)])
    if type(value) is not dict:
        return False
    hidden = False
    for key, item in value.items():
        if type(item) in (dict, list):
            hidden |= _collect_tokens(item, found, depth + 1)
        elif item and key.replace("_", "").lower() in _TOKEN_NAMES and type(item) is not bool:
            found.append(str(item))
    return hidden


def _header(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    if value is None:
        value = next((item for key, item in headers.items() if key.lower() == name.lower()), None)
    return value


def _encoding(reply: HttpReply) -> str:
    return (_header(reply.headers, "Content-Encoding") or "identity").strip().lower()


def _decompressed(reply: HttpReply) -> bytes | None:
    """The body as it was before compression; None where that cannot be had whole."""
    encoding = _encoding(reply)
    if encoding == "identity" or not reply.body:
        return reply.body
    if encoding not in ("gzip", "deflate"):
        return None
    for window in (47, -15):  # gzip or zlib by their header, then the raw form that some servers call deflate
        inflate = zlib.decompressobj(window)
        try:
            body = inflate.decompress(reply.body, BODY_LIMIT)
        except zlib.error:
            continue
        return body if inflate.eof else None
    return None


def _retry_after(headers: Mapping[str, str], at: datetime) -> timedelta | None:
    """RFC 9110, section 10.2.3: seconds, or an HTTP date."""
    value = headers.get("Retry-After") if "Retry-After" in headers else _header(headers, "Retry-After")
    if value is None:
        return None
    value = value.strip()
    try:
        if value.isascii() and value.isdigit():
            wait = timedelta(seconds=min(int(value[:9]), LONGEST_RETRY_AFTER.total_seconds()))
        else:
            moment = parsedate_to_datetime(value)
            wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - at
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta()), LONGEST_RETRY_AFTER)

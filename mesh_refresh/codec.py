"""Bytes to messages and back: the one user of cattrs, lenient where leniency keeps a token.

A part that does not carry tokens is never worth one: a wrong type there reads as absent. Unknown fields are ignored,
unknown enum values stay strings.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import orjson
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from mesh_refresh.enums import ApiStatus, AuthStatus, BrokerType, known
from mesh_refresh.masking import MaskedDict
from mesh_refresh.messages import (
    BodyKind,
    BrokerAccount,
    BrokerAccountTokens,
    BrokerFiatBalance,
    BrokerRefreshTokenResponse,
    HttpReply,
    LinkPayload,
    RefreshRequest,
    Reply,
)

_T = TypeVar("_T")
_Read = Callable[[Any, Any], Any]

BODY_LIMIT = 1 << 20
"""The largest body that is read, in bytes, after decompression too."""
LONGEST_RETRY_AFTER = timedelta(hours=1)
"""A longer ``Retry-After`` is cut to this: a mistake in a header must not stop refreshing for a year."""

_LONGEST_LIFETIME = timedelta(days=36_500)
_API_STATUSES = set(ApiStatus)
_ENVELOPE_FIELDS = {"content", "errorHash", "errorType", "displayMessage", "errorData", "teamCode"}
_TOKEN_NAMES = {"accesstoken", "refreshtoken", "authtoken", "tokenid", "token"}
# The same names in bytes that are not JSON, with the text that follows, perhaps cut short.
_TOKEN_FIELD = re.compile(rb'(?i)"(?:access|refresh|auth)?_?token(?:_?id)?"\s*:\s*"([^"]+)')
_DEEPEST = 50


# Reading single values. Each takes cattrs' (value, type) and gives None where the value is not what it should be.


def _text(value: Any, _: Any = None) -> str | None:
    return value if type(value) is str else None


def _identifier(value: Any, _: Any = None) -> str | None:
    if type(value) is str:
        return value or None
    return str(value) if type(value) is int else None  # an id or token written as a number is still one


def _amount(value: Any, _: Any = None) -> float | None:
    if type(value) is float or type(value) is int:
        return value
    try:
        return float(value) if type(value) is str else None
    except ValueError:
        return None


def _flag(value: Any, _: Any = None) -> bool | None:
    return value if type(value) is bool else None


def _lifetime(value: Any, _: Any = None) -> timedelta | None:
    seconds = _amount(value)
    if seconds is None or not 0 < seconds <= _LONGEST_LIFETIME.total_seconds():
        return None
    return timedelta(seconds=seconds)


def _auth_status(value: Any, _: Any = None) -> AuthStatus | str | None:
    return known(AuthStatus, value) if type(value) is str else None


# Structuring messages.

_converter = Converter(detailed_validation=False)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _reader(cls: type[_T], wire_names: Mapping[str, str] | None = None, **reads: _Read) -> Callable[[Any], _T | None]:
    """A function from any JSON value to a `cls`, or None where the value is not an object."""
    names = wire_names or {}
    # Any, because mypy takes what cattrs takes by name to be its flags.
    fields: dict[str, Any] = {
        name: override(rename=names.get(name, _camel(name)), struct_hook=read) for name, read in reads.items()
    }
    structure = make_dict_structure_fn(cls, _converter, **fields)
    return lambda value: structure(value, cls) if type(value) is dict else None


def _one(read: Callable[[Any], Any]) -> _Read:
    return lambda value, _: read(value)


def _many(read: Callable[[Any], _T | None]) -> Callable[[Any, Any], tuple[_T, ...]]:
    def read_all(value: Any, _: Any) -> tuple[_T, ...]:
        items = value if type(value) is list else [value]
        return tuple(item for item in map(read, items) if item is not None)

    return read_all


_balance = _reader(BrokerFiatBalance, symbol=_text, buying_power=_amount, crypto_buying_power=_amount, cash=_amount)
_account = _reader(
    BrokerAccount,
    mesh_account_id=_identifier,
    front_account_id=_identifier,
    account_id=_identifier,
    account_name=_text,
    fund=_amount,
    cash=_amount,
    is_reconnected=_flag,
    balances=_many(_balance),
)
_entry = _reader(
    BrokerAccountTokens,
    account=_one(_account),
    access_token=_identifier,
    refresh_token=_identifier,
    token_id=_identifier,
)
_content = _reader(
    BrokerRefreshTokenResponse,
    {"expires_in": "expiresInSeconds", "refresh_token_expires_in": "refreshTokenExpiresInSeconds"},
    status=_auth_status,
    error_message=_text,
    account=_one(_account),
    access_token=_identifier,
    refresh_token=_identifier,
    expires_in=_lifetime,
    refresh_token_expires_in=_lifetime,
    broker_account_tokens=_many(_entry),
)

_unstructure_request = make_dict_unstructure_fn(
    RefreshRequest,
    _converter,
    _cattrs_omit_if_default=True,
    type=override(unstruct_hook=str),
    create_new_refresh_token=override(rename="createNewRefreshToken"),
    refresh_token=override(rename="refreshToken"),
    access_token=override(rename="accessToken"),
    trade_token=override(rename="tradeToken"),
    mfa_code=override(rename="mfaCode"),
    metadata=override(unstruct_hook=dict),
)


def encode_request(request: RefreshRequest) -> bytes:
    """The request's body. What is unset is left out: the contract allows no extra properties, and null is one value too many."""
    return orjson.dumps(_unstructure_request(request))


# Reading a reply.


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
    message = _text(get("message"))
    if kind is BodyKind.PROBLEM:
        message = _text(get("detail")) or _text(get("title"))
    return Reply(
        http_status,
        kind,
        known(ApiStatus, status) if type(status) is str else None,
        message,
        _text(get("displayMessage")),
        _text(get("errorHash")),
        _text(get("errorType")),
        get("errorData"),
        _text(get("teamCode")),
        _content(get("content")),
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


# Documents: what users hand in and what this package stores. Nothing here raises, because a frame that raises shows its
# locals to error trackers, and these are made of secrets: what is wrong comes back as None, or as a sentence.


def loads(text: object) -> MaskedDict | None:
    """The JSON object in `text`, or None where it is not the text of one."""
    if isinstance(text, str | bytes | bytearray):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if type(value) is dict:
            return MaskedDict(value)
    return None


def dumps(value: Mapping[str, Any]) -> str:
    """`value` as JSON text."""
    return orjson.dumps(value).decode()


def read_link_payload(payload: Mapping[str, Any] | str | bytes) -> LinkPayload | str:
    """Link's ``accessTokenPayload`` or ``delayedAuth``, bare or inside the object that the SDKs hand over.

    Where it is neither, names no broker, or has no token: a sentence that says so.
    """
    found = dict(payload) if isinstance(payload, Mapping) else loads(payload)
    if found is None:
        return "This is not a Link payload: it is not a JSON object."
    for wrapper in ("accessTokenPayload", "accessToken", "delayedAuth", "payload"):
        if isinstance(found.get(wrapper), Mapping):
            found = dict(found[wrapper])
    broker = _identifier(found.get("brokerType"))
    if broker is None or not broker.strip():
        return "This is not a Link payload: brokerType is missing."
    listed = found.get("accountTokens")
    tokens = tuple(entry for entry in _many(_entry)(listed or [], None) if entry.has_token)
    alone = BrokerAccountTokens(refresh_token=_identifier(found.get("refreshToken")))
    delayed = not listed and alone.has_token
    if not tokens and not delayed:
        return "The Link payload holds no token: accountTokens is missing or empty, and so is refreshToken."
    return LinkPayload(
        known(BrokerType, broker),
        (alone,) if delayed else tokens,
        _lifetime(found.get("expiresInSeconds")),
        _lifetime(found.get("refreshTokenExpiresInSeconds")),
        delayed,
    )

"""Reading as a reply what a transport of the user's returned. Pure, and it never raises.

The token is spent by then, so no value is refused for its type: what can be read as a reply is used, and the bytes of
anything else are kept.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from mesh_refresh import codec
from mesh_refresh.masking import MaskedBytes, MaskedDict
from mesh_refresh.messages import HttpReply

_T = TypeVar("_T")

_EXACT: tuple[tuple[str, type], ...] = (
    ("status", int), ("headers", dict), ("body", bytes), ("complete", bool), ("raw", bytes), ("surplus", bytes)
)  # fmt: skip


_STATUSES = ("status", "status_code", "status_int", "code")
_BODIES = ("body", "content", "data", "text")
"""Where the responses of HTTP libraries have these."""


def as_reply(value: object, *, body: object = None) -> HttpReply | MaskedBytes:
    """`value` as an `HttpReply` with exactly the types that it declares, or the bytes of a value that cannot be one.

    Text is encoded, "200" becomes 200, pairs become headers, and a parsed body becomes JSON again. A response object of
    an HTTP library is read by its attributes, with `body` where that was read from it before.
    """
    if not isinstance(value, HttpReply) and (status := _attribute(value, _STATUSES, _status)) is not None:
        found = body if body is not None else _attribute(value, _BODIES, _bytes_in)
        if found is not None:
            value = HttpReply(status, cast("Any", getattr(value, "headers", {})), cast("Any", found))
    if isinstance(value, HttpReply):
        if _is_exact(value):
            return value
        try:
            return _converted(value)
        except Exception:  # noqa: BLE001 - what the user's own types raise when they are read
            return _kept(value)
    return bytes_of(value)


def is_unread(value: object) -> bool:
    """Whether `value` is a response object of an HTTP library whose body has to be read first."""
    if isinstance(value, HttpReply) or _attribute(value, _STATUSES, _status) is None:
        return False
    return _attribute(value, _BODIES, _bytes_in) is None and callable(getattr(value, "read", None))


def _attribute(value: object, names: Iterable[str], read: Callable[[object], _T | None]) -> _T | None:
    """The first of these attributes that `read` understands. Attributes may be properties that raise."""
    for name in names:
        try:
            found = read(getattr(value, name, None))
        except Exception:  # noqa: BLE001, S112 - of a type of the user's
            continue
        if found is not None:
            return found
    return None


def bytes_of(value: object) -> MaskedBytes:
    """All bytes that `value` offers: its own, its text or its JSON encoded, else its `repr`."""
    try:
        found = _bytes_in(value)
        return MaskedBytes(repr(value).encode(errors="replace") if found is None else found)
    except Exception as error:  # noqa: BLE001 - a `repr` of the user's may raise anything
        return MaskedBytes(f"<{type(value).__name__}, which raised {type(error).__name__}>".encode())


def _is_exact(reply: HttpReply) -> bool:
    if reply.fault is not None and type(reply.fault) is not str:
        return False
    if not all(type(getattr(reply, name)) is kind for name, kind in _EXACT):
        return False
    headers = reply.headers
    return all(type(name) is str and type(headers[name]) is str for name in headers)


def _converted(reply: HttpReply) -> HttpReply | MaskedBytes:
    status, body = _status(reply.status), b"" if _is_none(reply.body) else _bytes_in(reply.body)
    if status is None or body is None:
        return _kept(reply)
    return HttpReply(
        status,
        _headers(reply.headers),
        body,
        _is_none(reply.complete) or bool(reply.complete),
        bytes_of(reply.raw or b""),
        bytes_of(reply.surplus or b""),
        reply.fault if type(reply.fault) is str else None,
    )


def _kept(reply: HttpReply) -> MaskedBytes:
    """The part of an unusable reply that may hold a token."""
    parts = [bytes_of(part) for part in (reply.raw, reply.body, reply.surplus) if not _is_none(part)]
    return MaskedBytes(b"\n".join(part for part in parts if part))


def _is_none(value: object) -> bool:
    # Of any value: type checkers believe the declaration.
    return value is None


def _bytes_in(value: object) -> bytes | None:
    """`value` as exactly `bytes`; None where it is neither bytes, text nor JSON."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if isinstance(value, Mapping | list | tuple):
        try:
            return codec.dumps(cast("Any", dict(value) if isinstance(value, Mapping) else value)).encode()
        except TypeError:
            return None
    return None


def _status(value: object) -> int | None:
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("latin-1")
    if isinstance(value, str):
        first = value.split(maxsplit=1)[:1]  # "200 OK"
        value = int(first[0]) if first and first[0].isascii() and first[0].isdigit() and len(first[0]) == 3 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _headers(value: object) -> MaskedDict:
    """Names and values as text; a repeated name has its values joined. A header that cannot be read is left out."""
    found = MaskedDict()
    try:
        items = value.items() if isinstance(value, Mapping) else cast("Iterable[Any]", value or ())
        for name, item in items:
            key = _text(name)
            for one in item if isinstance(item, list | tuple) else (item,):
                found[key] = f"{found[key]}, {_text(one)}" if key in found else _text(one)
    except Exception:  # noqa: BLE001 - an iteration of the user's may raise anything
        return found
    return found


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("latin-1")
    return "" if value is None else str(value)

"""Looking for Mesh's envelope in bytes that are no reply as they stand: cut, or with wrong framing or coding. Pure.

A JSON object that closes is whole, also where its framing was wrong. Where it brings tokens, or a question for a code,
it is the answer. An error in such bytes is not believed, because a refusal would cost a login. Only strict JSON counts.
Of two different envelopes none is taken, because nothing tells which of them is the answer.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from mesh_refresh.codec.compression import BODY_LIMIT, inflated
from mesh_refresh.codec.structures import read_content
from mesh_refresh.enums import ApiStatus, AuthStatus

_API_STATUSES = set(ApiStatus)
_ENVELOPE_FIELDS = {"content", "errorHash", "errorType", "displayMessage", "errorData", "teamCode"}

_BEFORE = re.compile(rb"\s*(?:HTTP/\S* +1\d\d\b.*?\r?\n\r?\n\s*)*", re.DOTALL)
_STATUS_LINE = re.compile(rb"HTTP/\S* +([2-9]\d\d)\b")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_LINE = re.compile(rb"[0-9a-fA-F]{1,16}[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHUNK_LINE_INSIDE = re.compile(rb"\r?\n[0-9a-fA-F]{1,16}[ \t]*(?:;[^\r\n]*)?\r?\n")
_ODD_LINE = re.compile(rb"[^\r\n{]{1,40}\r?\n")
"""A first line that may be an attempt at the size of a chunk."""
_MOST_CODINGS = 2
_MOST_FAILURES = 100
"""How many opening braces without an end are tried: hostile bytes must not hold up the event loop."""
_MOST_EFFORT = 2 * BODY_LIMIT
"""How many characters are read in vain, in all readings of one reply together: about a second's work."""
_EFFORT_OF_AN_OBJECT = 50
_EFFORT_OF_A_DEPTH = 10_000
"""The effort of a nesting that Python's parser gives up."""


def is_envelope(value: dict[str, Any]) -> bool:
    """Whether a JSON object has the form of Mesh's envelope."""
    status = value.get("status")
    if type(status) is str and status in _API_STATUSES:
        return True
    return (status is None or type(status) is str) and not _ENVELOPE_FIELDS.isdisjoint(value)


def holds_envelope(raw: bytes) -> bool:
    """Whether one whole envelope that brings something is in `raw`, which are the bytes of a reply as they came."""
    return find_envelope(raw=raw) is not None


def find_envelope(*bodies: bytes, raw: bytes = b"", surplus: bytes = b"") -> bytes | None:
    """The text of the one envelope in `bodies`, which may be the body of a reply, or in `raw`, all bytes of the reply.

    `surplus` is the end of `raw` that is known to come behind the reply. None where there is no envelope, where there
    are two different ones, where the one brings nothing, and where it stands in another reply. Such a reply begins
    inside of this one, which is incomplete, and may be the answer to another person.
    """
    found: dict[str, tuple[dict[str, Any], bytes]] = {}
    effort = _Effort()
    own = _up_to_another(raw, raw.find(b"\n", _begin(raw)) + 1, surplus)
    for text in readings(own, *(_up_to_another(body, 0, b"") for body in bodies)):
        for value, written in _objects(text, effort):
            if is_envelope(value):
                found.setdefault(json.dumps(value, sort_keys=True), (value, written))
        if len(found) > 1 or not effort.left:
            return None  # the rest, which was not searched, may have another envelope
    return next((written for value, written in found.values() if _brings_something(value)), None)


def _brings_something(envelope: dict[str, Any]) -> bool:
    content = read_content(envelope.get("content"))
    return content is not None and (content.has_token or content.status == AuthStatus.MFA_REQUIRED)


def status_in(raw: bytes) -> int:
    """The HTTP code in the first line of the reply, behind interim replies; 0 where that line has none."""
    begin = _begin(raw)
    end = raw.find(b"\n", begin)
    found = _STATUS_LINE.search(raw, begin, len(raw) if end < 0 else end)
    return int(found[1]) if found else 0


def without_head(raw: bytes) -> bytes:
    """The bytes behind the head of a reply; all of `raw` where there is no head."""
    begin = _begin(raw)
    end = None if raw.startswith(b"{", begin) else _HEAD_END.search(raw, begin)
    return raw[begin if end is None else end.end() :]


def _begin(raw: bytes) -> int:
    """Where the reply begins: behind blanks, and behind interim replies."""
    found = _BEFORE.match(raw)
    return found.end() if found else 0


def _up_to_another(raw: bytes, begin: int, surplus: bytes) -> bytes:
    """`raw` up to the next reply that begins at `begin` or later. A reply that is exactly `surplus` does not count."""
    behind = len(raw.rstrip()) - len(surplus)
    for another in _STATUS_LINE.finditer(raw, begin):
        if not surplus or another.start() != behind:
            return raw[: another.start()]
    return raw


def each_reply(raw: bytes) -> Iterator[bytes]:
    """The replies in `raw`. One begins at each status line."""
    begins = [0, *(found.start() for found in _STATUS_LINE.finditer(raw)), len(raw)]
    return (raw[begin:end] for begin, end in pairwise(begins) if raw[begin:end].strip())


def readings(raw: bytes, *bodies: bytes) -> Iterator[bytes]:
    """Everything that the bytes may stand for: with and without chunks and compression, named in a header or not."""
    for body in dict.fromkeys((*bodies, without_head(raw))):
        for coded in _unchunked(body):
            text: bytes | None = coded
            for _ in range(1 + _MOST_CODINGS):
                if text is None:
                    break
                yield text
                text = inflated(text)


def _unchunked(body: bytes) -> Iterator[bytes]:
    """A body with and without the lines between chunks."""
    yield body
    if (first := _CHUNK_LINE.match(body)) is not None:
        yield _joined(body)
        yield _CHUNK_LINE_INSIDE.sub(b"", body[first.end() :])
    elif (odd := _ODD_LINE.match(body)) is not None:
        yield body[odd.end() :]


def _joined(body: bytes) -> bytes:
    """The chunks of `body`, as far as their sizes are right."""
    chunks, at = [], 0
    while (line := _CHUNK_LINE.match(body, at)) is not None:
        size = int(re.split(rb"[;\s]", line[0], maxsplit=1)[0], 16)
        at = line.end() + size
        chunks.append(body[line.end() : at])
        if body[at : at + 2] == b"\r\n":
            at += 2
    return b"".join(chunks)


class _Effort:
    """How much work may still be spent on looking for an envelope."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MOST_EFFORT

    def spend(self, characters: int) -> None:
        self.left = max(self.left - characters, 0)


def _objects(text: bytes, effort: _Effort) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Every JSON object in `text` that closes, with its own text. Objects inside of another one are left out.

    Stops when `effort` is spent.
    """
    readable = text[: BODY_LIMIT + 1].decode("utf-8", "surrogateescape")
    at, failures = readable.find("{"), 0
    while at >= 0 and failures < _MOST_FAILURES and effort.left:
        effort.spend(_EFFORT_OF_AN_OBJECT)
        try:
            value, end = _STRICT.raw_decode(readable, at)
            written = readable[at:end].encode()
        except (ValueError, RecursionError) as error:
            effort.spend(error.pos - at if isinstance(error, json.JSONDecodeError) else _EFFORT_OF_A_DEPTH)
            failures += 1
            at = readable.find("{", at + 1)
        else:
            yield value, written
            at = readable.find("{", end)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_STRICT = json.JSONDecoder(parse_constant=_refuse)

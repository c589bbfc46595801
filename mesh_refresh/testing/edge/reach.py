"""What can be made of the bytes that an edge wrote: by a client, and by the ledger. Pure."""

import json
import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from enum import Enum

from mesh_refresh.testing.edge.message import without_chunks

_CHUNK_LINE = re.compile(rb"\r\n[0-9A-Fa-f]+[ \t]*(?:;[^\r\n]*)?\r\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_GZIP = re.compile(rb"\x1f\x8b\x08")
_MOST_HEADS = 50
_GZIP_HEADER, _ZLIB_HEADER = 10, 2


class Reach(Enum):
    """What a client without faults of its own can make of the new tokens behind an edge."""

    UNTOUCHED = "no new token: Mesh has not seen the request, or has refused it"
    WHOLE = "a whole envelope, in the reply to its request: the outcome must be `Refreshed` or `MfaRequired`"
    BYTES = "the bytes, whole, but not in one plain envelope: the hook must have them, as a success or unreadable"
    LATE = "they come behind another complete reply, on a connection still open: the hook must have them as bytes"
    GAP = "they come after the next request was written: without ids, nobody can tell them from its answer"
    CLOSED = (
        "they come later than another reply, after which a client may have closed the connection: then they are lost"
    )
    GONE = "they are never on the wire whole: no client can have them"

    @property
    def severity(self) -> int:
        """The place in the list above."""
        return list(Reach).index(self)


def worst(*reaches: Reach) -> Reach:
    """The one that leaves least to the client."""
    return max(reaches, key=lambda reach: reach.severity)


def measured(at_best: Reach, new: Collection[str], written: bytes) -> Reach:
    """What `written` leaves of a reply that had the tokens `new`, under a fault that leaves `at_best`."""
    if not new:
        return Reach.UNTOUCHED
    wanted = [value.encode() for value in new]
    found = list(texts(written))
    if not all(any(value in text for text in found) for value in wanted):
        return Reach.GONE
    if not any(has_envelope(text, wanted) for text in found):
        return worst(at_best, Reach.BYTES)
    return at_best


def texts(written: bytes) -> Iterator[bytes]:
    """The bytes as they are, without chunk lines, and decompressed as far as that goes."""
    yield written
    yield _CHUNK_LINE.sub(b"", written)
    ends = [found.end() for found in _HEAD_END.finditer(written)][:_MOST_HEADS]
    for body in (written[end:] for end in ends):
        unchunked = without_chunks(body)
        if unchunked:
            yield unchunked
        for coded in (body, unchunked):
            yield from _inflated(coded)


def has_envelope(text: bytes, wanted: Collection[bytes]) -> bool:
    """Whether an envelope of Mesh's that closes stands in `text`, with all that is `wanted` in it."""
    decoder, shown = json.JSONDecoder(), text.decode("utf-8", "replace")
    begin = shown.find("{")
    while begin >= 0:
        try:
            value, end = decoder.raw_decode(shown, begin)
        except (ValueError, RecursionError):
            begin = shown.find("{", begin + 1)
            continue
        if "content" in value and all(it.decode() in shown[begin:end] for it in wanted):
            return True
        begin = shown.find("{", end)
    return False


def _inflated(coded: bytes) -> Iterator[bytes]:
    # The headers of gzip and zlib are skipped, and so their check sums are not asked for.
    found = _GZIP.search(coded)
    for data in (coded[found.start() + _GZIP_HEADER :] if found else b"", coded[_ZLIB_HEADER:], coded):
        text = _inflate(data)
        if text:
            yield text
            if _GZIP.match(text):
                yield _inflate(text[_GZIP_HEADER:])


def _inflate(data: bytes) -> bytes:
    """Raw deflate data decompressed, up to where it ends or is damaged."""
    stream, text = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    with suppress(zlib.error):
        for at in range(len(data)):
            text += stream.decompress(data[at : at + 1])
    return bytes(text)

"""Bytes of a reply, in each form in which a token in them can be found: unchunked, decompressed. Pure."""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\r\n]*)?\r\n")
_CHUNK_LINE = re.compile(rb"\r\n" + _SIZE_LINE.pattern)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_GZIP = re.compile(rb"\x1f\x8b\x08")
_MOST_HEADS = 50
_STEPS = 1 << 16
_GZIP_HEADER, _ZLIB_HEADER = 10, 2


def texts(written: bytes) -> Iterator[bytes]:
    """The bytes as they are, without chunk lines, and decompressed as far as that goes."""
    yield written
    yield _CHUNK_LINE.sub(b"", written)
    ends = [0, *(found.end() for found in _HEAD_END.finditer(written))][:_MOST_HEADS]
    for body in (written[end:] for end in ends):
        unchunked = without_chunks(body)
        if unchunked:
            yield unchunked
        for coded in (body, unchunked):
            yield from _inflated(coded)


def without_chunks(body: bytes) -> bytes:
    """The data of a chunked body; what cannot be read as chunks ends it."""
    parts: list[bytes] = []
    at = 0
    while (line := _SIZE_LINE.match(body, at)) and (size := min(int(line[1], 16), len(body))):
        parts.append(body[line.end() : line.end() + size])
        at = line.end() + size + 2
    return b"".join(parts)


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
        # In small steps: the step in which damage is met gives nothing.
        step = 1 + len(data) // _STEPS
        for at in range(0, len(data), step):
            text += stream.decompress(data[at : at + step])
            if stream.eof:
                break
    return bytes(text)

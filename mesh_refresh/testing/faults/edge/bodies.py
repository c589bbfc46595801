"""Bodies that are not what their head says: lengths, codings and chunks. Pure."""

import gzip
import json
import zlib
from collections.abc import Callable
from enum import Enum
from itertools import pairwise

from attrs import evolve, frozen

from mesh_refresh.testing.faults.edge.message import Message
from mesh_refresh.testing.model.contract import parse

_NOT_ASCII = "Jeton renouvelé à Zürich: ça marche, señor"


class Body(Enum):
    """The coding that the body really has. The head may name another one."""

    PLAIN = "left as it is"
    GZIP = "gzip"
    GZIP_CUT = "gzip that ends in the middle of its check sum"
    GZIP_BAD_SUM = "gzip with a wrong check sum"
    GZIP_TWICE = "gzip in gzip"
    ZLIB = "deflate as RFC 9110 has it"
    RAW_DEFLATE = "deflate without its header and check sum, as some servers send it"

    def of(self, payload: bytes) -> bytes:
        """The coded body."""
        packed = gzip.compress(payload, mtime=0)
        match self:
            case Body.PLAIN:
                return payload
            case Body.GZIP:
                return packed
            case Body.GZIP_CUT:
                return packed[:-6]
            case Body.GZIP_BAD_SUM:
                return packed[:-8] + bytes(byte ^ 0xFF for byte in packed[-8:-4]) + packed[-4:]
            case Body.GZIP_TWICE:
                return gzip.compress(packed, mtime=0)
            case Body.ZLIB:
                return zlib.compress(payload)
            case Body.RAW_DEFLATE:
                return zlib.compress(payload)[2:-4]


def coded(named: tuple[str, ...], body: Body) -> Callable[[Message], Message]:
    """The body in a coding, and a ``Content-Encoding`` for each of `named`."""

    def change(message: Message) -> Message:
        lines = (b"Content-Encoding: " + name.encode("latin-1") for name in named)
        return message.with_payload(body.of(message.payload), *lines)

    return change


def sized(*sizes: str) -> Callable[[Message], Message]:
    """A ``Content-Length`` for each of `sizes`, in which ``{n}`` is the true length."""

    def change(message: Message) -> Message:
        lines = (f"Content-Length: {size.format(n=len(message.body))}".encode("latin-1") for size in sizes)
        return message.without(b"content-length").with_lines(*lines)

    return change


def off_by(by: int, part: float) -> Callable[[Message], Message]:
    """A length of this part of the true one, and so many bytes more."""
    return lambda message: sized(str(max(0, int(len(message.body) * part) + by)))(message)


def in_characters(message: Message) -> Message:
    """A body with letters beyond ASCII, and its length in characters."""
    payload = parse(message.payload)
    if not isinstance(payload, dict):
        payload = {"content": None}
    text = json.dumps({**payload, "message": _NOT_ASCII}, ensure_ascii=False, separators=(",", ":"))
    return message.with_body(text.encode(), b"Content-Length: %d" % len(text))


def unsized(message: Message) -> Message:
    """No length at all."""
    return message.with_body(message.payload)


def emptied(message: Message) -> Message:
    """The head of a reply, with its length, and no body: as to HEAD."""
    return evolve(message, body=b"")


@frozen
class Chunks:
    """How a body is cut into chunks."""

    cuts: tuple[int | str, ...] = ()
    """Where a chunk ends: at a byte, or in the middle of the first value of that name in the JSON."""
    each: int | None = None
    """Bytes of a chunk, in place of `cuts`."""
    line: str = "{n:x}"
    """The size line, with ``{n}`` for the size."""
    off_by: int = 0
    """What is added to each size."""
    end: bytes = b"\r\n"
    """What follows the data of a chunk."""
    last: bytes = b"0\r\n"
    trailers: tuple[bytes, ...] = ()
    over: bytes = b"\r\n"
    """What ends the body."""

    def of(self, payload: bytes) -> bytes:
        """The chunked body."""
        parts = []
        for data in self._parts(payload):
            size_line = self.line.format(n=len(data) + self.off_by).encode("latin-1")
            parts.append(size_line + b"\r\n" + data + self.end)
        trailers = b"".join(line + b"\r\n" for line in self.trailers)
        return b"".join(parts) + self.last + trailers + self.over

    def _parts(self, payload: bytes) -> list[bytes]:
        if self.each is not None:
            ends = list(range(self.each, len(payload), self.each))
        else:
            ends = sorted(_place(payload, cut) for cut in self.cuts)
        bounds = [0, *ends, len(payload)]
        return [payload[begin:end] for begin, end in pairwise(bounds) if end > begin]


def chunked(
    chunks: Chunks, coding: str | None = "chunked", *, sizes: tuple[str, ...] = ()
) -> Callable[[Message], Message]:
    """A chunked body under ``Transfer-Encoding: <coding>`` (None: under none), perhaps with lengths beside it."""

    def change(message: Message) -> Message:
        payload = message.payload
        lines = (
            [] if coding is None else [f"Transfer-Encoding: {part}".encode("latin-1") for part in coding.split("\n")]
        )
        lengths = [f"Content-Length: {size.format(n=len(payload))}".encode("latin-1") for size in sizes]
        return message.with_body(chunks.of(payload), *lines, *lengths)

    return change


def _place(payload: bytes, cut: int | str) -> int:
    if isinstance(cut, int):
        return min(len(payload), cut)
    begin = payload.find(f'"{cut}":"'.encode())
    if begin < 0:
        return len(payload) // 2
    begin += len(cut) + 4
    return (begin + payload.find(b'"', begin)) // 2

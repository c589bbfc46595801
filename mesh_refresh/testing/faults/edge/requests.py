"""Reading HTTP/1.1 from a stream as far as an edge must: where a request or a reply ends."""

import asyncio
from typing import Any

from attrs import field, frozen

from mesh_refresh.masking import masked_size
from mesh_refresh.testing.faults.edge.message import Message
from mesh_refresh.testing.model.contract import parse

READ_LIMIT = 1 << 20
"""The longest head, or line of a chunked body, that is read."""

_BODILESS = (204, 304)


@frozen
class Request:
    """One request of a client, whole."""

    method: str
    path: str
    raw: bytes = field(repr=masked_size)
    body: bytes = field(repr=masked_size)

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object in its body; empty where there is none."""
        value = parse(self.body)
        return value if isinstance(value, dict) else {}


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next request. Raises `asyncio.IncompleteReadError` at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    shown = Message.parse(head, b"")
    method, path, *_ = [*shown.start.decode("latin-1").split(" "), "", ""]
    body = await _read_framed(reader, shown) or b""
    payload = Message(shown.start, shown.fields, body).payload
    return Request(method, path.partition("?")[0], head + body, payload)


async def read_reply(reader: asyncio.StreamReader) -> tuple[Message | None, bool]:
    """A reply, and whether it came whole; None where not even a head came. Interim replies are left out."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None, False
        shown = Message.parse(head, b"")
        if shown.status is None or shown.status >= 200:
            break
    if shown.status in _BODILESS:
        return shown, True
    try:
        body = await _read_framed(reader, shown)
    except asyncio.IncompleteReadError as error:
        return Message(shown.start, shown.fields, error.partial), False
    if body is None:
        body = await reader.read()
    return Message(shown.start, shown.fields, body), True


async def _read_framed(reader: asyncio.StreamReader, shown: Message) -> bytes | None:
    """The body as its head frames it; None where the head does not say."""
    if b"chunked" in (shown.value(b"transfer-encoding") or b"").lower():
        return await _read_chunks(reader)
    length = shown.value(b"content-length")
    return None if length is None else await reader.readexactly(int(length))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body with its chunk lines. The error of one that is cut off has all of it that came."""
    got = bytearray()
    try:
        while True:
            line = await reader.readuntil(b"\r\n")
            got += line
            size = int(line.partition(b";")[0], 16)
            if not size:
                break
            got += await reader.readexactly(size + 2)
        while line != b"\r\n":
            line = await reader.readuntil(b"\r\n")
            got += line
    except asyncio.IncompleteReadError as error:
        raise asyncio.IncompleteReadError(bytes(got) + error.partial, None) from None
    return bytes(got)

"""The floor: what a refresh costs where nothing is done that need not be. No one should use it.

It speaks to the constant server and to no other: it takes no status but what it is, no chunked reply, no TLS.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One request at a time on one connection."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._buffer = b""
        self._waiter: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data
        end = buffer.find(_HEAD_END)
        if end < 0:
            return
        at = buffer[:end].lower().index(_LENGTH) + len(_LENGTH)
        whole = end + len(_HEAD_END) + int(buffer[at : buffer.find(b"\r", at)])
        if len(buffer) >= whole and self._waiter is not None:
            self._buffer = buffer[whole:]
            self._waiter.set_result(buffer[end + len(_HEAD_END) : whole])

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The body of the answer to `request`."""
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiter


@asynccontextmanager
async def connections(base_url: str) -> AsyncIterator[tuple[list[Connection], str]]:
    """A pool that grows as it must, and the host to name in requests."""
    host = urlsplit(base_url).netloc
    opened: list[Connection] = []
    try:
        yield opened, host
    finally:
        for connection in opened:
            connection.transport.close()


async def post(pool: list[Connection], host: str, path: str, headers: str, body: dict[str, Any]) -> Any:
    """The JSON of the answer."""
    if pool:
        connection = pool.pop()
    else:
        name, port = host.split(":")
        _, connection = await asyncio.get_running_loop().create_connection(Connection, name, int(port))
    content = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {len(content)}\r\n\r\n"
    answer = await connection.ask(head.encode() + content)
    pool.append(connection)
    return orjson.loads(answer)

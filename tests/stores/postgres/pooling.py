"""A proxy as PgBouncer is with ``pool_mode = transaction``, at its worst: no transaction meets the server process that
the one before it met, and nothing that one leaves behind is taken away.

It speaks just so much of PostgreSQL's protocol (https://www.postgresql.org/docs/current/protocol-message-formats.html)
as to see where a transaction ends. The server must ask for no password.
"""

import asyncio
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102
_READY, _IDLE = b"Z", b"I"
_ASKS = b"QSF"
"""After each of these (Query, Sync, FunctionCall) the server says that it is ready."""


class MessageReader:
    """Reads messages. Cancelled before the whole of one is there, it keeps what has come of it."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._came = bytearray()

    async def message(self) -> bytes:
        """Its kind, its length and its body."""
        await self._until(5)
        return await self.readexactly(1 + struct.unpack_from("!i", self._came, 1)[0])

    async def readexactly(self, many: int) -> bytes:
        await self._until(many)
        found = bytes(self._came[:many])
        del self._came[:many]
        return found

    async def _until(self, many: int) -> None:
        while len(self._came) < many:
            more = await self._stream.read(1 << 16)
            if not more:
                raise ConnectionError
            self._came += more


class Server:
    """A connection to the server, signed in."""

    def __init__(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = MessageReader(stream)
        self.writer = writer
        self.greeting = b""


class Proxy:
    """Hands each transaction of its clients to the connection that has been idle for the longest."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._idle: dict[bytes, deque[Server]] = defaultdict(deque)
        self._tasks: set[asyncio.Task[None]] = set()
        self.handed_out = 0
        """How many transactions there were."""

    async def serve(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client, until it goes."""
        reader = MessageReader(stream)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if (startup := await _startup(reader, writer)) is not None:
                await self._welcome(writer, startup)
                await self._transactions(reader, writer, startup)
        self._tasks.discard(task)
        writer.close()

    async def close(self) -> None:
        """Let go of clients and servers."""
        for task in tuple(self._tasks):
            task.cancel()
            await asyncio.wait({task})
        for servers in self._idle.values():
            for server in servers:
                server.writer.close()

    async def _welcome(self, writer: asyncio.StreamWriter, startup: bytes) -> None:
        while len(self._idle[startup]) < 2:
            self._idle[startup].append(await self._signed_in(startup))
        writer.write(self._idle[startup][0].greeting)

    async def _transactions(self, reader: MessageReader, writer: asyncio.StreamWriter, startup: bytes) -> None:
        while (message := await reader.message())[:1] != b"X":
            self.handed_out += 1
            servers = self._idle[startup]
            server = servers.popleft() if servers else await self._signed_in(startup)
            try:
                await _transaction(message, reader, writer, server)
            except BaseException:
                server.writer.close()
                raise
            servers.append(server)

    async def _signed_in(self, startup: bytes) -> Server:
        server = Server(*await connection_to(self._server))
        server.writer.write(startup)
        while True:
            message = await server.reader.message()
            if message[:1] == b"E":
                raise ConnectionError(message)
            assert message[:1] != b"R" or message[5:9] == bytes(4), "the server asks for a password"
            server.greeting += message
            if message[:1] == _READY:
                return server


async def _transaction(message: bytes, reader: MessageReader, writer: asyncio.StreamWriter, server: Server) -> None:
    """From its first message to the answer with which it is over."""
    asked, under_way = int(message[:1] in _ASKS), message[:1] not in _ASKS
    server.writer.write(message)
    from_client = asyncio.ensure_future(reader.message())
    from_server = asyncio.ensure_future(server.reader.message())
    try:
        while True:
            done, _ = await asyncio.wait({from_client, from_server}, return_when=asyncio.FIRST_COMPLETED)
            if from_server in done:
                answer = from_server.result()
                writer.write(answer)
                if answer[:1] == _READY:
                    asked -= 1
                    if asked == 0 and answer[5:6] == _IDLE and not under_way and from_client not in done:
                        return
                from_server = asyncio.ensure_future(server.reader.message())
            if from_client in done:
                message = from_client.result()
                asked += message[:1] in _ASKS
                under_way = message[:1] not in _ASKS
                server.writer.write(message)
                from_client = asyncio.ensure_future(reader.message())
    finally:
        # What the client sends next is the next transaction's: nothing of it has been read.
        for task in (from_client, from_server):
            task.cancel()
            await asyncio.wait({task})


async def _startup(reader: MessageReader, writer: asyncio.StreamWriter) -> bytes | None:
    """What a client begins with; None where it only wants something cancelled."""
    while True:
        head = await reader.readexactly(8)
        length, kind = struct.unpack("!ii", head)
        rest = await reader.readexactly(length - 8)
        if kind == _CANCEL_REQUEST:
            return None
        if kind not in (_SSL_REQUEST, _GSS_REQUEST):
            return head + rest
        writer.write(b"N")


async def connection_to(url: str) -> tuple[Any, Any]:
    """To the server at `url`."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{parts.port or 5432}")
    return await asyncio.open_connection(host, parts.port or 5432)


@asynccontextmanager
async def pooling(url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """The URL of a proxy before the server at `url`, and the proxy."""
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", limit=1 << 26)
    parts = urlsplit(url)
    user = parts.username or "postgres"
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://{user}@127.0.0.1:{port}{parts.path}?sslmode=disable", proxy
    finally:
        server.close()
        await proxy.close()

"""A client that sends bytes and keeps what comes, segment by segment."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar, Self, cast

from mesh_refresh.testing import Edge, FakeLogin, FakeMesh, Relay

_DATE = re.compile(rb"Date: [^\r\n]*")


class RawClient(asyncio.Protocol):
    """One connection to an edge."""

    transport: asyncio.Transport
    opened: ClassVar[list["RawClient"]] = []
    """For `closing`."""

    def __init__(self) -> None:
        self.segments: list[bytes] = []
        self.relays: list[Relay] = []
        """The exchanges on this connection, for the test to note."""
        self.half_closed = asyncio.Event()
        """Set when the edge has sent all that it will: by FIN, or at the end of the connection."""
        self.over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended: with the error of a reset, or None."""
        self._changed = asyncio.Event()

    @classmethod
    async def connect(cls, edge: Edge) -> Self:
        _, client = await asyncio.get_running_loop().create_connection(cls, edge.host, edge.port)
        cls.opened.append(client)
        return client

    @property
    def got(self) -> bytes:
        """All that came, with one date in place of each."""
        return undated(b"".join(self.segments))

    def refresh(self, fake: FakeMesh, login: FakeLogin, *headers: str) -> None:
        """Send a refresh of `login`."""
        body = json.dumps({"type": login.broker, "refreshToken": login.token.refresh_token})
        lines = (
            "POST /api/v1/token/refresh HTTP/1.1", "Host: mesh", "Content-Type: application/json",
            f"X-Client-Id: {fake.client_id}", f"X-Client-Secret: {fake.client_secret}",
            f"Content-Length: {len(body)}", *headers, "", body,
        )  # fmt: skip
        self.transport.write("\r\n".join(lines).encode())

    async def has(self, size: int) -> bytes:
        """All that came, once it is so many bytes."""
        while sum(map(len, self.segments)) < size:
            await self._changed.wait()
        return self.got

    def close(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.segments.append(data)
        self._changed.set()
        self._changed = asyncio.Event()

    def eof_received(self) -> bool:
        self.half_closed.set()
        return True  # ours stays open, so that a FIN can be told from the end

    def connection_lost(self, error: Exception | None) -> None:
        self.half_closed.set()
        self.over.set_result(error)


@asynccontextmanager
async def closing() -> AsyncIterator[None]:
    """Every connection that is opened within is closed at its end, also where a test fails."""
    yield
    while RawClient.opened:
        client = RawClient.opened.pop()
        client.transport.abort()
        await client.over


def undated(reply: bytes) -> bytes:
    """The reply as if it came on any day."""
    return _DATE.sub(lambda found: b"Date: ".ljust(len(found[0]), b"x"), reply)

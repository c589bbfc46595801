"""Transports as a user may write them."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve

from mesh_refresh import AiohttpTransport, HttpReply, HttpRequest


class PlainTransport:
    """HTTP by hand over asyncio's streams, a connection for each request, within a time-out of asyncio's."""

    def __init__(self, timeout: float = 3600) -> None:
        self.timeout = timeout
        self.closed = 0

    async def send(self, request: HttpRequest) -> HttpReply:
        url = urlsplit(request.url)
        async with asyncio.timeout(self.timeout):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            try:
                await request.before_send()
                headers = {
                    **request.headers,
                    "Host": url.netloc,
                    "Content-Length": len(request.body),
                    "Connection": "close",
                }
                lines = [f"POST {url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
                writer.write("\r\n".join(lines).encode() + request.body)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
                received = dict(line.split(": ", 1) for line in head[1:] if line)
                return HttpReply(int(head[0].split()[1]), received, await reader.read())
            finally:
                writer.close()
                await writer.wait_closed()

    async def aclose(self) -> None:
        self.closed += 1


class BySession(AiohttpTransport):
    """The way of an aiohttp that is not known: `ClientSession.post`, on a connection for each request."""

    def __init__(self, *, connections: int = 100) -> None:
        super().__init__(connections=connections)
        self._way = "session"


class Wrapping:
    """Adds a header to every request."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def send(self, request: HttpRequest) -> HttpReply:
        reply = await self.inner.send(evolve(request, headers={**request.headers, "X-Gateway": "fake-gateway"}))
        assert isinstance(reply, HttpReply)
        return reply

    async def aclose(self) -> None:
        await self.inner.aclose()

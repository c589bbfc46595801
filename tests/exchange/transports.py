"""Transports as a user may write them."""

import asyncio
from urllib.parse import urlsplit

import aiohttp

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


class LongWay(AiohttpTransport):
    """The way through `ClientSession.post`, as with `trust_env`, but without a proxy that the machine may name."""

    def __init__(self, session: aiohttp.ClientSession | None = None, *, connections: int = 100) -> None:
        super().__init__(session, connections=connections)
        self._trust_env = True

    def _opened(self) -> aiohttp.ClientSession:
        self._trust_env = False
        try:
            return super()._opened()
        finally:
            self._trust_env = True

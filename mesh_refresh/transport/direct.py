"""Requests on connections of aiohttp's pool, without its session.

aiohttp connects, through proxies and TLS, and keeps the pool. The bytes on a connection are written and read here
(`wire`, `incoming`). All of aiohttp that this needs is public, but for two undocumented arguments of `connect`, and all
of it is used before the first byte: with an aiohttp that differs, nothing was sent, and `Surprise` is raised.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

import aiohttp

from mesh_refresh.errors import InvalidRequest, NotSent, OutcomeUnknown
from mesh_refresh.masking import MaskedBytes, MaskedStr
from mesh_refresh.messages import HttpReply, HttpRequest
from mesh_refresh.transport.incoming import Incoming
from mesh_refresh.transport.wire import Retired, WireProtocol

NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)

_OURS = frozenset(("host", "content-length", "transfer-encoding", "connection"))
_TRIES = 4
"""How many connections are tried for one request, where each turns out not to be usable."""


class Surprise(Exception):
    """The insides of this aiohttp differ from the known ones. Nothing was sent."""


class Captured(Exception):
    """Ends a `post` of aiohttp as soon as the request is made."""


class Direct:
    """POSTs to one URL, on the connections of one session's pool."""

    def __init__(self, session: aiohttp.ClientSession, pattern: aiohttp.ClientRequest, retired: Retired) -> None:
        connector = session.connector
        if connector is None:
            raise Surprise("a session has no connector")
        self._connector = connector
        self._pattern = pattern
        self._retired = retired
        target = str(pattern.url) if pattern.proxy is not None and not pattern.is_ssl() else pattern.url.raw_path_qs
        self._head = MaskedBytes()
        self._known_headers: Mapping[str, str] | None = None
        self._known_proxy: str | None = None
        self._start = f"POST {target} HTTP/1.1\r\nHost: {pattern.headers['Host']}\r\n"

    @classmethod
    async def to(cls, session: aiohttp.ClientSession, url: str, *, proxy: str | None, retired: Retired) -> "Direct":
        """Let aiohttp make its request for `url`, with the proxy applied, and keep it as the pattern for `connect`."""
        made: list[aiohttp.ClientRequest] = []

        async def capture(request: aiohttp.ClientRequest, _: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            made.append(request)
            raise Captured

        try:
            await session.post(url, middlewares=(capture,), proxy=proxy, allow_redirects=False, timeout=NO_TIMEOUT)
        except Captured:
            return cls(session, made[0], retired)
        raise Surprise("a session sent what was to be captured")

    async def connect(self) -> tuple[aiohttp.connector.Connection, WireProtocol]:
        """A connection on which the next bytes can only be the reply to the next request.

        Raises `NotSent` where four in a row turn out not to be usable, and everything that connecting raises.
        """
        for _ in range(_TRIES):
            try:
                conn = await self._connector.connect(self._pattern, traces=[], timeout=NO_TIMEOUT)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                continue  # a shutdown hit one of aiohttp's helpers, and not this task
            try:
                wire = self._wire_of(conn)
                if wire.is_silent():
                    return conn, wire
            except BaseException:
                conn.close()
                raise
            # It was closed, or bytes came without a request: the exchange that it served last gets those.
            wire.retire()
            conn.close()
        raise NotSent("The request was not sent: every connection was closed, or spoke before it was asked.")

    def _wire_of(self, conn: aiohttp.connector.Connection) -> WireProtocol:
        transport, handler = conn.transport, conn.protocol
        if transport is None or handler is None:
            raise Surprise("a connection has no transport")
        found = transport.get_protocol()
        if isinstance(found, WireProtocol):
            return found
        wire = WireProtocol(transport, handler, self._retired)
        if handler.should_close:
            wire.retire()  # it has spoken already
        return wire

    async def exchange(self, conn: aiohttp.connector.Connection, wire: WireProtocol, request: HttpRequest) -> HttpReply:
        """Send `request`. Gives the reply, or the part of it that came; raises `OutcomeUnknown` where nothing came."""
        sent = reusable = False
        try:
            data, incoming = self._written(request), Incoming(request.body)
            await request.before_send()
            if not wire.is_silent():
                raise NotSent("The request was not sent: its connection was closed meanwhile.")
            sent = True
            wire.send(data, incoming, request.late)
            try:
                await wire.wait()
            except asyncio.CancelledError:
                # The deadline. The bytes so far may be the only copy of a new token, so they are returned and not
                # dropped. Bytes that come after them are handed over later.
                if not wire.has_begun:
                    wire.give_up()
                    raise
                reply, why, reusable = wire.take("the deadline passed")
            else:
                reply, why, reusable = wire.take()
        finally:
            if reusable or not (sent or wire.is_lost):
                conn.release()
            else:
                wire.retire()
                conn.close()
        if reply is None:
            raise OutcomeUnknown(f"The request was sent, but no answer came: {why}.")
        return reply

    def _written(self, request: HttpRequest) -> bytes:
        """The bytes of `request`. Raises `InvalidRequest` for headers that cannot be written."""
        headers = request.headers
        proxy = self._pattern.headers.get("Proxy-Authorization")
        # A client's headers are one object that cannot be changed, for as long as its keys are the same.
        if headers is not self._known_headers or proxy != self._known_proxy:
            self._head = self._head_of(headers, proxy)
            self._known_headers, self._known_proxy = headers if isinstance(headers, MappingProxyType) else None, proxy
        return MaskedBytes(b"%b%d\r\n\r\n%b" % (self._head, len(request.body), request.body))

    def _head_of(self, headers: Mapping[str, str], proxy: str | None) -> MaskedBytes:
        # Not by `items`, which a MaskedDict gives masked.
        lines = [f"{name}: {headers[name]}\r\n" for name in headers if name.lower() not in _OURS]
        if proxy is not None:
            lines.append(f"Proxy-Authorization: {proxy}\r\n")
        head = MaskedStr("".join((self._start, *lines, "Content-Length: ")))
        if head.count("\n") != len(lines) + 2 or head.count("\r") != len(lines) + 2:
            raise InvalidRequest("A header of the request has a line break in it; nothing was sent.")
        return MaskedBytes(head.encode())

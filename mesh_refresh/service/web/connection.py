"""A connection to the service: aiohttp's, with limits of our own, and without aiohttp's words about what came."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn, cast

from aiohttp import StreamReader, web

from mesh_refresh.service.web.problems import PROBLEM_TYPE, reason_of, write_problem
from mesh_refresh.service.web.replies import write_answer
from mesh_refresh.service.web.requests import describe

_log = logging.getLogger("mesh_refresh.service")

_IDLE = 75.0
"""Seconds for which a connection without a request stays open."""


class _Answered(ConnectionError):
    """The request was answered past aiohttp, which then closes the connection."""


class ServedConnection(web.RequestHandler):
    """Serves one connection, and ends it where a request does not come in time.

    The headers of a request must be whole `patience` seconds after its first byte, or after the connection was made,
    and its body as long after them. aiohttp's own texts about errors quote what came, which may hold a key or tokens:
    none of them gets into a log or an answer.
    """

    patience: ClassVar[float] = 10.0
    """Seconds for the headers of a request, and again for its body."""
    reading: ClassVar[float] = 60.0
    """Seconds in which a caller must take an answer. Those that never read would hold all connections for ever."""

    def __init__(
        self, server: web.Server, connections: set["ServedConnection"], limit: int, admits: Callable[[str], bool]
    ) -> None:
        # aiohttp would unpack bodies, of callers without a key too: a megabyte of a thousand stops the event loop.
        super().__init__(server, loop=asyncio.get_running_loop(), keepalive_timeout=_IDLE, auto_decompress=False)
        self._connections, self._limit, self._admits = connections, limit, admits
        self._timer: asyncio.TimerHandle | None = None
        self._is_serving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse the connection: of a peer that may not connect, or where there are too many."""
        peer = transport.get_extra_info("peername")
        if not self._admits(peer[0] if isinstance(peer, tuple) else ""):
            cast("asyncio.Transport", transport).abort()
            return
        if len(self._connections) >= self._limit:
            refused = cast("asyncio.Transport", transport)
            refused.write(write_answer(HTTPStatus.SERVICE_UNAVAILABLE, Retry_After="1"))
            refused.close()
            return
        self._connections.add(self)
        super().connection_made(transport)
        self._expect(self._end_slow_headers)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._stop_timer()
        if self in self._connections:
            self._connections.remove(self)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request: of the next one, where none is served."""
        if self._timer is None and not self._is_serving:
            self._expect(self._end_slow_headers)
        super().data_received(data)

    @contextmanager
    def serving(self, body: StreamReader) -> Generator[None]:
        """While the handler of a request works, whose headers are whole, and whose body may still come."""
        self._stop_timer()
        self._is_serving = True
        if not body.is_eof():
            self._expect(self._end_slow_body)
            body.on_eof(self._stop_timer)
        try:
            yield
        finally:
            self._is_serving = False

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Answer. What aiohttp itself refuses gets plain words: its own quote the header ``Expect``, for example."""
        if isinstance(resp, web.HTTPException):
            resp.body = write_problem(resp.status, reason_of(resp.status))
            resp.content_type = PROBLEM_TYPE
        transport = request.transport
        if transport is None:
            return await super().finish_response(request, resp, start_time)
        timer = asyncio.get_running_loop().call_later(self.reading, _end_unread, transport)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            if not transport.get_write_buffer_size():
                timer.cancel()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> NoReturn:
        """Answer a request that cannot be read, or whose handler failed, in words that quote nothing."""
        del message
        if not isinstance(exc, _Answered):
            if exc is not None and status >= 500:
                _log.error("a request was not answered because of a bug in mesh_refresh", extra=describe(exc))
            if self.transport is not None and not request.writer.output_size:
                self.transport.write(write_answer(status))
        raise _Answered

    def log_access(self, request: web.BaseRequest, response: web.StreamResponse, time: float | None) -> None:
        """Log nothing."""
        del request, response, time

    def log_debug(self, *arguments: Any, **options: Any) -> None:
        """Log nothing."""

    def log_exception(self, *arguments: Any, **options: Any) -> None:
        """Log nothing: `handle_error` names class and place of what a handler raises."""

    def _expect(self, end: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.patience, end)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_slow_headers(self) -> None:
        if self.transport is not None:
            self.transport.write(write_answer(HTTPStatus.REQUEST_TIMEOUT))
        self._end_slow_body()

    def _end_slow_body(self) -> None:
        self._timer = None
        if self.transport is not None:
            self.transport.abort()


def _end_unread(transport: asyncio.WriteTransport) -> None:
    if transport.get_write_buffer_size():
        transport.abort()


@web.middleware
async def watch_body(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Tell the connection that a request has begun, and when it is over."""
    connection = request.protocol
    if not isinstance(connection, ServedConnection):  # the application is mounted in another server
        return await handler(request)
    with connection.serving(request.content):
        return await handler(request)

"""A real server on loopback around the model: it does the model's work at once, and only writes, waits and cuts."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from mesh_refresh.testing.fake.gate import Gate
from mesh_refresh.testing.fake.traffic import FaultQueue, SentRequest, Traffic
from mesh_refresh.testing.fake.wire import Sent, Wire, faultless
from mesh_refresh.testing.faults.fault import Fault
from mesh_refresh.testing.model.contract import REFRESH_PATH, Answer, is_json, parse
from mesh_refresh.testing.model.model import MeshModel

log = logging.getLogger("mesh_refresh.testing")

_NO_ANSWER = Answer(200, {}, "")


class MeshServer:
    """Serves a `MeshModel` on one address; it can be stopped and started there again."""

    def __init__(self, model: MeshModel, traffic: Traffic, faults: FaultQueue[Fault], host: str, port: int) -> None:
        self._model, self._faults = model, faults
        self.traffic = traffic
        self.host, self.port = host, port
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.routes: list[web.RouteDef] = [web.post(REFRESH_PATH, self._refresh)]
        """Others may be added before the start."""
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Listen. With port 0 the system picks one, and a restart keeps it."""
        app = web.Application(client_max_size=1 << 20)
        app.add_routes(self.routes)
        # No access log: it is slow, and its lines are not for a test to read.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port, reuse_address=True)
        try:
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner, self._loop = runner, asyncio.get_running_loop()

    async def stop(self) -> None:
        """Close every connection and stop listening; safe to repeat."""
        runner, self._runner, self._loop = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    def stands_still(self) -> bool:
        """Whether another event loop runs in the place of the one that it was started in."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return self._loop is not None and not self._loop.is_running()

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until `met` holds; it is asked again whenever a request has come or gone."""
        while not met():
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _refresh(self, http: web.Request) -> web.StreamResponse:
        raw = await http.read()
        body = parse(raw) if is_json(http.headers.get("Content-Type")) else None
        request = self._record(http.headers, body)
        fault = self._faults.take(request.login, request.broker)
        self.traffic.enter(request)
        self._tell()
        try:
            return await self._respond(http, request, fault, body)
        finally:
            self.traffic.leave(request)
            self._tell()

    def _record(self, headers: Mapping[str, str], body: object) -> SentRequest:
        fields: dict[str, Any] = body if isinstance(body, dict) else {}
        login = self._model.login_of(fields)
        issued = self._model.ledger.tokens.get(fields["refreshToken"]) if login else None
        broker = fields.get("type")
        return SentRequest(
            len(self.traffic.requests) + 1,
            self._model.clock.now(),
            fields,
            CIMultiDict(headers),
            broker if isinstance(broker, str) else None,
            login.id if login else None,
            issued.account if issued else None,
        )

    async def _respond(
        self, http: web.Request, request: SentRequest, fault: Fault | None, body: object
    ) -> web.StreamResponse:
        if fault is None:
            answer = self._answer(request, body)
            return await self._write(http, request, answer, faultless(answer))
        request.fault = fault.name
        await _wait(fault.before)
        answer = self._answer(request, body) if fault.rotates else _NO_ANSWER
        wire = fault.shape(answer, Sent(request.body, request.headers))
        try:
            await _wait(fault.after)
        except asyncio.CancelledError:
            # The server is being stopped.
            self._model.deliver(answer, b"")
            raise
        return await self._write(http, request, answer, wire)

    def _answer(self, request: SentRequest, body: object) -> Answer:
        answer = self._model.answer(request.headers, body)
        request.outcome = answer.outcome
        self.traffic.exchanges[answer.outcome] += 1
        log.debug("request %d: %s", request.number, answer.outcome)
        return answer

    async def _write(self, http: web.Request, request: SentRequest, answer: Answer, wire: Wire) -> web.StreamResponse:
        transport = http.transport
        gone = transport is None or transport.is_closing()
        if answer.issued:
            self._model.deliver(answer, None if gone and not wire.silent else wire.sent)
        if gone or transport is None:
            return web.Response()
        if wire.silent:
            transport.abort()
            return web.Response()
        request.status = wire.status
        if wire.written is None:
            return web.Response(status=wire.status, body=wire.body, headers=wire.headers)
        return await _write_part(http, wire, transport)


async def _write_part(http: web.Request, wire: Wire, transport: asyncio.Transport) -> web.StreamResponse:
    response = web.StreamResponse(status=wire.status, headers=wire.headers)
    if wire.chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(wire.body)
    await response.prepare(http)
    await response.write(wire.sent)
    # close, not abort: what was written must arrive.
    transport.close()
    return response


async def _wait(what: Gate | timedelta | None) -> None:
    if isinstance(what, Gate):
        await what.pass_through()
    elif what is not None:
        await asyncio.sleep(what.total_seconds())

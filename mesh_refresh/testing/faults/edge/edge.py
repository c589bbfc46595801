"""Edge: a proxy in front of a FakeMesh that damages replies byte by byte."""

import asyncio
from collections.abc import Callable
from itertools import cycle
from typing import Self

from attrs import define, field

from mesh_refresh.enums import BrokerType
from mesh_refresh.testing.fake.mesh import FakeMesh
from mesh_refresh.testing.fake.traffic import FaultQueue, tell_unused
from mesh_refresh.testing.faults.edge.connection import Connection, ConnectionEnded, ask, script_of
from mesh_refresh.testing.faults.edge.fault import EdgeFault
from mesh_refresh.testing.faults.edge.message import Message
from mesh_refresh.testing.faults.edge.reach import Reach, measured
from mesh_refresh.testing.faults.edge.requests import READ_LIMIT, Request
from mesh_refresh.testing.faults.edge.steps import NextRequest, Script, StepContext, Wait, Write, written_by
from mesh_refresh.testing.model.contract import REFRESH_PATH
from mesh_refresh.testing.model.holdings import counted
from mesh_refresh.testing.model.ledger import Withheld
from mesh_refresh.testing.model.logins import FakeLogin
from mesh_refresh.testing.model.rules import repeated
from mesh_refresh.testing.model.salvage import texts


@define(eq=False)
class Relay:
    """One refresh that came through an edge: what was done to its reply, and what of it was written."""

    number: int
    """Of all requests that came to this edge, from 1 on."""
    login: str | None
    """Whose refresh token the request carries; None for one that was never issued."""
    fault: EdgeFault | None
    new: tuple[str, ...] = field(default=(), repr=counted)
    """The tokens that Mesh's reply brings: refresh tokens, access tokens and token ids."""
    size: int = 0
    """How many bytes were written to the client."""
    reach: Reach = Reach.UNTOUCHED
    """What is left to a client that does not hang up."""
    hung_up: bool = False
    """The client closed the connection before everything was written."""
    done: bool = False


class Edge:
    """A proxy in front of `fake` that does to its replies what `faults` say, byte by byte::

        async with FakeMesh() as fake, Edge(fake, EdgeFault.long_header()) as edge:
            async with fake.client(base_url=edge.base_url) as mesh:
                await mesh.refresh(fake.login("coinbase").token)
        assert not fake.lost(ignoring_undelivered=True)
        assert not fake.misplaced()

    A fault meets every refresh; several meet one refresh each, in turn, without end. With `times`, each meets so many,
    one fault after the other, and the rest passes undamaged. All that is no refresh passes undamaged.

    The ledger of `fake` knows what was written: a token that did not go out whole counts as undelivered. Where the
    client is in another process, `beat` is how many seconds a turn of a pause takes, beside the turn of the event loop.
    """

    def __init__(
        self,
        fake: FakeMesh,
        *faults: EdgeFault,
        times: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        beat: float = 0,
    ) -> None:
        self.fake, self.host, self.port = fake, host, port
        self.relays: list[Relay] = []
        """Every refresh that came through, in order."""
        self.requests = 0
        """How many requests came, refreshes or not."""
        self.connections = 0
        """How many connections clients have opened."""
        self._beat = beat
        self._queue = FaultQueue[EdgeFault]()
        self._always = cycle(faults) if times is None else cycle(())
        if times is not None:
            self.fail(*faults, times=times)
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], Connection] = {}
        self._busy = 0
        self._changed = asyncio.Event()
        self._replies: dict[str, Message] = {}
        self._stranger: Message | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self.stop()
        self._queue.forget()
        if error is None:
            tell_unused(self._queue)

    async def start(self) -> None:
        """Listen. With port 0 the system picks one, and a restart keeps it."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=READ_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection and stop listening; safe to repeat."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task, connection in self._serving.items():
            task.cancel()
            connection.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await server.wait_closed()

    @property
    def base_url(self) -> str:
        """Where it listens: ``http://127.0.0.1:<port>``."""
        return f"http://{self.host}:{self.port}"

    def fail(
        self,
        *faults: EdgeFault,
        times: int | None = 1,
        login: FakeLogin | str | None = None,
        broker: BrokerType | str | None = None,
    ) -> None:
        """Let each of `faults` meet the next `times` refreshes (of `login`, of `broker`), one after the other.

        They come before those that the edge was made with. ``times=None``: every refresh, until `heal`.
        """
        for rule in [self.fake.model.rule_for(fault, times, login, broker) for fault in faults]:
            self._queue.add(rule)

    def heal(self) -> None:
        """Forget every fault: what comes from now on passes undamaged."""
        self._queue.forget()
        self._always = cycle(())

    async def idle(self) -> None:
        """Wait until every request is answered, as far as that goes without another request."""
        await self._until(lambda: not self._busy)

    async def received(self, count: int) -> None:
        """Wait until `count` requests have come in, counted from the start."""
        await self._until(lambda: self.requests >= count)

    async def _until(self, met: Callable[[], bool]) -> None:
        while not met():
            await self._changed.wait()

    # One connection.

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = Connection(reader, writer, self._beat, self._count_busy)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._serving[task] = connection
        task.add_done_callback(self._serving.pop)

    async def _serve(self, connection: Connection) -> None:
        reading = asyncio.get_running_loop().create_task(connection.read())
        try:
            while True:
                request = await connection.next_request()
                self.requests += 1
                self._count_busy(1)
                try:
                    await self._exchange(connection, request)
                finally:
                    self._count_busy(-1)
        except ConnectionEnded:
            pass
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await connection.close()

    def _count_busy(self, by: int) -> None:
        self._busy += by
        self._changed.set()
        self._changed = asyncio.Event()

    async def _exchange(self, connection: Connection, request: Request) -> None:
        if request.path != REFRESH_PATH:
            reply, whole = await ask(self.fake.server.host, self.fake.server.port, request)
            for step in script_of(None, reply, StepContext(), whole=whole):
                await connection.play(step)
            return
        relay = self._relay(request)
        fault = relay.fault
        reply, whole = None, False
        if fault is None or fault.forwards:
            reply, whole = await ask(self.fake.server.host, self.fake.server.port, request)
        if reply is not None:
            relay.new = self._new_tokens(reply, request)
        context = StepContext(self._foreign(relay.login) if fault is not None and fault.mingles else None)
        if reply is not None and reply.status == 200 and relay.login is not None:
            self._replies.pop(relay.login, None)
            self._replies[relay.login] = reply
        await self._play(connection, relay, script_of(fault, reply, context, whole=whole))

    async def _play(self, connection: Connection, relay: Relay, script: Script) -> None:
        planned, written = written_by(script), bytearray()
        try:
            for step in script:
                if len(written) == len(planned) or isinstance(step, Wait | NextRequest):
                    self._account(relay, bytes(written), planned)
                await connection.play(step)
                if isinstance(step, Write):
                    written += step.data
        except ConnectionEnded:
            relay.hung_up = len(written) < len(planned)
            raise
        except asyncio.CancelledError:
            planned = bytes(written)  # the edge was stopped: the client is not to blame
            raise
        finally:
            self._account(relay, bytes(written), planned)
            relay.done = True

    # The ledger.

    def _relay(self, request: Request) -> Relay:
        sent = request.fields
        login, broker = self.fake.model.login_of(sent), sent.get("type")
        name = login.id if login else None
        fault = self._queue.take(name, broker if isinstance(broker, str) else None) or next(self._always, None)
        relay = Relay(self.requests, name, fault)
        self.relays.append(relay)
        return relay

    def _new_tokens(self, reply: Message, request: Request) -> tuple[str, ...]:
        found = {value for text in texts(reply.raw) for value in self.fake.ledger.found_in(text)}
        return tuple(sorted(found - set(self.fake.ledger.found_in(request.body))))

    def _account(self, relay: Relay, written: bytes, planned: bytes) -> None:
        """Correct the fake's ledger by what was written; what was planned and is not is the client's doing."""
        relay.size = len(written)
        relay.reach = measured(relay.fault.reach if relay.fault else Reach.WHOLE, relay.new, planned)
        came, was_to_come = b"\n".join(texts(written)), b"\n".join(texts(planned))
        for value in relay.new:
            withheld = Withheld.HUNG_UP if value.encode() in was_to_come else Withheld.BY_FAULT
            self.fake.model.note_delivery((value,), came, withheld)

    def _foreign(self, login: str | None) -> Message:
        """The latest reply to another login; where there is none, one that is made for it."""
        for other, reply in reversed(self._replies.items()):
            if other != login:
                return reply
        if self._stranger is None:
            self._stranger = self._made_up()
        return self._stranger

    def _made_up(self) -> Message:
        stranger = self.fake.login(BrokerType.COINBASE, ref="a stranger")
        body = repeated(stranger).body
        return Message(b"HTTP/1.1 200 OK").with_payload(body, b"Content-Type: application/json; charset=utf-8")

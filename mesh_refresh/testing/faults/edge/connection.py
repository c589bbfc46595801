"""One connection of a client to an edge: requests are passed on to Mesh one by one, and scripts are played."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from mesh_refresh.testing.faults.edge import steps
from mesh_refresh.testing.faults.edge.fault import EdgeFault
from mesh_refresh.testing.faults.edge.message import Message
from mesh_refresh.testing.faults.edge.requests import READ_LIMIT, Request, read_reply, read_request

_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class ConnectionEnded(Exception):
    """The client has closed the connection: nothing can be written to it."""


class Connection:
    """The streams of one client; `play` is what the edge does with them."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        beat: float,
        count: Callable[[int], object],
    ) -> None:
        """`count` is called with -1 before a step waits for the next request, and with 1 after it."""
        self._reader, self._writer, self._beat, self._count = reader, writer, beat, count
        self._ahead: asyncio.Queue[Request | None] = asyncio.Queue()
        self._next: Request | None = None
        self.gone = False
        """The client has closed it."""
        writer.transport.set_write_buffer_limits(0)  # `drain` returns when everything is with the system

    async def read(self) -> None:
        """Read requests until the client closes; they wait for `next_request`."""
        try:
            while True:
                self._ahead.put_nowait(await read_request(self._reader))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            self.gone = True
            self._ahead.put_nowait(None)

    async def next_request(self) -> Request:
        """The next request. Raises `ConnectionEnded` where the client has closed the connection."""
        request, self._next = self._next or await self._ahead.get(), None
        if request is None:
            self._ahead.put_nowait(None)
            raise ConnectionEnded
        return request

    async def play(self, step: steps.Step) -> None:
        """Do one step of a script. Raises `ConnectionEnded` where the connection is at its end."""
        match step:
            case steps.SendStep() | steps.Write():
                await self._write(step.message.raw if isinstance(step, steps.SendStep) else step.data)
            case steps.Pause():
                await self._pause(step.turns)
            case steps.Wait():
                await step.gate.pass_through()
            case steps.NextRequest():
                self._next = await self._awaited()
            case steps.HalfClose():
                await self._half_close()
            case steps.Close():
                raise ConnectionEnded
            case steps.Reset():
                self._reset()
                raise ConnectionEnded

    async def close(self) -> None:
        """Send what was written, then FIN; safe to repeat."""
        self._writer.close()
        with suppress(ConnectionError, TimeoutError):  # the client was first
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Drop it, with what was not sent yet."""
        self._writer.transport.abort()

    def _reset(self) -> None:
        taken = self._writer.get_extra_info("socket")
        if taken is not None and not self._writer.transport.is_closing():
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self._writer.transport.abort()

    async def _write(self, data: bytes) -> None:
        if self.gone or self._writer.is_closing():
            raise ConnectionEnded
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            raise ConnectionEnded from None

    async def _pause(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        if self._beat:
            await asyncio.sleep(self._beat * turns)

    async def _half_close(self) -> None:
        self._writer.write_eof()
        await self._awaited()
        self._reset()
        raise ConnectionEnded

    async def _awaited(self) -> Request:
        self._count(-1)
        try:
            return await self.next_request()
        finally:
            self._count(1)


async def ask(host: str, port: int, request: Request) -> tuple[Message | None, bool]:
    """What Mesh answers, on a connection of its own, and whether that came whole."""
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=READ_LIMIT)
    except OSError:
        return None, False
    try:
        writer.write(request.raw)
        return await read_reply(reader)
    finally:
        writer.transport.abort()


def script_of(
    fault: EdgeFault | None, reply: Message | None, context: steps.StepContext, *, whole: bool
) -> steps.Script:
    """What the edge does with a reply: what `fault` makes of it, as bytes."""
    plain: steps.Script
    if fault is not None and not fault.forwards:
        plain = ()
    elif reply is None:
        return (steps.Reset(),)
    else:
        plain = (steps.SendStep(reply),) if whole and reply.keeps_alive else (steps.SendStep(reply), steps.Close())
    return steps.as_bytes(fault.script(plain, context) if fault else plain)

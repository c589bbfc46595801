"""aiohttp's request, which tells when it has its connection and when its first byte goes out."""

import asyncio
from contextvars import ContextVar
from typing import Any

import aiohttp

from mesh_refresh.messages import HttpRequest


class Sending:
    """How far one request has come."""

    __slots__ = ("begun", "request")

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.begun = False
        """Whether bytes may be out."""


current: ContextVar[Sending] = ContextVar("mesh_refresh_sending")


class BodyNotWritten(aiohttp.ClientConnectionError):
    """Somebody cancelled the task in which aiohttp writes the body (`asyncio.run` does, when `main()` ends)."""


class TellingRequest(aiohttp.ClientRequest):
    """For `ClientSession(request_class=...)`: tells the `Sending` of the task that it runs in."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Ask `before_send`, with the connection in hand, and send."""
        sending = current.get()
        await sending.request.before_send()
        response = await super().send(conn)
        writer = self._writer
        if writer is not None:
            # Without this, a request whose writer was cancelled waits for an answer to nothing.
            def fail(task: asyncio.Task[None]) -> None:
                if task.cancelled() and conn.protocol is not None:
                    conn.protocol.set_exception(BodyNotWritten())

            writer.add_done_callback(fail)
        return response

    async def write_bytes(self, writer: Any, conn: Any, content_length: int | None = None) -> None:
        """Write the body, and the headers with it: nothing goes out before."""
        current.get().begun = True
        await super().write_bytes(writer, conn, content_length)

"""The same exchange with aiohttp's connector, writer and response, but without its session's detours.

`ClientSession.post` merges headers, cookies, proxies, redirects and traces that a refresh never has, and on Python 3.11
writes the body in a task of its own. Without that, a refresh takes a third less CPU and memory, there is no helper task
that a shutdown could cancel in the middle of a request, and no object of aiohttp's ever holds the client secret.

This steps on what aiohttp does not promise to keep. `KNOWN` says for which versions it was tried; with any other one
the transport takes the session's way, which is slower and all public.
"""

import asyncio
from typing import Any

import aiohttp
from aiohttp.helpers import TimerNoop
from aiohttp.http import StreamWriter
from yarl import URL

from mesh_refresh.masking import MaskedDict
from mesh_refresh.transport.sending import Sending

KNOWN = aiohttp.__version__.split(".")[:2] == ["3", "14"]

_NO_TIMER = TimerNoop()


class Direct:
    """POSTs to one URL, on the connections of one session's pool."""

    def __init__(self, session: aiohttp.ClientSession, url: str, timeout: aiohttp.ClientTimeout) -> None:
        self._session = session
        self._connector: Any = session.connector
        self._timeout = timeout
        loop = asyncio.get_running_loop()
        # What the connector finds connections by, and what a response says that it answers: alike for every request.
        self._pattern = aiohttp.ClientRequest("POST", URL(url), loop=loop, session=session, timer=_NO_TIMER)
        self._line = f"POST {self._pattern.url.raw_path_qs} HTTP/1.1"
        self._host = self._pattern.headers["Host"]

    async def post(self, sending: Sending) -> aiohttp.ClientResponse:
        """Send, and come back when the headers of the reply are there."""
        conn: Any = await self._connector.connect(self._pattern, traces=[], timeout=self._timeout)
        try:
            protocol = conn.protocol
            # Until the end: a reply without a length (HTTP/1.0, old proxies) has its body all the same.
            protocol.set_response_params(timer=_NO_TIMER, auto_decompress=False, read_until_eof=True)
            await sending.request.before_send()
            if not protocol.is_connected():
                # It broke while `before_send` was asked: there is nothing to write to.
                raise aiohttp.ClientConnectionError
            return await self._exchange(conn, protocol, sending)
        except BaseException:
            conn.close()
            raise

    async def _exchange(self, conn: Any, protocol: Any, sending: Sending) -> aiohttp.ClientResponse:
        pattern, body = self._pattern, sending.request.body
        writer = StreamWriter(protocol, pattern.loop)
        response = aiohttp.ClientResponse(
            "POST",
            pattern.url,
            writer=None,
            continue100=None,
            timer=_NO_TIMER,
            request_info=pattern.request_info,
            traces=[],
            loop=pattern.loop,
            session=self._session,
            stream_writer=writer,
        )
        # A plain mapping: nobody looks anything up in it, and it does not show the client secret.
        headers: Any = MaskedDict(sending.request.headers)
        headers["Host"] = self._host
        headers["Content-Length"] = str(len(body))
        await writer.write_headers(self._line, headers)
        sending.begun = True
        await writer.write_eof(body)
        return await response.start(conn)

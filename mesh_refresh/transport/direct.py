"""The same exchange with aiohttp's connector, request and response, but without its session's detours.

`ClientSession.post` merges headers, cookies, proxies, redirects and traces that a refresh never has, and on Python 3.11
writes the body in a task of its own. Without that, a refresh costs a quarter less than hand-written `session.post`,
and there is no helper task that a shutdown could cancel in the middle of a request.

This steps on what aiohttp does not promise to keep. `KNOWN` says for which versions it was tried; with any other one
the transport takes the session's way, which is slower and all public.
"""

import asyncio
from typing import Any

import aiohttp
from aiohttp.helpers import TimerNoop
from aiohttp.http import StreamWriter
from multidict import CIMultiDict
from yarl import URL

from mesh_refresh.transport.sending import Sending

KNOWN = aiohttp.__version__.split(".")[:2] == ["3", "14"]

_NO_TIMER = TimerNoop()


class DirectRequest(aiohttp.ClientRequest):
    """A POST whose headers are complete: the parts of aiohttp's that work them out have nothing to do."""

    def update_headers(self, headers: Any) -> None:
        """Take them as they are."""
        self.headers = headers

    def update_auto_headers(self, skip_auto_headers: Any) -> None:
        """There are none to add."""

    def update_cookies(self, cookies: Any) -> None:
        """There are none."""

    def update_content_encoding(self, data: Any) -> None:
        """It has none."""

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        """`exchange` writes it."""

    def update_transfer_encoding(self) -> None:
        """Its length is known."""

    async def exchange(self, conn: Any, sending: Sending) -> aiohttp.ClientResponse:
        """Send on the connection in hand, and come back when the headers of the reply are there."""
        await sending.request.before_send()
        protocol = conn.protocol
        if protocol is None or not protocol.is_connected():
            # It broke while `before_send` was asked: there is nothing to write to.
            raise aiohttp.ClientConnectionError("the connection was closed before the request")
        writer = StreamWriter(protocol, self.loop)
        response = aiohttp.ClientResponse(
            self.method,
            self.url,
            writer=None,
            continue100=None,
            timer=_NO_TIMER,
            request_info=self.request_info,
            traces=[],
            loop=self.loop,
            session=self.session,
            stream_writer=writer,
        )
        await writer.write_headers(f"POST {self.url.raw_path_qs} HTTP/1.1", self.headers)
        sending.begun = True
        await writer.write_eof(sending.request.body)
        try:
            return await response.start(conn)
        except BaseException:
            response.close()
            raise


async def post(session: aiohttp.ClientSession, url: URL, sending: Sending, timeout: Any) -> aiohttp.ClientResponse:
    """One POST, on a connection of the session's pool."""
    connector, request = session.connector, sending.request
    assert connector is not None
    headers = CIMultiDict(request.headers)
    headers["Host"] = _host(url)
    headers["Content-Length"] = str(len(request.body))
    loop = asyncio.get_running_loop()
    made = DirectRequest("POST", url, headers=headers, loop=loop, session=session, timer=_NO_TIMER)
    conn = await connector.connect(made, traces=[], timeout=timeout)
    try:
        assert conn.protocol is not None
        conn.protocol.set_response_params(timer=_NO_TIMER, auto_decompress=False)
        return await made.exchange(conn, sending)
    except BaseException:
        conn.close()
        raise


def _host(url: URL) -> str:
    return url.host_port_subcomponent or ""



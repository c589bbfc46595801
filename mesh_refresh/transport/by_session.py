"""Requests by `ClientSession.post`, with nothing but the public promises of aiohttp.

For a session of the caller's, and for an aiohttp that is not known. This way cannot see when the first byte goes out:
a request counts as sent from its start, unless the type of the error says that there was no connection. A reply that
aiohttp's parser refuses is lost, and bytes on an idle connection are taken for the answer to the next request: see
docs/decisions/a-transport-that-keeps-its-bytes.md.
"""

import asyncio

import aiohttp

from mesh_refresh.codec import BODY_LIMIT
from mesh_refresh.errors import NotSent, OutcomeUnknown
from mesh_refresh.masking import MaskedBuffer
from mesh_refresh.messages import HttpReply, HttpRequest
from mesh_refresh.transport.direct import NO_TIMEOUT
from mesh_refresh.transport.incoming import HEADER_LIMIT, KEPT_HEADERS

NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    UnicodeError,  # a host name that cannot be one
)


async def post_by(session: aiohttp.ClientSession, request: HttpRequest, proxy: str | None) -> HttpReply:
    """Send once. Raises `NotSent` where there was no connection, else `OutcomeUnknown`."""
    await request.before_send()
    if session.closed:
        raise NotSent("The request was not sent: the session is closed.")
    loop = asyncio.get_running_loop()
    if getattr(session, "_loop", loop) is not loop:  # aiohttp has no public name for it
        raise NotSent("The request was not sent: the session belongs to another event loop. Make it in this one.")
    failure: NotSent | OutcomeUnknown
    try:
        response = await session.post(
            request.url,
            data=request.body,
            headers=request.headers,
            proxy=proxy,
            allow_redirects=False,
            auto_decompress=False,
            raise_for_status=False,
            timeout=NO_TIMEOUT,
            max_line_size=HEADER_LIMIT,
            max_field_size=HEADER_LIMIT,
        )
    except NEVER_SENT as error:
        failure = NotSent(f"The request was not sent: {reason_of(error)}.")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        if isinstance(error, aiohttp.ClientResponseError) and error.request_info.method == "CONNECT":
            failure = NotSent(f"The request was not sent: its proxy gave no answer to CONNECT ({reason_of(error)}).")
        else:
            failure = OutcomeUnknown(f"The request was sent, but no answer came back: {reason_of(error)}.")
    else:
        return await _read(response)
    # Raised out here: aiohttp's own errors hold the request's headers, and would come along as the context.
    raise failure


def reason_of(error: Exception) -> str:
    """What happened, without secrets: aiohttp's own text of an error in connecting, else the name of the error."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerDisconnectedError) and "\n" not in str(error):
        return f"{type(error).__name__}, {error}"
    return type(error).__name__


def _unread(content: aiohttp.StreamReader) -> bytes:
    """The bytes that have arrived but that `read` does not return, because it raises the connection's error first."""
    return b"".join(getattr(content, "_buffer", ()))


async def _read(response: aiohttp.ClientResponse) -> HttpReply:
    content = response.content
    body = MaskedBuffer()
    try:
        while not content.at_eof() and len(body) <= BODY_LIMIT:
            body += await content.readany()
        complete = len(body) <= BODY_LIMIT
    except (aiohttp.ClientError, OSError):
        body += _unread(content)
        complete = False
    except asyncio.CancelledError:
        # The deadline. The bytes so far may be the only copy of a new token, so they are returned and not dropped.
        body += _unread(content)
        complete = content.is_eof()
        if not body:
            raise
    finally:
        # Without effect on a connection that went back to the pool at the end of its reply.
        response.close()
    names = KEPT_HEADERS.values()
    headers = {name: ", ".join(found) for name in names if (found := response.headers.getall(name, None)) is not None}
    return HttpReply(response.status, headers, bytes(body), complete)

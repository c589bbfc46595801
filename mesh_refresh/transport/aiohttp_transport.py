"""The one door to HTTP: the only module that imports aiohttp's client, and that maps its exceptions."""

import asyncio
import ssl as tls

import aiohttp
from yarl import URL

from mesh_refresh.codec import BODY_LIMIT
from mesh_refresh.errors import MeshRefreshError, NotSent, OutcomeUnknown
from mesh_refresh.masking import MaskedBuffer
from mesh_refresh.messages import HttpReply, HttpRequest
from mesh_refresh.transport import direct
from mesh_refresh.transport.sending import Sending, TellingRequest, current

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_READ_HEADERS = ("Content-Encoding", "Retry-After")
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class AiohttpTransport:
    """Requests by aiohttp, on a pool of at most `connections`.

    TLS certificates are verified, by `ssl` (an `ssl.SSLContext`) where given. No redirect is followed, no cookie kept,
    and no proxy taken from the environment unless `trust_env` says so. There are no time-outs in it: the client ends
    an exchange at its own deadline.

    With `session`, a `ClientSession` of yours is used as it is, and left open. Then it cannot be seen when a request
    has its connection, so a request counts as sent from its start, except where aiohttp says that it could not connect.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connections: int = 100,
        ssl: tls.SSLContext | None = None,
        trust_env: bool = False,
    ) -> None:
        self._given = session
        self._own: aiohttp.ClientSession | None = None
        self._connections = connections
        self._ssl = ssl
        self._trust_env = trust_env
        self._urls: dict[str, URL] = {}
        self._directs: dict[str, direct.Direct] = {}

    def __repr__(self) -> str:
        kind = "a session of the caller's" if self._given else f"connections={self._connections}"
        return f"AiohttpTransport({kind})"

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send `request` once. Raises `NotSent` before its first byte, `OutcomeUnknown` after it."""
        sending = Sending(request)
        try:
            if self._given is not None:
                await request.before_send()
                response = await self._post(self._given, sending)
            elif direct.KNOWN and not self._trust_env:
                response = await self._direct(request.url).post(sending)
            else:
                response = await self._post(self._own or self._opened(), sending)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = self._failure(error, sending)
        else:
            return await _read(response)
        # Raised out here: aiohttp's own errors hold the request's headers, and would come along as the context.
        raise failure

    async def _post(self, session: aiohttp.ClientSession, sending: Sending) -> aiohttp.ClientResponse:
        reset = current.set(sending)
        try:
            return await session.post(
                self._url(sending.request.url),
                data=sending.request.body,
                headers=sending.request.headers,
                allow_redirects=False,
                auto_decompress=False,
                raise_for_status=False,
                timeout=_NO_TIMEOUT,
            )
        finally:
            current.reset(reset)

    async def aclose(self) -> None:
        """Close the pool; a session of the caller's stays open."""
        if self._own is not None:
            await self._own.close()
            self._own = None
            self._directs.clear()

    def _direct(self, url: str) -> direct.Direct:
        found = self._directs.get(url)
        if found is None:
            found = self._directs[url] = direct.Direct(self._own or self._opened(), url, _NO_TIMEOUT)
        return found

    def _url(self, url: str) -> URL:
        if url not in self._urls:
            self._urls[url] = URL(url)
        return self._urls[url]

    def _opened(self) -> aiohttp.ClientSession:
        # Without aiohttp's DNS cache a name is looked up in our own task. With it, that is done in a helper task: one
        # that a shutdown cancels before its first step leaves every later look-up of the name waiting for ever.
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._ssl or True, use_dns_cache=False)
        self._own = aiohttp.ClientSession(
            connector=connector,
            request_class=TellingRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_NO_TIMEOUT,
            trust_env=self._trust_env,
        )
        return self._own

    def _failure(self, error: Exception, sending: Sending) -> MeshRefreshError:
        never = not sending.begun if self._given is None else isinstance(error, _NEVER_SENT)
        if never:
            return NotSent(f"The request was not sent: {_reason(error)}.")
        return OutcomeUnknown(f"The request was sent, but no answer came back: {_reason(error)}.")


def _reason(error: Exception) -> str:
    """What happened, in words without secrets: what aiohttp writes on connecting, else only the error's name."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerDisconnectedError) and "\n" not in str(error):
        return f"{type(error).__name__}, {error}"
    return type(error).__name__


def _unread(content: aiohttp.StreamReader) -> bytes:
    """What has arrived but cannot be read any more, because the connection's error comes first."""
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
        # The deadline. What has come may be the only copy of a new token, so it is handed up and not dropped.
        body += _unread(content)
        complete = content.is_eof()
        if not body:
            raise
    finally:
        # Does nothing to a connection that went back to the pool when its reply ended.
        response.close()
    headers = {name: value for name in _READ_HEADERS if (value := response.headers.get(name)) is not None}
    return HttpReply(response.status, headers, bytes(body), complete)

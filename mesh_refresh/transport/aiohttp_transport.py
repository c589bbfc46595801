"""The transport that ships: which way a request takes, and what an error on it means.

Decided in docs/decisions/a-transport-that-keeps-its-bytes.md.
"""

import asyncio
import logging
import re
import ssl as tls
from collections.abc import Mapping
from typing import Literal

import aiohttp
from attrs import evolve
from yarl import URL

from mesh_refresh.errors import InvalidRequest, MeshRefreshError, NotSent
from mesh_refresh.masking import MaskedDict, MaskedStr, hides_locals
from mesh_refresh.messages import HttpReply, HttpRequest
from mesh_refresh.transport.by_session import post_by, reason_of
from mesh_refresh.transport.direct import NO_TIMEOUT, Direct, Surprise
from mesh_refresh.transport.resolver import SharedResolver
from mesh_refresh.transport.wire import Retired

_log = logging.getLogger("mesh_refresh")

Way = Literal["direct", "session"]

_KNOWN = ("3.14",)
"""The versions of aiohttp on which the direct way was tried."""
_TURNS = 3
_SURPRISES = (Surprise, AttributeError, TypeError, LookupError, AssertionError, NotImplementedError)
"""Errors that connecting raises only with an aiohttp whose insides differ from the known ones."""

_FRAMING = frozenset(
    ("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
     "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "x-client-id", "x-client-secret")
)  # fmt: skip
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


class AiohttpTransport:
    """Sends requests by aiohttp, on a pool of at most `connections`.

    TLS certificates are verified, by `ssl` (an `ssl.SSLContext`) where given. No redirect is followed, and no cookie is
    kept. A proxy is used where `proxy` names one (``http://user:password@host:port``), or where `trust_env` says to
    take that of the environment. `headers` go with every request, for a gateway that needs its own, and replace the
    client's headers of the same name. It has no time-outs: the client ends an exchange at its own deadline.

    There are two ways. `way` tells which one requests take:

    - "direct": the bytes of a reply are kept until the reply is understood. A connection that brought anything else
      than the reply to its request is not used again.
    - "session": requests go by `ClientSession.post`, which keeps fewer promises (see
      docs/decisions/a-transport-that-keeps-its-bytes.md). With an aiohttp that this version does not know, and with a
      `session` of yours, which is used as it is and left open.

    Raises `InvalidRequest` for options that cannot be right.
    """

    @hides_locals
    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connections: int = 100,
        ssl: tls.SSLContext | None = None,
        trust_env: bool = False,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        wrong = _wrong_options(session, connections, ssl, trust_env) or _wrong_headers(headers) or _wrong_proxy(proxy)
        if wrong:
            raise InvalidRequest(wrong)
        self._headers = None if headers is None else MaskedDict(headers)
        self._replaced = frozenset(name.lower() for name in headers or ())
        self._proxy = None if proxy is None else MaskedStr(proxy)
        self._given = session
        self._own: aiohttp.ClientSession | None = None
        self._sessions: list[aiohttp.ClientSession] = []
        self._connections = connections
        self._ssl = ssl
        self._trust_env = trust_env
        self._directs: dict[str, Direct] = {}
        self._retired = Retired(connections)
        self._way: Way | None = None if session is None else "session"

    def __repr__(self) -> str:
        kind = "a session of the caller's" if self._given else f"connections={self._connections}"
        return f"AiohttpTransport({kind})"

    @property
    def way(self) -> Way:
        """Which way requests go out: "direct", or "session" where only aiohttp's own session can be relied on."""
        if self._way is None:
            self._way = "direct"
            if ".".join(aiohttp.__version__.split(".")[:2]) not in _KNOWN:
                self._take_the_session("is not known to this version of mesh_refresh")
        return self._way

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send `request` once. Raises `NotSent` before its first byte, `OutcomeUnknown` after it."""
        if self._headers is not None:
            request = evolve(request, headers=self._with_own(request.headers, self._headers))
        if self._given is not None:
            return await post_by(self._given, request, self._proxy)
        if self.way == "session":
            return await post_by(self._opened(), request, self._proxy)
        failure: MeshRefreshError | None = None
        try:
            direct = self._directs.get(request.url) or await self._direct(request.url)
            conn, wire = await direct.connect()
        except MeshRefreshError:
            raise
        except _SURPRISES as error:
            self._take_the_session(f"is not as it was known ({type(error).__name__})")
        except Exception as error:  # noqa: BLE001 - of any type: not one byte is out
            failure = NotSent(f"The request was not sent: {reason_of(error)}.")
            # Raised out here: aiohttp's errors hold its request, and would come along as the context.
        else:
            return await direct.exchange(conn, wire, request)
        if failure is None:
            return await post_by(self._opened(), request, self._proxy)
        raise failure

    async def aclose(self) -> None:
        """Close the pool; a session of the caller's stays open. Safe to call twice."""
        sessions, self._sessions, self._own = self._sessions, [], None
        self._directs.clear()
        cancelled: asyncio.CancelledError | None = None
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)  # bytes that have arrived are read
        except asyncio.CancelledError as error:
            cancelled = error
        for wire in [*self._retired]:
            wire.close()
        for session in sessions:
            await session.close()
        if cancelled is not None:
            raise cancelled

    def _with_own(self, headers: Mapping[str, str], own: MaskedDict) -> MaskedDict:
        """`headers` with `own`, which take the place of those with the same name in any case."""
        kept = MaskedDict({name: headers[name] for name in headers if name.lower() not in self._replaced})
        return MaskedDict({**kept, **own})

    async def _direct(self, url: str) -> Direct:
        found = await Direct.to(self._opened(), url, proxy=self._proxy, retired=self._retired)
        return self._directs.setdefault(url, found)

    def _opened(self) -> aiohttp.ClientSession:
        if self._own is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections,
                ssl=self._ssl or True,
                # Without aiohttp's DNS cache, a name is looked up in the exchange's task. With it, a helper task does
                # that. Where a shutdown cancels the helper before its first step, every later look-up waits for ever.
                use_dns_cache=False,
                resolver=SharedResolver(),
                force_close=self._way == "session",
            )
            self._own = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=NO_TIMEOUT,
                trust_env=self._trust_env,
            )
            self._sessions.append(self._own)
        return self._own

    def _take_the_session(self, why: str) -> None:
        if self._way != "session":
            self._way = "session"
            self._own = None  # a session of the other way may have requests under way: `aclose` closes both
            _log.warning(
                "aiohttp %s %s: requests go by its session, which is slower and keeps fewer promises; "
                "update mesh_refresh, or install another aiohttp",
                aiohttp.__version__,
                why,
            )


def _wrong_options(session: object, connections: object, ssl: object, trust_env: object) -> str | None:
    """What is wrong with these options, as a sentence; None where nothing is."""
    if session is not None and not isinstance(session, aiohttp.ClientSession):
        return "session takes an aiohttp.ClientSession."
    if ssl is not None and not isinstance(ssl, tls.SSLContext):
        return "ssl takes an ssl.SSLContext: certificates are verified, by the one that you give or by the system's."
    if not isinstance(trust_env, bool):
        return "trust_env must be True or False."
    if session is not None and (ssl is not None or trust_env):
        return "ssl and trust_env are the session's own: give them to the ClientSession."
    if type(connections) is not int or connections < 1:
        return "connections must be a whole number above zero."
    return None


def _wrong_headers(headers: object) -> str | None:
    """What is wrong with `headers`. Quotes no value."""
    if headers is None:
        return None
    if not isinstance(headers, Mapping):
        return "headers takes a mapping of names to values."
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return "headers has a name that no header can have."
        if name.lower() in _FRAMING:
            return f"headers cannot set {name}: it is the client's own."
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            return f"The value for {name} in headers must be ASCII text in one line."
    return None


def _wrong_proxy(proxy: object) -> str | None:
    """What is wrong with `proxy`. Quotes nothing of it."""
    wrong = "proxy takes a URL such as http://proxy.example:3128, as text."
    if proxy is None:
        return None
    try:
        url = URL(proxy) if isinstance(proxy, str) else URL()
        fits = url.scheme in ("http", "https") and bool(url.host) and not url.query_string and not url.fragment
    except ValueError:
        return wrong
    return None if fits else wrong

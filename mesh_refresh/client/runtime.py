"""What the exchanges of one client share: clocks, keys, the transport, and one timer for all deadlines."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from mesh_refresh.client.keys import REFRESH_PATH, ClientSecret
from mesh_refresh.client.secret import current_secret
from mesh_refresh.clock import Clock
from mesh_refresh.masking import MaskedDict, MaskedStr
from mesh_refresh.protocols import Transport
from mesh_refresh.replies.outcomes import Outcome
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.transport import AiohttpTransport
from mesh_refresh.version import VERSION

if TYPE_CHECKING:
    from mesh_refresh.client.exchange import Exchange

Hook = Callable[[Outcome], Awaitable[object] | object]
"""``on_outcome``: takes a `Refreshed`, a `MfaRequired` or an `UnreadableReply` that may hold a token, each of them."""


_USER_AGENT = f"mesh_refresh/{VERSION}"

_LOOKS = 10
"""How often the loop looks for an answer before an exchange is ended: for bytes, TLS, a body in pieces, the task."""


class Deadlines:
    """When each exchange ends at the latest.

    All of them last equally long, so they end in the order in which they began: one timer for the oldest is enough,
    where a timer for each would cost every exchange a tenth of its time.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, length: timedelta, expire: Callable[["Exchange"], None]
    ) -> None:
        self._loop = loop
        self._length = length.total_seconds()
        self._expire = expire
        self._ends: dict[Exchange, float] = {}
        self._own: dict[Exchange, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, exchange: "Exchange", begun: float | None = None) -> None:
        """The clock starts now, or has `begun`: those few have timers of their own, because they end out of order."""
        if begun is not None:
            self._own[exchange] = self._loop.call_at(begun + self._length, self._expire_after, _LOOKS, exchange)
            return
        end = self._loop.time() + self._length
        self._ends[exchange] = end
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._ring)

    def remove(self, exchange: "Exchange") -> None:
        """It is over."""
        self._ends.pop(exchange, None)
        if self._own and (timer := self._own.pop(exchange, None)) is not None:
            timer.cancel()

    def stop(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire_after(self, looks: int, exchange: "Exchange") -> None:
        """Not in this step: an answer that is there already comes first.

        It may wait for its task to run, or in the socket: a process that was stopped for long finds its timers late
        before it finds what has arrived. Each step lets the loop look at its sockets once.
        """
        if looks:
            self._loop.call_soon(self._expire_after, looks - 1, exchange)
        else:
            self._expire(exchange)

    def _ring(self) -> None:
        self._timer, now = None, self._loop.time()
        for exchange in [exchange for exchange, end in self._ends.items() if end <= now]:
            del self._ends[exchange]
            self._expire_after(_LOOKS, exchange)
        oldest = next(iter(self._ends.values()), None)
        if oldest is not None:
            self._timer = self._loop.call_at(oldest, self._ring)


class ClientRuntime:
    """Everything with a side effect that an exchange needs, bound to one event loop."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: ClientSecret,
        base_url: str,
        retry: RetryPolicy,
        transport: Transport,
        on_outcome: Hook | None,
        on_outcome_timeout: timedelta,
        clock: Clock,
        expire: Callable[["Exchange"], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.url = base_url + REFRESH_PATH
        self.retry = retry
        self.last_send = retry.last_send.total_seconds()
        self.transport = transport
        self.own_transport = getattr(type(transport), "send", None) is AiohttpTransport.send
        """Ours ends when its task is ended, and so may run in the exchange's task itself."""
        self.on_outcome = on_outcome
        self.hook_timeout = on_outcome_timeout.total_seconds()
        self.clock = clock
        self.closing = False
        """No further attempts."""
        self.deadlines = Deadlines(self.loop, retry.deadline, expire)
        self._base_url = base_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._secret_in_headers = MaskedStr()
        self._headers: Mapping[str, str] = MappingProxyType(MaskedDict())

    async def secret(self) -> MaskedStr:
        """The client secret in force."""
        secret = self._client_secret
        return secret if isinstance(secret, MaskedStr) else await current_secret(secret, self._base_url)

    def headers(self, secret: str) -> Mapping[str, str]:
        """The headers of one request: the same object as long as the secret is, so that a transport can know them."""
        if secret != self._secret_in_headers:
            self._secret_in_headers = MaskedStr(secret)
            self._headers = MappingProxyType(
                MaskedDict(
                    {
                        "X-Client-Id": self._client_id,
                        "X-Client-Secret": secret,
                        "Content-Type": "application/json",
                        "Accept": "application/json",
                        "User-Agent": _USER_AGENT,
                        # Replies are a kilobyte: inflating one costs more than reading it.
                        "Accept-Encoding": "identity",
                    }
                )
            )
        return self._headers

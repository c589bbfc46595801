"""What the exchanges of one client share: clocks, keys, the transport, and one timer for all deadlines."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

from mesh_refresh.client.keys import REFRESH_PATH, ClientSecret
from mesh_refresh.client.secret import current_secret
from mesh_refresh.clock import Clock
from mesh_refresh.deadlines import Deadlines
from mesh_refresh.masking import MaskedDict, MaskedStr
from mesh_refresh.protocols import Transport
from mesh_refresh.replies.outcomes import Outcome
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.transport import AiohttpTransport
from mesh_refresh.version import VERSION

Hook = Callable[[Outcome], Awaitable[object] | object]
"""``on_outcome``: takes a `Refreshed`, a `MfaRequired` or an `UnreadableReply` that may hold a token, each of them."""


_USER_AGENT = f"mesh_refresh/{VERSION}"


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
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.url = base_url + REFRESH_PATH
        self.retry = retry
        self.last_send = retry.last_send.total_seconds()
        self.transport = transport
        self.own_transport = getattr(type(transport), "send", None) is AiohttpTransport.send
        """Ours ends when its task is ended, and so may run in the exchange's task itself."""
        self.on_outcome = on_outcome
        self.clock = clock
        self.closing = False
        """No further attempts."""
        self.deadlines = Deadlines(self.loop, retry.deadline.total_seconds())
        """Of exchanges."""
        self.hook_timeout = on_outcome_timeout.total_seconds()
        self.hook_deadlines = Deadlines(self.loop, self.hook_timeout)
        """Of calls of `on_outcome`."""
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

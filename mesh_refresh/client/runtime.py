"""What the exchanges of one client share: keys, transport, clocks and deadlines."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from mesh_refresh.client.guarded_clock import guarded
from mesh_refresh.client.keys import (
    PRODUCTION_URL,
    REFRESH_PATH,
    ClientSecret,
    check_secret_fits,
    checked_base_url,
    checked_key,
)
from mesh_refresh.client.options import DEFAULT_HOOK_TIMEOUT, ClientOptions, check_options
from mesh_refresh.client.secret import current_secret
from mesh_refresh.clock import SystemClock
from mesh_refresh.deadlines import Deadlines
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedDict, MaskedStr
from mesh_refresh.observing import CombinedObserver
from mesh_refresh.protocols import Transport
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.transport import AiohttpTransport
from mesh_refresh.version import VERSION

_USER_AGENT = f"mesh_refresh/{VERSION}"


class ClientRuntime:
    """Everything with a side effect that an exchange needs. Made anywhere, and bound to one event loop by `bind`.

    Raises `InvalidRequest` for keys or options that cannot be right.
    """

    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines
    """Of exchanges."""
    hook_deadlines: Deadlines
    """Of calls of `on_outcome`."""

    def __init__(self, client_id: str, client_secret: ClientSecret, options: ClientOptions) -> None:
        if not callable(client_secret):
            client_secret = MaskedStr(checked_key("client secret", client_secret, "a string or a callable"))
        self._client_id = checked_key("client id", client_id)
        self.base_url = checked_base_url(options.get("base_url", PRODUCTION_URL))
        if isinstance(client_secret, MaskedStr):
            check_secret_fits(self.base_url, client_secret)
        check_options(options)
        self.retry = options.get("retry") or RetryPolicy()
        self.transport: Transport = options.get("transport") or AiohttpTransport()
        self.own_transport = getattr(type(self.transport), "send", None) is AiohttpTransport.send
        """Ours ends when its task is ended, and so may run in the exchange's task itself."""
        self.on_outcome = options.get("on_outcome")
        self.hook_timeout = options.get("on_outcome_timeout", DEFAULT_HOOK_TIMEOUT).total_seconds()
        given = options.get("observer")
        self.observer = None if given is None else CombinedObserver(given)
        self.given_clock = options.get("clock") or SystemClock()
        self.clock = guarded(self.given_clock)
        self.url = self.base_url + REFRESH_PATH
        self.last_send = self.retry.last_send.total_seconds()
        self.closing = False
        """No further attempts."""
        self._client_secret = client_secret
        self._secret_in_headers = MaskedStr()
        self._headers: Mapping[str, str] = MappingProxyType(MaskedDict())
        self._is_bound = False

    def bind(self) -> None:
        """Take the event loop that runs. Raises `InvalidRequest` where it is another one than at the first call."""
        loop = asyncio.get_running_loop()
        if not self._is_bound:
            self._is_bound, self.loop = True, loop
            self.deadlines = Deadlines(loop, self.retry.deadline.total_seconds())
            self.hook_deadlines = Deadlines(loop, self.hook_timeout)
        elif loop is not self.loop:
            raise InvalidRequest(
                "This client belongs to another event loop, the one in which it was first used: make one for each loop."
            )

    def stop_timers(self) -> None:
        """The last exchange has ended."""
        if self._is_bound:
            self.deadlines.stop()
            self.hook_deadlines.stop()

    async def secret(self) -> MaskedStr:
        """The client secret in force."""
        secret = self._client_secret
        return secret if isinstance(secret, MaskedStr) else await current_secret(secret, self.base_url)

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

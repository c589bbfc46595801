"""What the exchanges of one client share: keys, transport, clocks and deadlines."""

import asyncio
import inspect
from collections.abc import Awaitable, Mapping
from types import MappingProxyType

from mesh_refresh.client import keys
from mesh_refresh.client.guarded_clock import guarded
from mesh_refresh.client.options import DEFAULT_HOOK_TIMEOUT, ClientOptions, check_options
from mesh_refresh.clock import SystemClock
from mesh_refresh.errors import InvalidRequest, NotSent
from mesh_refresh.masking import MaskedDict, MaskedStr
from mesh_refresh.observing import CombinedObserver
from mesh_refresh.protocols import Transport
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.tasks import Deadlines, run_foreign
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

    def __init__(self, client_id: str, client_secret: keys.ClientSecret, options: ClientOptions) -> None:
        if not callable(client_secret):
            client_secret = MaskedStr(keys.checked_key("client secret", client_secret, "a string or a callable"))
        self._client_id = keys.checked_key("client id", client_id)
        self.base_url = keys.checked_base_url(options.get("base_url", keys.PRODUCTION_URL))
        if isinstance(client_secret, MaskedStr):
            keys.check_secret_fits(self.base_url, client_secret)
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
        self.url = self.base_url + keys.REFRESH_PATH
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
        """The client secret in force, from a callable of the user's where there is one.

        Raises `NotSent` where its callable raises, and `InvalidRequest` where that returns what cannot be a key.
        """
        secret = self._client_secret
        if isinstance(secret, MaskedStr):
            return secret
        value: object
        try:
            # A coroutine function can be started anew if a shutdown cancels it; another callable has run already.
            value = await run_foreign(secret) if inspect.iscoroutinefunction(secret) else secret()
            if inspect.isawaitable(value):
                awaitable: Awaitable[object] = value
                value = await run_foreign(lambda: awaitable, again=False)
        except Exception as error:  # noqa: BLE001 - a callable of the user's may raise anything
            failure = NotSent(f"The client secret could not be had: its callable raised {type(error).__name__}.")
            failure.__cause__ = error
        else:
            key = MaskedStr(keys.checked_key("client secret", MaskedStr(value) if isinstance(value, str) else value))
            keys.check_secret_fits(self.base_url, key)
            return key
        raise failure

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

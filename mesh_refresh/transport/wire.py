"""The asyncio protocol of a connection, in place of aiohttp's.

A connection serves one exchange at a time. Bytes that come while it serves none belong to the exchange that it served
last: the connection leaves aiohttp's pool, is read for a while, and the bytes are handed to that exchange.
"""

import asyncio
import logging
import select
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from attrs import define, field

from mesh_refresh.codec import BODY_LIMIT
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.messages import HttpReply
from mesh_refresh.transport.incoming import Incoming

_log = logging.getLogger("mesh_refresh")

LINGER = 5.0
"""For how many seconds a connection that is not used again is read on, for a reply that comes late."""
UNANSWERED = 60.0
"""The same for a connection whose request has no reply yet at its deadline, or when its caller gives it up."""
HAND_OVER = 1.0
"""Seconds of silence after which late bytes are handed over."""

BELONGS = 30.0
"""For how many seconds after a reply bytes on the idle connection go to its exchange, which is kept for that."""

_MOST_LINGERING = 100
"""How many retired connections are read on at the most, of those that have brought their reply."""
_MOST_UNANSWERED = 500
"""The same of those that owe a reply, which may be the only copy of a token. Or as many as the pool has, if more."""

Late = Callable[[HttpReply], None]
"""Takes a late reply, or bytes that came behind a reply."""


class Retired(dict["WireProtocol", None]):
    """Connections that have left aiohttp's pool and are read on for a while, the oldest first."""

    def __init__(self, connections: int = 0) -> None:
        super().__init__()
        self._most_unanswered = max(connections, _MOST_UNANSWERED)

    def take_in(self, wire: "WireProtocol") -> None:
        """Add `wire`, and close the oldest of its kind where there are too many of that kind.

        The two kinds are connections that owe a reply and those that do not.
        """
        self[wire] = None
        alike = [other for other in self if other.is_owing == wire.is_owing]
        if len(alike) > (self._most_unanswered if wire.is_owing else _MOST_LINGERING):
            alike[0].close()


@define(eq=False, repr=False, weakref_slot=False)
class WireProtocol(asyncio.Protocol):
    """Sends the bytes of a request, and brings back the reply to it and nothing else."""

    _transport: asyncio.Transport
    _pool: asyncio.Protocol
    """aiohttp's protocol of the connection, by which the pool knows it. It is told of the connection's end."""
    _retired: Retired
    is_lost: bool = False
    """Whether nothing more can come or go."""
    _has_served: bool = False
    _incoming: Incoming | None = None
    _waiter: "asyncio.Future[None] | None" = None
    _late: Late | None = None
    _stray: Incoming | None = None
    _timer: asyncio.TimerHandle | None = None
    """Closes a connection that has left the pool."""
    _looking: asyncio.TimerHandle | None = None
    """Looks again at a reply that may be whole."""
    _ended: str | None = None
    _served_at: float = 0.0
    _forgetting: asyncio.TimerHandle | None = None
    """Lets go of the exchange served last. One timer for many exchanges: it starts anew after a newer one."""
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)
    _poll: Callable[[], Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._poll = _poll_for(self._transport)
        self._transport.set_protocol(self)

    # One exchange.

    def is_silent(self) -> bool:
        """Whether no byte has come, not even into the kernel: then the next bytes can only answer the next request.

        A new TLS connection may have session tickets to read: those are no bytes of a reply.
        """
        if self.is_lost or self in self._retired or self._transport.is_closing():
            return False
        if not self._has_served and self._transport.get_extra_info("sslcontext") is not None:
            return True
        return not self._poll()

    def send(self, data: bytes, incoming: Incoming, late: Late) -> None:
        """Write the request in one piece. `incoming` reads the reply, and `late` takes bytes behind that."""
        self._incoming, self._late = incoming, late
        self._waiter = self._loop.create_future()
        self._has_served, self._ended = True, None
        self._transport.write(data)

    @property
    def has_begun(self) -> bool:
        """Whether any byte of the reply has come."""
        return self._incoming is not None and self._incoming.size > 0

    @property
    def is_owing(self) -> bool:
        """Whether a request went out on it whose reply was not taken."""
        return self._incoming is not None

    async def wait(self) -> None:
        """Wait until the reply is there, or its connection has ended."""
        if self._waiter is not None:
            await self._waiter

    def take(self, ended: str | None = None) -> tuple[HttpReply | None, str, bool]:
        """End the exchange. Gives the reply, why no more comes, and whether the connection may be used again.

        Without any byte, the reply is None.
        """
        incoming, self._incoming, self._waiter = self._incoming, None, None
        self._stop_timer()
        self._served_at = self._loop.time()
        if self._forgetting is None and not self.is_lost:
            self._forgetting = self._loop.call_later(BELONGS, self._forget, context=Context())
        why = ended or self._ended or "its connection was closed"
        if incoming is not None:
            incoming.forget_parser()
        if incoming is None or not incoming.size:
            return None, why, False
        return incoming.reply(ended or self._ended), why, incoming.reusable and not self.is_lost

    def give_up(self) -> None:
        """The exchange has ended without a byte of the reply: read on, and hand the reply over when it comes."""
        self._waiter = None
        self._retire(UNANSWERED)

    # What comes in.

    def data_received(self, data: bytes) -> None:
        """Take bytes of the reply under way, or stray bytes."""
        incoming = self._incoming
        if incoming is None:
            self._take_stray(data)
            return
        incoming.feed(data)
        self._look(0.0)

    def _look(self, silent: float) -> None:
        """Wake the exchange where the reply is whole, or look again later. `silent`: seconds without a byte so far."""
        if self._looking is not None:
            self._stop_looking()
        if self._incoming is None:
            return
        wait = self._incoming.next_wait(silent)
        if wait == 0.0:
            self._wake()
        elif wait is not None:
            self._looking = self._loop.call_later(wait, self._look, silent + wait)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, in order or not."""
        has_left = self.is_lost or self in self._retired
        self.is_lost = True
        self._ended = None if exc is None else f"its connection was lost ({type(exc).__name__})"
        if self._waiter is None:
            self._stop_timer()
            self._hand_over()
        self._wake()
        if not has_left:
            self._pool.connection_lost(exc)
        self._retired.pop(self, None)

    def _wake(self) -> None:
        if self._waiter is None:
            self.close()  # no exchange waits for it
        elif not self._waiter.done():
            self._waiter.set_result(None)

    # After the last exchange.

    def retire(self) -> None:
        """Leave aiohttp's pool. Bytes that come within `LINGER` seconds are handed over."""
        self._retire(LINGER)

    def _retire(self, seconds: float) -> None:
        if self.is_lost or self in self._retired:
            return
        self._retired.take_in(self)
        self._pool.connection_lost(None)
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self.close)

    def close(self) -> None:
        """Hand over the bytes that came, and close the connection."""
        self._stop_timer()
        self._hand_over()
        self._retired.pop(self, None)
        self.is_lost = True
        self._transport.abort()

    def _forget(self) -> None:
        """Let go of the exchange served last, and of its tokens, unless its time is not over."""
        left = self._served_at + BELONGS - self._loop.time()
        self._forgetting = None
        if not self.is_lost and (self._incoming is not None or left > 0):
            self._forgetting = self._loop.call_later(max(left, BELONGS / 30), self._forget, context=Context())
        elif self not in self._retired:
            self._late = None

    def _take_stray(self, data: bytes) -> None:
        if self._stray is None:
            self._stray = Incoming()
        self._stray.feed(data)
        self.retire()
        if self._stray.size > BODY_LIMIT:
            self.close()
        elif not self.is_lost:
            if self._stray.next_wait(0.0) == 0.0:  # a whole reply: its exchange needs it as soon as possible
                self._hand_over_stray()
            self._stop_timer()
            self._timer = self._loop.call_later(HAND_OVER, self.close)

    def _hand_over(self) -> None:
        """Hand the bytes that came to the exchange that they belong to. The connection is over."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        incoming, self._incoming = self._incoming, None
        if incoming is not None and self._late is not None:
            incoming.forget_parser()
            if incoming.size:
                _log.warning("a reply came after its request was given up")
                self._late(incoming.reply(self._ended))
        else:
            self._hand_over_stray()
        self._late = None

    def _hand_over_stray(self) -> None:
        """Hand over the bytes that came behind the reply. Further bytes are handed over apart from these."""
        stray, self._stray = self._stray, None
        if stray is None:
            return
        stray.forget_parser()
        came = MaskedBytes(stray.raw.strip())
        if came:
            _log.error("%d bytes came on a connection behind its reply; it is not used again", len(came))
            if self._late is not None:
                self._late(HttpReply.behind(came))

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _stop_timer(self) -> None:
        self._stop_looking()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _poll_for(transport: asyncio.BaseTransport) -> Callable[[], Any]:
    """A function that tells whether a connection has bytes to read, or its end. A call takes half a microsecond."""
    fd = transport.get_extra_info("socket").fileno()
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([fd], [], [], 0)[0]
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return partial(poll.poll, 0)

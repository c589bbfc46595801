"""Our protocol on a connection of aiohttp's, for as long as that lives.

A connection serves one exchange at a time. What it brings while it serves none belongs to the exchange that it served
last: it leaves aiohttp's pool, is read for a while, and what came is handed to that exchange.
"""

import asyncio
import logging
import select
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from mesh_refresh.codec import BODY_LIMIT
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.messages import HttpReply
from mesh_refresh.transport.incoming import Incoming

_log = logging.getLogger("mesh_refresh")

LINGER = 5.0
"""How many seconds a connection that is not used again is read on, for a reply that comes late."""
UNANSWERED = 60.0
"""The same for a connection whose request has no reply yet when its deadline passes, or its caller gives it up."""
HAND_OVER = 1.0
"""Seconds of silence after which what came late is handed over."""

BELONGS = 30.0
"""Seconds after a reply for which what comes on an idle connection goes to its exchange, which is kept for that."""

_MOST_LINGERING = 100
"""How many connections linger at the most, of those that have brought their reply."""
_MOST_UNANSWERED = 500
"""How many are waited on, of those that owe one: for these the reply may bring the only copy of a token."""

Late = Callable[[HttpReply], None]
"""Takes what came too late, or behind a reply."""


class Retired(dict["WireProtocol", None]):
    """Connections that have left aiohttp's pool and are read on for a while, the oldest first."""

    def __init__(self, connections: int = 0) -> None:
        super().__init__()
        self._most_unanswered = max(connections, _MOST_UNANSWERED)

    def take_in(self, wire: "WireProtocol") -> None:
        """Count one in. The oldest of its kind makes room: one that owes a reply goes for no other kind's sake."""
        self[wire] = None
        alike = [other for other in self if other.is_owing == wire.is_owing]
        if len(alike) > (self._most_unanswered if wire.is_owing else _MOST_LINGERING):
            alike[0].close()


class WireProtocol(asyncio.Protocol):
    """Sends the bytes of a request, and brings back the reply to it and nothing else."""

    __slots__ = (
        "_ended",
        "_forgetting",
        "_has_served",
        "_incoming",
        "_late",
        "_looking",
        "_loop",
        "_poll",
        "_pool",
        "_retired",
        "_served_at",
        "_stray",
        "_timer",
        "_transport",
        "_waiter",
        "is_lost",
    )

    def __init__(self, transport: asyncio.Transport, pool: asyncio.Protocol, retired: Retired) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._pool = pool
        """aiohttp's protocol, by which its pool knows the connection. It must learn of the end."""
        self._retired = retired
        self._poll = _poll_for(transport)
        self.is_lost = False
        """Whether nothing more can come or go."""
        self._has_served = False
        self._incoming: Incoming | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._late: Late | None = None
        self._stray: Incoming | None = None
        self._timer: asyncio.TimerHandle | None = None
        """For a connection that has left the pool: its end."""
        self._looking: asyncio.TimerHandle | None = None
        """For a reply that may be whole: the next look at it."""
        self._ended: str | None = None
        self._served_at = 0.0
        self._forgetting: asyncio.TimerHandle | None = None
        """One for many exchanges: it comes again where the connection has served another one meanwhile."""
        transport.set_protocol(self)

    # One exchange.

    def is_silent(self) -> bool:
        """Whether nothing has come, in the kernel neither, so that what comes next can only answer the next request.

        A TLS connection that is new may have session tickets to read: those are no bytes of a reply.
        """
        if self.is_lost or self in self._retired or self._transport.is_closing():
            return False
        if not self._has_served and self._transport.get_extra_info("sslcontext") is not None:
            return True
        return not self._poll()

    def send(self, data: bytes, incoming: Incoming, late: Late) -> None:
        """Write the request in one piece; `incoming` reads the reply, `late` gets what comes behind that."""
        self._incoming, self._late = incoming, late
        self._waiter = self._loop.create_future()
        self._has_served, self._ended = True, None
        self._transport.write(data)

    @property
    def has_begun(self) -> bool:
        """Whether anything of the reply has come."""
        return self._incoming is not None and self._incoming.size > 0

    @property
    def is_owing(self) -> bool:
        """Whether a request went out on it whose reply is not taken yet."""
        return self._incoming is not None

    async def wait(self) -> None:
        """Until the reply is there, or no more of it will come."""
        if self._waiter is not None:
            await self._waiter

    def take(self, ended: str | None = None) -> tuple[HttpReply | None, str, bool]:
        """End the exchange: the reply, or None where no byte came; why no more comes; whether to use it again."""
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
        """The exchange has ended, and nothing of the reply has come: it is read on for, and handed over late."""
        self._waiter = None
        self._retire(UNANSWERED)

    # What comes in.

    def data_received(self, data: bytes) -> None:
        """Of the exchange under way, or stray."""
        incoming = self._incoming
        if incoming is None:
            self._take_stray(data)
            return
        incoming.feed(data)
        self._look(0.0)

    def _look(self, silent: float) -> None:
        """Is that all? After `silent` seconds without a byte."""
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
        """The end of it, in order or not."""
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
            self.close()  # nobody waits for it any more
        elif not self._waiter.done():
            self._waiter.set_result(None)

    # After the last exchange.

    def retire(self) -> None:
        """Leave aiohttp's pool. What still comes is read for some seconds, and handed over."""
        self._retire(LINGER)

    def _retire(self, seconds: float) -> None:
        if self.is_lost or self in self._retired:
            return
        self._retired.take_in(self)
        self._pool.connection_lost(None)
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self.close)

    def close(self) -> None:
        """Hand over what came, and close."""
        self._stop_timer()
        self._hand_over()
        self._retired.pop(self, None)
        self.is_lost = True
        self._transport.abort()

    def _forget(self) -> None:
        """Let go of the exchange that was served last, and of its tokens."""
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
            if self._stray.next_wait(0.0) == 0.0:  # a whole reply: the sooner it is known, the fewer come to harm
                self._hand_over_stray()
            self._stop_timer()
            self._timer = self._loop.call_later(HAND_OVER, self.close)

    def _hand_over(self) -> None:
        """What came to whom it belongs to. The connection is over."""
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
        """What came behind the reply. More may come: that is handed over by itself."""
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
    """A look whether there is anything to read from a connection, its end included. It takes half a microsecond."""
    fd = transport.get_extra_info("socket").fileno()
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([fd], [], [], 0)[0]
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return partial(poll.poll, 0)

"""What supervises a process sees of it: probes over HTTP, and what systemd is told."""

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from typing import Self

from mesh_refresh.keeper import Keeper
from mesh_refresh.observing import Observer
from mesh_refresh.service.access.tickets import TICKET_PATH
from mesh_refresh.service.systemd import Systemd
from mesh_refresh.service.web.addresses import TcpAddress
from mesh_refresh.service.web.guard import Guard
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes

_log = logging.getLogger("mesh_refresh.service")

_EVERY = 5.0
"""Seconds between two signs of life, or half of what systemd's watchdog wants."""
_EXTENSION = "EXTEND_TIMEOUT_USEC=30000000"
"""Start and end may take 30 seconds more, from each time that this is told."""


class Supervision:
    """An async context manager, entered before the store is opened and left after it is closed."""

    def __init__(
        self,
        probes: Probes,
        listening: Listening | None = None,
        systemd: Systemd | None = None,
        drain_delay: float = 0.0,
        *,
        observer: Observer | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._probes, self._listening, self._systemd = probes, listening, systemd
        self._drain_delay, self._guard = drain_delay, guard
        self.observer = observer
        """Told what the keeper does, for metrics."""
        self._stack = AsyncExitStack()
        self._beating: asyncio.Task[None] | None = None
        self._hurried: asyncio.Event | None = None
        """While `linger` waits."""

    async def __aenter__(self) -> Self:
        if self._listening is not None:
            await self._stack.enter_async_context(self._listening)
        if self._systemd is not None:
            self._beating = asyncio.create_task(self._beat(self._systemd), name="mesh_refresh systemd")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._beating is not None:
            self._beating.cancel()
        await self._stack.aclose()

    def begin(self, stage: str) -> None:
        """A stage of the start begins; `stage` says which, in words."""
        self._probes.stage = stage
        self._tell(f"STATUS={stage}")

    def work(self, keeper: Keeper | None = None) -> None:
        """The start is over: `keeper` works; None: other processes have keepers that work."""
        self._probes.keeper = keeper
        self._tell("READY=1", "STATUS=working")

    def end(self) -> None:
        """The process is ending. Safe to repeat."""
        if not self._probes.is_ending:
            self._probes.is_ending = True
            self._tell("STOPPING=1", "STATUS=ending", _EXTENSION)

    async def linger(self) -> None:
        """Say for `drain_delay` seconds, or until `hurry`, that no more calls may be sent here: senders must notice."""
        self.end()
        if not self._drain_delay:
            return
        _log.info("the process is not ready any more, and goes on for a moment", extra={"seconds": self._drain_delay})
        self._hurried = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_delay):
                await self._hurried.wait()
        self._hurried = None

    async def stop_calls(self) -> None:
        """End the calls of the service: see `Guard.stop`. Done before the keeper is left, which they need."""
        self.end()
        if self._guard is not None:
            await self._guard.stop()

    def issue_ticket(self, now: float) -> str | None:
        """Where the page is open once, at `now` of a clock that never goes back; None: there is no page."""
        if self._guard is None or self._listening is None:
            return None
        ticket = self._guard.doors.tickets.issue(now)
        address = next((it for it in self._listening.addresses if isinstance(it, TcpAddress)), None)
        scheme = "https" if self._guard.doors.exposure.has_tls else "http"
        return None if address is None else f"{scheme}://{address}{TICKET_PATH}/{ticket}"

    def hurry(self) -> bool:
        """End `linger`. Returns False where nothing lingers."""
        if self._hurried is None:
            return False
        self._hurried.set()
        return True

    async def _beat(self, systemd: Systemd) -> None:
        """Sent by the event loop, so that systemd's watchdog finds one that is blocked."""
        while True:
            if self._probes.alive:
                systemd.tell("WATCHDOG=1")
            if not self._probes.has_started or self._probes.is_ending:
                systemd.tell(_EXTENSION)
            await asyncio.sleep(min(_EVERY, (systemd.watchdog or 2 * _EVERY) / 2))

    def _tell(self, *lines: str) -> None:
        if self._systemd is not None:
            self._systemd.tell(*lines)

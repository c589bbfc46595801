"""Calls `on_event` from a bounded queue, in a task of its own: the handler may call the keeper, and may fail."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

from attrs import asdict

from mesh_refresh.keeper.events import AccountUnreadable, BreakerClosed, BreakerOpened, Event, ReconnectRequired
from mesh_refresh.tasks import call_hook

_log = logging.getLogger("mesh_refresh.keeper")

Handler = Callable[[Event], Awaitable[object] | object]


class EventQueue:
    """Calls one handler with each event, in order. Without a handler, events are logged only."""

    def __init__(self, handler: Handler | None, size: int) -> None:
        self._handler = handler
        self._queue: deque[Event] = deque()
        self._size = size
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.dropped = 0
        """Events that were dropped because the handler is too slow."""

    def start(self) -> None:
        """Start the task that calls the handler."""
        if self._handler is not None:
            self._task = asyncio.get_running_loop().create_task(self._serve(self._handler), name="mesh_refresh events")

    def tell(self, events: Iterable[Event]) -> None:
        """Log `events` and put them into the queue. The oldest event is dropped where it is full."""
        for event in events:
            level = _level(event)
            if isinstance(event, BreakerClosed | BreakerOpened) or _log.isEnabledFor(level):
                _log.log(level, "%s", _sentence(event), extra={"event": type(event).__name__, **_facts(event)})
            if self._handler is None:
                continue
            if len(self._queue) >= self._size:
                self._queue.popleft()
                self.dropped += 1
                _log.warning("an event was dropped: the handler is too slow", extra={"dropped": self.dropped})
            self._queue.append(event)
            self._idle.clear()
            self._more.set()

    async def finish(self, within: timedelta) -> None:
        """Handle what is in the queue, for at most `within`, and end the task."""
        if self._task is None:
            return
        try:
            if not self._task.done():
                await asyncio.wait_for(self._idle.wait(), within.total_seconds())
        except TimeoutError:
            _log.warning("the handler of events does not return", extra={"left": len(self._queue)})
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self, handler: Handler) -> None:
        while True:
            while self._queue:
                await _told(handler, self._queue.popleft())
            self._idle.set()
            self._more.clear()
            await self._more.wait()


async def _told(handler: Handler, event: Event) -> None:
    try:
        told = call_hook(handler, event)
        while inspect.isawaitable(told):
            told = await told
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # The handler was not cancelled: something that it awaited was.
        _log.warning("the handler of events was cancelled from within", extra={"event": type(event).__name__})
    except Exception:  # noqa: BLE001 - a handler may raise anything
        # With the traceback, which is the handler's own: an event holds no secret.
        _log.exception("the handler of events raised", extra={"event": type(event).__name__})


def _level(event: Event) -> int:
    if isinstance(event, AccountUnreadable):
        return logging.ERROR  # the only live token may be in the kept body, and only a person can bring it out
    return logging.WARNING if isinstance(event, BreakerOpened | ReconnectRequired) else logging.INFO


def _sentence(event: Event) -> str:
    if isinstance(event, BreakerOpened):
        return f"exchanges of {event.broker or 'all brokers'} are held back: {event.fault}"
    if isinstance(event, BreakerClosed):
        return f"exchanges of {event.broker or 'all brokers'} go on"
    return f"{type(event).__name__} of login {getattr(event, 'login_id', '')}"


def _facts(event: Event) -> dict[str, object]:
    facts = asdict(event)
    # The broker's text may hold anything, so it stays out of the logs.
    facts.pop("display_message", None)
    return facts

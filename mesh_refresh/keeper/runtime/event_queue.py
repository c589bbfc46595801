"""Events go to their handler from a bounded queue, by a task of its own: it may call the keeper, and may fail."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

from attrs import asdict

from mesh_refresh.keeper.events import AccountUnreadable, BreakerClosed, BreakerOpened, Event, ReconnectRequired

_log = logging.getLogger("mesh_refresh.keeper")

Handler = Callable[[Event], Awaitable[object] | object]


class EventQueue:
    """Tells one handler after the other event, in order. Without a handler, events are only logged."""

    def __init__(self, handler: Handler | None, size: int) -> None:
        self._handler = handler
        self._queue: deque[Event] = deque()
        self._size = size
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.dropped = 0
        """How many were lost because the handler is too slow."""

    def start(self) -> None:
        """Begin to serve."""
        if self._handler is not None:
            self._task = asyncio.get_running_loop().create_task(self._serve(self._handler), name="mesh_refresh events")

    def tell(self, events: Iterable[Event]) -> None:
        """Put them into the queue."""
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
        """Serve what is in the queue, for at most so long, and end."""
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
        told = handler(event)
        if inspect.isawaitable(told):
            await told
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Something that the handler awaited was cancelled, and not the handler.
        _log.warning("the handler of events was cancelled from within", extra={"event": type(event).__name__})
    except Exception:  # noqa: BLE001 - a handler may raise anything
        # With its traceback: it is the handler's own, and there is no secret in an event.
        _log.exception("the handler of events raised", extra={"event": type(event).__name__})


def _level(event: Event) -> int:
    if isinstance(event, AccountUnreadable):
        return logging.ERROR  # the only live token may be in what is kept, and only a person can get it out
    return logging.WARNING if isinstance(event, BreakerOpened | ReconnectRequired) else logging.INFO


def _sentence(event: Event) -> str:
    if isinstance(event, BreakerOpened):
        return f"exchanges of {event.broker or 'all brokers'} are held back: {event.fault}"
    if isinstance(event, BreakerClosed):
        return f"exchanges of {event.broker or 'all brokers'} go on"
    return f"{type(event).__name__} of login {getattr(event, 'login_id', '')}"


def _facts(event: Event) -> dict[str, object]:
    facts = asdict(event)
    # A server may write anything into what is meant for the person; logs get what we know ourselves.
    facts.pop("display_message", None)
    return facts

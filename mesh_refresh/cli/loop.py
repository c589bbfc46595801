"""An event loop that Ctrl-C and SIGTERM leave in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")


class Loop:
    """Runs one coroutine after the other in the same loop; in between, a person can be asked something.

    The first Ctrl-C or SIGTERM raises `KeyboardInterrupt`, in `run` after its coroutine was cancelled. Further ones,
    and any after `closing`, only call `on_impatience`: nothing breaks off what must be finished.
    """

    def __init__(self, on_impatience: Callable[[], object] = lambda: None) -> None:
        self.received: signal.Signals | None = None
        """The first signal that came."""
        self._closing = False
        self._on_impatience = on_impatience
        self._runner = asyncio.Runner()
        self._task: asyncio.Task[Any] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._runner.__enter__()
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell may have started us in the background, where Ctrl-C is not for us.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._runner.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def closing(self) -> None:
        """From here on, no signal ends anything."""
        self._closing = True

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """What `coroutine` returns. Raises `KeyboardInterrupt` where a signal came."""

        async def main() -> _T:
            self._task = asyncio.current_task()
            try:
                return await coroutine
            finally:
                self._task = None

        before = self.received
        try:
            result = self._runner.run(main())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        if self.received is not before and not self._closing:
            raise KeyboardInterrupt  # it came when there was nothing left to cancel
        return result

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Through the loop, as asyncio does it for Ctrl-C: it may be asleep, or in the middle of something.
        loop, task = self._runner.get_loop(), self._task
        if self.received is not None or self._closing:
            loop.call_soon_threadsafe(self._on_impatience)
            return
        self.received = signal.Signals(number)
        if task is None:
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(task.cancel)

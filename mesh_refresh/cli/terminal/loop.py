"""An event loop that stops in order at every signal that asks the process to end."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Self, TypeVar

from mesh_refresh.cli.terminal.exit_codes import Exit

_T = TypeVar("_T")

_NO_REQUESTS = frozenset(
    {
        *("SIGKILL", "SIGSTOP"),  # no program sees these
        *("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGEMT"),  # a crash
        *("SIGCHLD", "SIGCONT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH", "SIGINFO"),  # end nothing
    }
)
"""Signals that do not ask a program to end, by signal(7)."""
_REPLACED = frozenset({"SIGINT", "SIGTERM", "SIGHUP"})
"""Signals that are handled here, also where Python or a program handled them before."""
_EXITS = {"SIGINT": Exit.INTERRUPTED, "SIGHUP": Exit.HUNG_UP}


class Loop:
    """Runs one coroutine after the other in the same event loop. In between, a command can ask a person something.

    The first signal that asks the process to end raises `KeyboardInterrupt`; inside `run`, after the coroutine was
    cancelled. Such signals are Ctrl-C, SIGTERM, SIGHUP, and every other that would kill the process, as SIGQUIT. A
    signal that was ignored at the start stays ignored. Further signals, and all after `closing`, only call
    `on_impatience`: they do not interrupt what must be finished.
    """

    def __init__(self, on_impatience: Callable[[], object] = lambda: None) -> None:
        self.received: signal.Signals | None = None
        """The first signal that arrived."""
        self._closing = False
        self._on_impatience = on_impatience
        self._runner = asyncio.Runner()
        self._is_running = False
        self._task: asyncio.Task[Any] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._runner.__enter__()
        for number in signal.valid_signals():
            if _asks_for_an_end(number):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._runner.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> Exit:
        """The exit code for the signal that arrived, else for Ctrl-C."""
        return Exit.INTERRUPTED if self.received is None else _EXITS.get(self.received.name, Exit.TERMINATED)

    def closing(self) -> None:
        """Let no further signal interrupt `run`."""
        self._closing = True

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run `coroutine`, and return its result. Raises `KeyboardInterrupt` if a signal arrived."""
        before = self.received

        async def main() -> _T:
            self._task = asyncio.current_task()
            try:
                if self._was_interrupted_since(before):
                    coroutine.close()
                    raise asyncio.CancelledError
                return await coroutine
            finally:
                self._task = None

        self._is_running = True
        try:
            result = self._runner.run(main())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self._is_running = False
        if self._was_interrupted_since(before):
            raise KeyboardInterrupt  # the signal arrived when nothing was left to cancel
        return result

    def _was_interrupted_since(self, before: signal.Signals | None) -> bool:
        return self.received is not before and not self._closing

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Through the loop, as asyncio does for Ctrl-C: the loop may be asleep, or in the middle of a step.
        loop, task = self._runner.get_loop(), self._task
        if self.received is not None or self._closing:
            loop.call_soon_threadsafe(self._on_impatience)
            return
        self.received = _named(number)
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)
        elif not self._is_running:
            raise KeyboardInterrupt
        # Else the loop is starting or stopping, where an exception could end any task: `run` raises it.


def _asks_for_an_end(number: int) -> bool:
    """Whether this signal asks the process to end, and is not ignored."""
    name, handler = _named(number).name, signal.getsignal(number)
    if name in _REPLACED:
        # A shell starts background processes with Ctrl-C ignored; `nohup` ignores SIGHUP.
        return handler is not signal.SIG_IGN
    return name not in _NO_REQUESTS and handler is signal.SIG_DFL


def _named(number: int) -> signal.Signals:
    """The signal; SIGTERM for a real-time signal, most of which have no name."""
    try:
        return signal.Signals(number)
    except ValueError:
        return signal.SIGTERM

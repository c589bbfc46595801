"""A call of a verb: one thread waits for what a task of the event loop brings."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from mesh_refresh.tasks import hooks_in_threads

_T = TypeVar("_T")


class Call(Generic[_T]):
    """Work for the loop, and the thread that waits for it.

    The loop alone calls `begin` and `leave`, in this order, so they need no lock of their own.
    """

    __slots__ = ("_ended", "_is_ended", "_is_left", "_on_untaken", "_task", "_work", "context")

    def __init__(
        self, work: Coroutine[Any, Any, _T], on_untaken: Callable[[_T | BaseException], object] | None = None
    ) -> None:
        self._work = work
        self._on_untaken = on_untaken
        self._ended = threading.Lock()
        self._ended.acquire()
        self._is_ended = False
        self._is_left = False
        self._task: asyncio.Task[_T] | None = None
        self.context = copy_context()
        """The context variables of the caller: the work and its hooks see them."""
        self.context.run(hooks_in_threads.set, True)  # noqa: FBT003 - its value

    def begin(self) -> None:
        """Start the work."""
        self._task = asyncio.get_running_loop().create_task(self._work, name="mesh_refresh call")
        self._task.add_done_callback(self._end)

    def leave(self) -> None:
        """The thread waits no more, as after Ctrl-C. The work is cancelled; what must not be abandoned refuses that."""
        self._is_left = True
        if self._task is None:
            self._work.close()
        elif self._task.done():
            self._hand_back(self._task)
        else:
            self._task.cancel()

    def end(self) -> None:
        """Let the thread go on, with the result or, where there is none, with `asyncio.CancelledError`."""
        if not self._is_ended:
            self._is_ended = True
            self._ended.release()

    def wait(self) -> None:
        """Wait for the end. Raises what interrupts this thread; it may wait again then."""
        while not self._is_ended:
            self._ended.acquire()

    def result(self) -> _T:
        """What the work gave. Raises what it raised."""
        if self._task is None or not self._task.done():
            raise asyncio.CancelledError
        return self._task.result()

    def _end(self, task: "asyncio.Task[_T]") -> None:
        if self._is_left:
            self._hand_back(task)
        self.end()

    def _hand_back(self, task: "asyncio.Task[_T]") -> None:
        if not task.cancelled():
            error = task.exception()
            if self._on_untaken is not None:
                self._on_untaken(error or task.result())

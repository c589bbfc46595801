"""Threads for what must not block the event loop: ordinary functions of the user's, look-ups of names, files."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SPARE = 4


class LastingThreads(ThreadPoolExecutor):
    """Runs each call in a daemon thread of its own, up to the last moment of the process.

    `ThreadPoolExecutor` takes no work any more when the main thread has ended, and Python 3.12 starts no thread then.
    New tokens may have to be written at that time. So calls for which no thread can be started go to spare threads.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        for _ in range(_SPARE):
            _start(self._serve)

    def submit(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """See `concurrent.futures.Executor`."""
        future: Future[_T] = Future()
        job = partial(_do, future, partial(call, *args, **kwargs))
        try:
            _start(job)
        except RuntimeError:
            self._waiting.put(job)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Let the spare threads end."""
        for _ in range(_SPARE):
            self._waiting.put(None)

    def _serve(self) -> None:
        while (job := self._waiting.get()) is not None:
            job()


def _start(work: Callable[[], object]) -> None:
    threading.Thread(target=work, name="mesh_refresh call", daemon=True).start()


def _do(future: "Future[Any]", call: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - goes to who waits for the future
            future.set_exception(error)

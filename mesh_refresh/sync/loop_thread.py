"""The event loop of this process: one, in a daemon thread, from the first use to the end of the process."""

import asyncio
import atexit
import logging
import os
import signal
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.sync.calls import Call
from mesh_refresh.sync.threads import LastingThreads

_T = TypeVar("_T")

_PAUSE = 1.0
"""Seconds for which a fork waits for the loop. A callback of ours ends in milliseconds."""
_CLEANING_UP = 5.0
"""Seconds for tasks that are cancelled at the end of the process."""

_log = logging.getLogger("mesh_refresh")


class LoopThread:
    """An event loop, the thread that runs it, and the thread that ends it.

    Python waits for threads that are no daemons when the main thread has ended, and runs `atexit` after that. The
    ending thread is one of them. It waits for all others, closes what is open, and then lets the process end. At that
    time `concurrent.futures` takes no work and Python 3.12 starts no thread: see `LastingThreads`. Ctrl-C may end
    Python's waiting before it has marked the main thread as ended; `atexit` does the ending thread's work then.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.open: dict[object, Callable[[], Coroutine[Any, Any, None]]] = {}
        """What is open, and how it is closed."""
        self.is_over = False
        self._is_closing = False
        self._ended = threading.Event()  # `Thread.join` may take a thread for ended that Ctrl-C did not let it wait for
        self._calls: set[Call[Any]] = set()
        self._go_on = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mesh_refresh loop", daemon=True)
        self._ending = threading.Thread(target=self._end_last, name="mesh_refresh end", daemon=False)
        try:
            self._loop.set_default_executor(LastingThreads())
            self._thread.start()
            self._ending.start()
        except RuntimeError as error:
            raise InvalidRequest(f"No thread can be started, because this process is ending ({error}).") from None
        # `atexit` calls first what was registered last: a store's own end, which is a finalizer, must come after ours.
        weakref.finalize(self, int)
        atexit.register(self._wait_for_end)

    # Calls, from any other thread.

    def run(
        self, work: Coroutine[Any, Any, _T], on_untaken: Callable[[_T | BaseException], object] | None = None
    ) -> _T:
        """What `work` gives. Raises what it raises, and `asyncio.CancelledError` where the loop ends before it does.

        Where this thread is interrupted, `on_untaken` is given what it did not take: a result, or an error.
        """
        call = Call(work, on_untaken)
        try:
            self._submit(call)
            call.wait()
            return call.result()
        except BaseException:
            self._soon(call.leave)
            raise
        finally:
            self._calls.discard(call)

    def run_to_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the end of `work`, also where this thread is interrupted: that is raised then."""
        call = Call(work)
        first: BaseException | None = None
        self._submit(call)
        while True:
            try:
                call.wait()
                break
            except BaseException as error:  # noqa: BLE001 - it is raised below
                first = first or error
        self._calls.discard(call)
        call.result()
        if first is not None:
            raise first

    def _submit(self, call: "Call[Any]") -> None:
        self._calls.add(call)  # before the loop has it: the end of the loop ends what is in here
        if not self._soon(call.begin, call):
            call.leave()
            raise asyncio.CancelledError

    def _soon(self, callback: Callable[[], object], call: "Call[Any] | None" = None) -> bool:
        """Whether the loop still calls `callback`."""
        try:
            self._loop.call_soon_threadsafe(callback, context=None if call is None else call.context)
        except RuntimeError:  # it is closed
            return False
        return True

    # The loop's own thread.

    def _run(self) -> None:
        while not self.is_over:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):  # of a hook: it ends the program only where that runs the loop
                _log.exception("a hook asked for the end of the program, and is not heeded")
        self._loop.close()
        for call in list(self._calls):
            call.end()
        self._ended.set()

    # The end.

    def _end_last(self) -> None:
        threading.main_thread().join()
        self._end_after_others()

    def _end_after_others(self) -> None:
        ours = (threading.main_thread(), self._ending)
        while others := [it for it in threading.enumerate() if not (it.daemon or it in ours)]:
            for thread in others:
                thread.join()
        self._soon(lambda: self._loop.create_task(self._close()))
        self._ended.wait()

    async def _close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        ends = await asyncio.gather(*(close() for close in [*self.open.values()]), return_exceptions=True)
        for error in ends:
            if isinstance(error, BaseException):
                _log.error("at the end of the process: %s", error, exc_info=error)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLEANING_UP)
        self.is_over = True
        self._loop.stop()

    def _wait_for_end(self) -> None:
        """Ctrl-C ends Python's own waiting, and not this one."""
        if self.pid != os.getpid() or self._ended.is_set():
            return
        before = signal.signal(signal.SIGINT, _explain)
        while not self._ended.is_set():
            try:
                if threading.main_thread().is_alive():  # by Python's own mark
                    self._end_after_others()
                self._ended.wait()
            except BaseException:  # noqa: BLE001 - of a handler of another signal
                _explain()
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)

    # Forks.

    def pause(self) -> None:
        """Let the loop stand still between two callbacks, so that a child inherits nothing that is half done."""
        self._go_on.clear()
        begun = threading.Event()
        if threading.current_thread() is not self._thread and self._soon(lambda: self._stand_still(begun)):
            begun.wait(_PAUSE)

    def _stand_still(self, begun: threading.Event) -> None:
        begun.set()
        self._go_on.wait()

    def go_on(self) -> None:
        """The fork is over."""
        self._go_on.set()


def _explain(*_: object) -> None:
    _log.warning("this process ends when what it has sent is answered and written")


_starting = threading.Lock()
_own: LoopThread | None = None
_inherited: list[LoopThread] = []
"""Of the processes that this one was forked from. A loop that was collected here would take its descriptors out of the
parent's epoll, which is the same."""


def loop_thread() -> LoopThread:
    """That of this process, started where there is none. Raises `InvalidRequest` where the process is ending."""
    global _own  # noqa: PLW0603 - there is one for each process
    if (found := running_loop_thread()) is not None:
        return found
    with _starting:
        if (found := running_loop_thread()) is None:
            _forget_inherited()
            found = _own = LoopThread()
        return found


def running_loop_thread() -> LoopThread | None:
    """That of this process, where there is one."""
    return _own if _own is not None and _own.pid == os.getpid() else None


def _forget_inherited() -> None:
    global _own  # noqa: PLW0603 - as above
    if _own is not None:
        _inherited.append(_own)
        _own = None


def _before_fork() -> None:
    _starting.acquire()
    if (own := running_loop_thread()) is not None:
        own.pause()


def _after_in_parent() -> None:
    if (own := running_loop_thread()) is not None:
        own.go_on()
    _starting.release()


def _after_in_child() -> None:
    _forget_inherited()
    _starting.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)

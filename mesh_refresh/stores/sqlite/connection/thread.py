"""One thread that does the verbs of an event loop: in order, and all that wait at once as one group."""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from mesh_refresh.stores.sqlite.connection.failures import closed
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.group import Job, do

T = TypeVar("T")

_MOST = 1_000
"""Jobs in one group: more would hold up their callers, and other processes."""


_PATIENCE = 30.0
"""Seconds for which a fork waits for a verb that is under way. Every verb ends sooner, but for a scan."""
_LOOK_AGAIN = 0.1
"""Seconds after which a fork looks whether the thread has ended instead."""


class ForkPause:
    """A time in which a thread has its file closed, because the process forks."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()


class SessionThread:
    """Holds a `SqliteSession`, which SQLite lets be used by one thread only.

    The thread is a daemon: a process whose store was never closed can end. `end` is for that process's last moments,
    when daemons still run. The loop's own executor is of no use, because `asyncio.run` shuts it down before everything
    that is to be written has been.
    """

    def __init__(self, session: SqliteSession, name: str) -> None:
        self._session = session
        self._queue: SimpleQueue[Job | ForkPause | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._ending = False
        self._over = False
        self._closers: list[asyncio.Future[None]] = []
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        _threads.add(self)

    async def run(self, verb: Callable[[SqliteSession], T], *, writes: bool) -> T:
        """The result of `verb`, in a transaction where it `writes`. It is done even if the caller is cancelled."""
        # A process that was forked off has this object, but not the thread.
        if self._ending or not self._thread.is_alive():
            raise closed(self._session.path)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(Job(verb, future, writes=writes))
        return await future

    async def aclose(self) -> None:
        """Wait until every verb that was called is done, and the file is closed."""
        if not self._thread.is_alive():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._over:
                return
            self._closers.append(future)
        self._end()
        await future
        self._thread.join()

    def end(self) -> None:
        """The same, without an event loop: for a process that ends, and for a store that was forgotten."""
        self._end()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, and is of this process."""
        return self._thread.is_alive()

    def pause(self) -> ForkPause | None:
        """Do what waits, then close the file and stand still until the pause is over. None: there is no such thread."""
        if not self.is_alive or threading.current_thread() is self._thread:
            return None
        pause = ForkPause()
        self._queue.put(pause)
        return pause

    def _end(self) -> None:
        self._ending = True
        self._queue.put(None)

    def _work(self) -> None:
        while not (self._ending and self._queue.empty()):
            waiting = self._waiting()
            for jobs in _split([job for job in waiting if isinstance(job, Job)]):
                do(self._session, jobs)
                _deliver(jobs)
                del jobs  # their values need not stay in memory while the thread waits
                self._session.shorten_log()
            pauses = [pause for pause in waiting if isinstance(pause, ForkPause)]
            del waiting
            for pause in pauses:
                self._session.lay_down()
                pause.begun.set()
                pause.over.wait()
        self._session.close()
        with self._lock:
            self._over = True
        for future in self._closers:
            _call(future.get_loop(), _release, future)

    def _waiting(self) -> "list[Job | ForkPause | None]":
        queue = self._queue
        waiting = [queue.get()]
        while len(waiting) < _MOST and not queue.empty():
            waiting.append(queue.get_nowait())
        return waiting


def _split(jobs: list[Job]) -> Iterator[list[Job]]:
    """Groups of `jobs`: the reads before the first write form one, because they need not wait for its commit."""
    first = next((number for number, job in enumerate(jobs) if job.writes), len(jobs))
    if first:
        yield jobs[:first]
    if first < len(jobs):
        yield jobs[first:]


def _deliver(jobs: list[Job]) -> None:
    """Tell the callers, with one call into each event loop. Nearly always there is one loop."""
    loop = jobs[0].future.get_loop()
    _call(loop, _resolve, [job for job in jobs if job.future.get_loop() is loop])
    if others := [job for job in jobs if job.future.get_loop() is not loop]:
        _deliver(others)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[Any], None], argument: object) -> None:
    with suppress(RuntimeError):  # the loop was closed: no caller waits any more
        loop.call_soon_threadsafe(callback, argument)


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


# Forks. No file is open while a process forks: see `SqliteSession.lay_down`.

_threads: "weakref.WeakSet[SessionThread]" = weakref.WeakSet()
_forking = threading.Lock()
_pauses: list[ForkPause] = []


def _before_fork() -> None:
    _forking.acquire()  # until `_after_fork`: one at a time
    asked = [(thread, pause) for thread in list(_threads) if (pause := thread.pause()) is not None]
    _pauses.extend(pause for _, pause in asked)
    until = time.monotonic() + _PATIENCE
    for thread, pause in asked:
        while not pause.begun.wait(_LOOK_AGAIN) and thread.is_alive and time.monotonic() < until:
            pass


def _after_fork() -> None:
    while _pauses:
        _pauses.pop().over.set()
    _forking.release()


def _in_child() -> None:
    # Not `_after_fork`: the thread that stood still may have held the lock of its event, and is not in this process.
    _threads.clear()
    _pauses.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)

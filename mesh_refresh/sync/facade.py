"""What `MeshClient` and `Keeper` of `mesh_refresh.sync` have in common: verbs that wait, and parts for each process."""

import asyncio
import inspect
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.sync.loop_thread import LoopThread, loop_thread, running_loop_thread

_A = TypeVar("_A")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Facade(ABC, Generic[_A]):
    """Calls the verbs of an async object, which is opened in the event loop of this process at its first use.

    A process that was forked opens one of its own, and leaves the parent's alone. `close` closes that of this process;
    without it, the end of the process does. A thread that is interrupted, as by Ctrl-C, abandons no exchange that may
    have been sent.
    """

    def __init__(self) -> None:
        refuse_green_threads()
        self._parts: Parts[_A] | None = None
        self._is_closed = False

    @abstractmethod
    async def _open(self, stack: AsyncExitStack) -> _A:
        """Make the async object, and let `stack` close it."""

    @abstractmethod
    def _closed(self) -> Exception:
        """The error of a verb after `close`."""

    def _on_untaken(self, given: object) -> None:
        """A thread was interrupted before it took `given`, a result or an error of a verb."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait until each exchange of this process that may have been sent is over and written, and close the parts.

        A thread that is interrupted meanwhile waits on, and raises that at the end. Raises what leaving the async
        object raises, such as `NotSaved`. Safe to call twice.
        """
        _check_no_loop_runs(type(self).__name__)
        self._is_closed = True
        thread = running_loop_thread()
        if thread is not None and not thread.is_over:
            thread.run_to_end(self._leave(thread))

    async def _leave(self, thread: LoopThread) -> None:
        if self._parts is not None and self._parts.thread is thread:
            await self._parts.close()

    def _wait_for(self, verb: Callable[[_A], Awaitable[_T]]) -> _T:
        """What `verb` gives, called in the event loop of this process."""
        _check_no_loop_runs(type(self).__name__)
        if self._is_closed:
            raise self._closed()
        thread = loop_thread()
        try:
            return thread.run(self._call(thread, verb), self._on_untaken)
        except asyncio.CancelledError:
            raise self._closed() from None

    async def _call(self, thread: LoopThread, verb: Callable[[_A], Awaitable[_T]]) -> _T:
        parts = self._parts
        if parts is None or parts.thread is not thread or parts.has_failed:
            if self._is_closed:
                raise self._closed()
            parts = self._parts = Parts(thread, self._open)
        return await verb(await parts.opened())


def waiting(
    verb: Callable[Concatenate[_A, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Facade[_A], _P], _T]:
    """`verb` as a method that returns when its result is there."""

    @wraps(verb)
    def call(self: Facade[_A], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        # A traceback may be rendered with the locals of its frames, and the arguments are tokens and codes.
        bound: _Bound[_A, _T] = _Bound(verb, args, kwargs)
        del args, kwargs
        return self._wait_for(bound)

    return call


class _Bound(Generic[_A, _T]):
    """A verb and its arguments, without a `repr` of them."""

    __slots__ = ("_args", "_kwargs", "_verb")

    def __init__(self, verb: Callable[..., Awaitable[_T]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._verb, self._args, self._kwargs = verb, args, kwargs

    def __call__(self, of: _A) -> Awaitable[_T]:
        return self._verb(of, *self._args, **self._kwargs)


class Parts(Generic[_A]):
    """The async object of one process, with all that it needs. Used in the event loop only."""

    def __init__(self, thread: LoopThread, open_parts: Callable[[AsyncExitStack], Awaitable[_A]]) -> None:
        self.thread = thread
        self.has_failed = False
        self._stack = AsyncExitStack()
        self._opened: _A | None = None
        self._opening = asyncio.ensure_future(self._open(open_parts))
        self._closing: asyncio.Task[None] | None = None
        thread.open[self] = self.close

    async def opened(self) -> _A:
        """The async object. Raises what opening it raises."""
        if self._opened is None:
            await asyncio.wait((self._opening,))
            try:
                return self._opening.result()
            except MeshRefreshError as error:
                failure = error.for_another()  # threads must not share a traceback
            raise failure
        return self._opened

    async def close(self) -> None:
        """Close all of it, once. Returns when that is done."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
            await self._closing
        else:
            await asyncio.wait((self._closing,))

    async def _open(self, open_parts: Callable[[AsyncExitStack], Awaitable[_A]]) -> _A:
        try:
            self._opened = await open_parts(self._stack)
        except BaseException:
            self.has_failed = True
            await self.close()
            raise
        return self._opened

    async def _close(self) -> None:
        if not self.has_failed:
            await asyncio.wait((self._opening,))
        del self.thread.open[self]
        await self._stack.aclose()


async def entered(made: Any, stack: AsyncExitStack) -> Any:
    """What a callable of the user's has made, entered. `stack` leaves it. Raises `InvalidRequest` for another thing."""
    part: Any = made if hasattr(type(made), "__aenter__") or not inspect.isawaitable(made) else await made
    if not hasattr(type(part), "__aenter__"):
        raise InvalidRequest(f"A callable made {type(part).__name__}, and no client or store of mesh_refresh.")
    return await stack.enter_async_context(part)


def check_callables(name: str, example: str, *makers: object) -> None:
    """Raises `InvalidRequest` for a part in place of the callable that makes it."""
    if not all(map(callable, makers)):
        raise InvalidRequest(
            f"sync.{name} takes callables that make its parts, such as {example}: each process makes its own."
        )


def refuse_green_threads() -> None:
    """Raises `InvalidRequest` under gevent or eventlet: they replace threads, and the loop would stop all of them."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    for name, is_there in (
        ("gevent", gevent is not None and gevent.is_module_patched("threading")),
        ("eventlet", eventlet is not None and eventlet.is_monkey_patched("thread")),
    ):
        if is_there:
            raise InvalidRequest(
                f"mesh_refresh.sync does not work under {name}, which replaces Python's threads: use workers with real "
                "threads or processes (gunicorn -k gthread, celery -P prefork or threads), or call a web service that "
                "has the keeper."
            )


def _check_no_loop_runs(name: str) -> None:
    """Raises `InvalidRequest` in an event loop, which a verb would stop. Cells of a notebook may do that."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    if not _is_notebook():
        where = "mesh_refresh.keeper" if name == "Keeper" else "mesh_refresh"
        raise InvalidRequest(
            f"mesh_refresh.sync.{name} was called in a running event loop, which it would stop; nothing was sent. Use "
            f"{where}.{name} there, and await its verbs; or call this one by asyncio.to_thread."
        )


def _is_notebook() -> bool:
    """Whether this is the thread in which a Jupyter kernel runs cells."""
    ipython = sys.modules.get("IPython")
    if threading.current_thread() is not threading.main_thread():
        return False
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None

"""Tasks that a shutdown does not stop.

`asyncio.run` cancels every task when ``main()`` ends or Ctrl-C comes, and then waits for all of them. A task that
refuses to be cancelled from outside therefore finishes; `asyncio.shield` alone would not help it.

Also time limits of equal length, with one timer for all of them: `Deadlines`.
"""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context, ContextVar, copy_context
from typing import Any, NoReturn, Protocol, TypeVar, cast

from mesh_refresh.masking import MaskedList

_A = TypeVar("_A")
_T = TypeVar("_T")

_CLEANING_UP = 1.0
"""Seconds that code of the user's may take to end itself after its time-out."""

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
_PASSES = 10
"""Passes of the event loop between a deadline and its `expire`."""


class HasDeadline(Protocol):
    """Work that has to be done by its deadline."""

    def expire(self) -> None:
        """The deadline has passed. Must do nothing where the work is done already, and must not raise."""


class Deadlines:
    """Calls `expire` on each item that is not removed within `length` seconds after it was added.

    All items have equally long, so they expire in the order in which they were added: one timer, for the oldest, is
    enough. A timer for each item would cost an exchange a tenth of its CPU time.

    An item expires some passes of the event loop after its deadline. An answer that has arrived comes first: it may
    wait in the socket, and a process that was stopped for long finds its timers late before it finds what has arrived.
    Each pass looks at the sockets once: for bytes, for TLS, for a body in pieces, for the task that reads it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, length: float) -> None:
        self._loop = loop
        self._length = length
        self._ends: dict[HasDeadline, float] = {}
        self._own: dict[HasDeadline, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: HasDeadline, begun: float | None = None) -> None:
        """Its time starts now, or has started at `begun`, in the loop's time.

        An item that has `begun` expires out of order, and gets a timer of its own: there are few of them.
        """
        if begun is not None:
            self._own[item] = self._loop.call_at(begun + self._length, self._expire_after, _PASSES, item)
            return
        end = self._loop.time() + self._length
        self._ends[item] = end
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._ring)

    def remove(self, item: HasDeadline) -> None:
        """It is done: it does not expire. An item that is not here is passed over."""
        self._ends.pop(item, None)
        if self._own and (timer := self._own.pop(item, None)) is not None:
            timer.cancel()

    def stop(self) -> None:
        """Cancel the timer. The caller has removed every item."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer, now = None, self._loop.time()
        for item in [item for item, end in self._ends.items() if end <= now]:
            del self._ends[item]
            self._expire_after(_PASSES, item)
        oldest = next(iter(self._ends.values()), None)
        if oldest is not None:
            self._timer = self._loop.call_at(oldest, self._ring)

    def _expire_after(self, passes: int, item: HasDeadline) -> None:
        if passes:
            self._loop.call_soon(self._expire_after, passes - 1, item)
        else:
            item.expire()


class ExchangeTask(asyncio.Task[None]):
    """Refuses every `cancel`. Only its owner can `end` it.

    `asyncio.timeout`, anyio's scopes and everything else that works through `cancel` have no effect in it. So code of
    the user's runs in a `ForeignTask`.
    """

    refused_now = False
    """Whether it was asked to be cancelled in this step of the loop."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002
        """Refused; see `end`."""
        self.refused_now = True
        # On a loop that does not run, as at the end of `asyncio.run`, this is never called, and nothing asks for it.
        self.get_loop().call_soon(self._forget)
        return False

    def _forget(self) -> None:
        self.refused_now = False

    def end(self) -> None:
        """What `cancel` does for other tasks."""
        super().cancel()

    @classmethod
    def of(cls, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> "ExchangeTask":
        """Run `coroutine` to its end, also where the task is cancelled. On Python 3.12 the first step runs at once."""
        return cls(coroutine, loop=loop, name="mesh_refresh exchange", **_EAGER)


class ForeignTask(asyncio.Task[None]):
    """Runs code of the user's: time-outs inside it work, and a shutdown does not reach it.

    A time-out cancels this task alone, from a callback of the running loop or from within the task. A shutdown cancels
    all tasks: `asyncio.run` does it while no loop is running, other programs from a task, or from a signal handler,
    which is a callback too. So a cancel from a callback waits for a step of the loop, and is refused where the exchange
    that this task works for was to be cancelled in the same step.
    """

    owner: "asyncio.Task[Any] | None" = None
    """The task that waits for this one."""
    waiter: "asyncio.Future[None] | None" = None
    """What the owner waits on, until this task is done or its time is over."""
    _asked = 0

    def cancel(self, msg: Any | None = None) -> bool:
        """Granted to time-outs, refused to shutdowns."""
        try:
            current = asyncio.current_task()
        except RuntimeError:
            return False
        if current is self:
            return super().cancel(msg)
        if current is not None or self.done() or self._is_shutdown():
            return False
        self._asked += 1
        self.get_loop().call_soon(self._grant, msg)
        return True

    def _is_shutdown(self) -> bool:
        return isinstance(self.owner, ExchangeTask) and self.owner.refused_now

    def _grant(self, msg: Any | None) -> None:
        if self._asked:
            self._asked -= 1
            if not self._is_shutdown():
                super().cancel(msg)

    def cancelling(self) -> int:
        """As `asyncio.timeout` reads it: with the cancels that wait to be granted."""
        return super().cancelling() + self._asked

    def uncancel(self) -> int:
        """A cancel that waits to be granted is taken back first: what it was for has ended by itself."""
        if self._asked:
            self._asked -= 1
            return self.cancelling()
        return super().uncancel()

    def end(self) -> None:
        """Cancel it, from every caller."""
        super().cancel()

    def expire(self, _: object = None) -> None:
        """Let the owner look again: this task is done, or its time is over."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


hooks_in_threads: ContextVar[bool] = ContextVar("mesh_refresh_hooks_in_threads", default=False)
"""Whether an ordinary function of the user's runs in a thread of the loop's executor: it may block, as all of a program
does that calls `mesh_refresh.sync`, and may refuse to run in an event loop, as Django's database does."""


def call_hook(hook: Callable[[_A], Awaitable[object] | object], given: _A) -> Awaitable[object] | object:
    """What ``hook(given)`` gives, or an awaitable of that."""
    if not hooks_in_threads.get() or _is_async(hook):
        return hook(given)
    context = copy_context()
    return asyncio.get_running_loop().run_in_executor(None, lambda: context.run(hook, given))


def _is_async(hook: object) -> bool:
    return any(map(inspect.iscoroutinefunction, (hook, getattr(type(hook), "__call__", None))))  # noqa: B004 - not callable()


class CancelledForGood(Exception):
    """Foreign code was cancelled from outside more than once."""


class EndsTheProgram(Exception):
    """Foreign code raised `SystemExit` or `KeyboardInterrupt`. The loop has it, and the caller of the code goes on."""


async def run_foreign(
    call: Callable[[], Any],
    *,
    timeout: Deadlines | float | None = None,
    again: bool = True,
    context: Context | None = None,
) -> Any:
    """What `call()` gives, awaited where it can be, in a task of its own and for at most `timeout` seconds.

    A `timeout` that many tasks have is `Deadlines`, which need one timer for all of them. The task runs in `context`,
    or in a copy of the current one. Where something outside cancels it, `call` is started once more if `again`, else
    `CancelledForGood` is raised. Raises `TimeoutError` at the time-out, and everything that `call` raises, but for what
    would end the program: that goes to the loop, and `EndsTheProgram` is raised here.
    """
    loop = asyncio.get_running_loop()
    for _ in range(2 if again else 1):
        # The result goes through a list: a task shows its result in its repr, and asyncio logs that in debug mode.
        results = MaskedList()
        try:
            task = ForeignTask(_into(results, call), loop=loop, name="mesh_refresh call", context=context, **_EAGER)
        except (SystemExit, KeyboardInterrupt) as error:  # in a first step that is taken at once
            loop.call_soon(_raise, error)
            raise EndsTheProgram(type(error).__name__) from error
        task.owner = asyncio.current_task(loop)
        if not (task.done() or await _is_done(task, loop, timeout)):
            await _end_late(task, loop)
        if not task.cancelled():
            try:
                task.result()
            except (SystemExit, KeyboardInterrupt) as error:  # the loop was told by the task
                raise EndsTheProgram(type(error).__name__) from error
            return results.pop()
    raise CancelledForGood


async def all_of(works: Iterable[Awaitable[_T]]) -> list[_T]:
    """What each of `works` gives, when all have ended. Then it raises the first error of theirs, if there is one."""
    ends = await asyncio.gather(*works, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return cast("list[_T]", ends)


async def run_to_end(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.CancelledError | None:
    """Run `work` to its end, although the task that waits for it is cancelled, once or again and again.

    Gives the cancellation, to be raised by the caller, who has perhaps something worse to raise. It is the one that
    came: cancel scopes, like anyio's, know theirs by its text. Raises what `work` raises.
    """
    return await wait_to_end(ExchangeTask.of(work, loop))


async def wait_to_end(task: "asyncio.Task[None]") -> asyncio.CancelledError | None:
    """The same for a task that runs already, perhaps for several who wait."""
    first: asyncio.CancelledError | None = None
    last: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            first, last = first or error, error
    task.result()
    if last is not None and last is not first:
        last.__context__ = first  # the scopes of both look for theirs
    return last and last.with_traceback(None)


async def _is_done(task: ForeignTask, loop: asyncio.AbstractEventLoop, timeout: Deadlines | float | None) -> bool:
    """Wait for `task`, for `timeout` seconds at most; whether it is done. Ends it where the waiting is cancelled."""
    waiter = task.waiter = loop.create_future()
    task.add_done_callback(task.expire)
    timer = loop.call_later(timeout, task.expire) if isinstance(timeout, int | float) else None
    if isinstance(timeout, Deadlines):
        timeout.add(task)
    try:
        await waiter
    except asyncio.CancelledError:
        task.end()
        task.add_done_callback(error_of)
        raise
    finally:
        if isinstance(timeout, Deadlines):
            timeout.remove(task)
        elif timer is not None:
            timer.cancel()
    return task.done()


async def _end_late(task: ForeignTask, loop: asyncio.AbstractEventLoop) -> NoReturn:
    """End `task` at its time-out, and give it a moment to clean up. Raises `TimeoutError`."""
    task.end()
    late = TimeoutError()
    if not await _is_done(task, loop, _CLEANING_UP):
        task.add_done_callback(error_of)
    elif (error := error_of(task)) is not None:
        late.add_note(f"Ended at its time-out, it raised {type(error).__name__}.")
    raise late


def error_of(task: "asyncio.Task[None]") -> BaseException | None:
    """The error that it raised. Retrieved here, because asyncio logs an error that is never retrieved."""
    return None if task.cancelled() else task.exception()


def _raise(error: BaseException) -> None:
    raise error


async def _into(results: MaskedList, call: Callable[[], Any]) -> None:
    value = call()
    results.append(await value if inspect.isawaitable(value) else value)

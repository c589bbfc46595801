"""Tasks that a shutdown does not stop.

`asyncio.run` cancels every task when ``main()`` ends or Ctrl-C comes, and then waits for all of them. A task that
refuses to be cancelled from outside therefore finishes; `asyncio.shield` alone would not help it.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from mesh_refresh.masking import MaskedList

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class ExchangeTask(asyncio.Task[None]):
    """Refuses every `cancel`. Only who owns it can `end` it.

    `asyncio.timeout`, anyio's scopes and whatever else works through `cancel` are without effect in it: code that is
    not ours runs in a `ForeignTask`.
    """

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002
        """Refused; see `end`."""
        return False

    def end(self) -> None:
        """What `cancel` does for other tasks."""
        super().cancel()

    @classmethod
    def of(cls, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> "ExchangeTask":
        """Run `coroutine` to its end, whoever cancels. Where Python can (3.12), its first step is taken at once."""
        return cls(coroutine, loop=loop, name="mesh_refresh exchange", **_EAGER)


class ForeignTask(asyncio.Task[None]):
    """Runs code of the user's: time-outs inside it work, and a shutdown does not reach it.

    A time-out cancels from a callback of the running loop, or from within the task. `asyncio.run` cancels while no
    loop is running, and a "cancel all tasks" from another task: both are refused.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Granted to time-outs, refused to shutdowns."""
        try:
            current = asyncio.current_task()
        except RuntimeError:
            return False
        return super().cancel(msg) if current is None or current is self else False

    def end(self) -> None:
        """Cancel it whatever the caller is."""
        super().cancel()


class CancelledForGood(Exception):
    """Foreign code was cancelled from outside more than once."""


async def run_foreign(call: Callable[[], Any], *, timeout: float | None = None, again: bool = True) -> Any:
    """What `call()` gives, awaited where it can be, in a task of its own and for at most `timeout` seconds.

    Where something outside cancels that task, `call` is started once more if `again`, else `CancelledForGood` is
    raised. Raises `TimeoutError` at the time-out, and whatever `call` raises.
    """
    loop = asyncio.get_running_loop()
    for _ in range(2 if again else 1):
        # The result goes through a list: a task shows its result in its repr, and asyncio logs that in debug mode.
        results = MaskedList()
        task = ForeignTask(_into(results, call), loop=loop, **_EAGER)
        if not task.done():
            await _ended(task, timeout)
        if not task.cancelled():
            task.result()
            return results.pop()
    raise CancelledForGood


async def _ended(task: ForeignTask, timeout: float | None) -> None:
    """Wait for `task`, or end it: at the time-out, which raises `TimeoutError`, or with the exchange."""
    waiter: asyncio.Future[None] = task.get_loop().create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    timer = task.get_loop().call_later(timeout, wake) if timeout is not None else None
    try:
        await waiter
        if not task.done():
            task.end()
            raise TimeoutError
    except asyncio.CancelledError:
        task.end()
        raise
    finally:
        if timer is not None:
            timer.cancel()


async def _into(results: MaskedList, call: Callable[[], Any]) -> None:
    value = call()
    results.append(await value if inspect.isawaitable(value) else value)

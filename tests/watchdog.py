"""Nothing takes seconds in these tests; one that does hangs, and fails by itself without holding up the others."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

_SECONDS = 20.0


def watch(items: Iterable[pytest.Item], which: Callable[[Path], bool]) -> None:
    """Give a time-out to the coroutine tests of the files that are meant."""
    for item in items:
        if isinstance(item, pytest.Function) and which(item.path) and inspect.iscoroutinefunction(item.obj):
            item.obj = _watched(item.obj)


def _watched(test: Any) -> Any:
    @functools.wraps(test)
    async def watched(*args: Any, **kwargs: Any) -> None:
        task = asyncio.create_task(test(*args, **kwargs))
        done, _ = await asyncio.wait((task,), timeout=_SECONDS)
        if done:
            task.result()
            return
        # Once is not enough: leaving a client or a keeper waits for what is under way, and may hang again.
        for _ in range(20):
            task.cancel()
            if (await asyncio.wait((task,), timeout=0.05))[0]:
                break
        pytest.fail(f"it hangs: not over after {_SECONDS:g} s")

    return watched

"""A stage for keepers: a fake Mesh, a store in memory and a clock that the test moves. Nothing here takes seconds."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.testing import FakeMesh, ManualClock
from tests.keeper.stage import Stage

WATCHDOG = 20.0
HERE = Path(__file__).parent


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage of its own for each test."""
    clock = ManualClock()
    async with FakeMesh(clock=clock) as fake:
        yield Stage(clock, fake)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == HERE and inspect.iscoroutinefunction(item.obj):
            item.obj = _watched(item.obj)


def _watched(test: Any) -> Any:
    @functools.wraps(test)
    async def watched(*args: Any, **kwargs: Any) -> None:
        task = asyncio.create_task(test(*args, **kwargs))
        done, _ = await asyncio.wait((task,), timeout=WATCHDOG)
        if done:
            task.result()
            return
        # Once is not enough: leaving a keeper waits for what is under way, and may hang again.
        for _ in range(20):
            task.cancel()
            if (await asyncio.wait((task,), timeout=0.05))[0]:
                break
        pytest.fail(f"it hangs: not over after {WATCHDOG:g} s")

    return watched

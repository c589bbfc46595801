"""Nothing here takes seconds; a test that does hangs, and fails by itself without holding up the others."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.testing import FakeMesh

WATCHDOG = 20.0
HERE = Path(__file__).parent


@pytest.fixture
async def fake() -> AsyncIterator[FakeMesh]:
    """A fake Mesh of its own for each test."""
    async with FakeMesh() as fake:
        yield fake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and HERE in item.path.parents and inspect.iscoroutinefunction(item.obj):
            item.obj = _watched(item.obj)


def _watched(test: Any) -> Any:
    @functools.wraps(test)
    async def watched(*args: Any, **kwargs: Any) -> None:
        task = asyncio.create_task(test(*args, **kwargs))
        done, _ = await asyncio.wait((task,), timeout=WATCHDOG)
        if done:
            task.result()
            return
        # Once is not enough: leaving a client's `async with` may hang again.
        for _ in range(20):
            task.cancel()
            if (await asyncio.wait((task,), timeout=0.05))[0]:
                break
        pytest.fail(f"it hangs: not over after {WATCHDOG:g} s")

    return watched

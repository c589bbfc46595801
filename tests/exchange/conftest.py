"""A fake Mesh for each test, and a watchdog for all of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh_refresh.testing import FakeMesh
from tests.watchdog import watch

HERE = Path(__file__).parent


@pytest.fixture
async def fake() -> AsyncIterator[FakeMesh]:
    """A fake Mesh of its own for each test."""
    async with FakeMesh() as fake:
        yield fake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    watch(items, lambda path: HERE in path.parents)

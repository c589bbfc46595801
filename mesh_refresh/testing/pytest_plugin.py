"""A `fake_mesh` fixture, for ``pytest_plugins = ["mesh_refresh.testing.pytest_plugin"]``; it needs pytest-asyncio."""

from collections.abc import AsyncIterator

import pytest_asyncio

from mesh_refresh.testing.mesh import FakeMesh


@pytest_asyncio.fixture
async def fake_mesh() -> AsyncIterator[FakeMesh]:
    """A `FakeMesh` of its own for each test."""
    async with FakeMesh() as fake:
        yield fake

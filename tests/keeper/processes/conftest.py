"""A scene for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.keeper.processes.postgres import Server, new_schema, own_server
from tests.keeper.processes.scene import Scene, open_scene


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """On a file."""
    async with open_scene(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL that tests may stop, if they start it again."""
    with own_server() as made:
        yield made


@pytest.fixture
async def postgres_scene(server: Server, tmp_path: Path) -> AsyncIterator[Scene]:
    """On that PostgreSQL."""
    async with open_scene(tmp_path, where=server.url(new_schema())) as made:
        made.busy = 2.0
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def any_scene(request: pytest.FixtureRequest) -> Scene:
    """On each."""
    made: Scene = request.getfixturevalue("scene" if request.param == "sqlite" else "postgres_scene")
    return made

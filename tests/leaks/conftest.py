"""A witness that has seen no secret when the test is over."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from mesh_refresh.testing import FakeMesh
from tests.leaks.witness import KEYS, Witness, watching


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Looks on, and fails the test that showed it a secret."""
    seen = Witness()
    yield seen
    assert not seen.found, "\n".join(["A secret can be read in:", *seen.found])


@pytest.fixture
async def watched(witness: Witness) -> AsyncIterator[Witness]:
    """The same, with all logs, tasks and warnings of the loop in view."""
    with watching(witness):
        yield witness
        for task in asyncio.all_tasks():
            witness.saw("task", repr(task))


@pytest.fixture
async def fake() -> AsyncIterator[FakeMesh]:
    """A FakeMesh with a planted client secret."""
    mesh = FakeMesh()
    mesh.client_secret = KEYS["client secret"]
    async with mesh:
        yield mesh

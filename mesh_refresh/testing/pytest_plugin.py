"""A `fake_mesh` fixture, for ``pytest_plugins = ["mesh_refresh.testing.pytest_plugin"]``; it needs pytest-asyncio.

A test's faults and gates end with it, also those of a `FakeMesh` that several tests share: no test meets the fault of
another one. A fault that met no request is told by an `UnusedFault` warning.
"""

from collections.abc import AsyncIterator, Collection, Generator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from mesh_refresh.testing.fake.gate import GATES, Gate
from mesh_refresh.testing.fake.mesh import FakeMesh
from mesh_refresh.testing.fake.traffic import QUEUES, FaultQueue, Rule, tell_unused


@pytest_asyncio.fixture
async def fake_mesh() -> AsyncIterator[FakeMesh]:
    """A `FakeMesh` of its own for each test."""
    async with FakeMesh() as fake:
        yield fake


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Ends the faults and gates that a test has made, and tells which faults met no request."""
    rules = {queue: tuple(queue.rules) for queue in QUEUES}
    gates = set(GATES)
    try:
        result = yield
    except BaseException:
        _end(rules, gates)
        for queue in QUEUES:
            queue.take_unused()
        raise
    _end(rules, gates)
    for queue in list(QUEUES):
        tell_unused(queue)
    return result


def _end(rules: Mapping[FaultQueue[Any], Collection[Rule[Any]]], gates: Collection[Gate]) -> None:
    """Open all gates but these, and forget all faults but these."""
    for gate in set(GATES).difference(gates):
        gate.release_from_outside()
    for queue in list(QUEUES):
        queue.forget(but=rules.get(queue, ()))

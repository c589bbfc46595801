"""A stage for keepers: a fake Mesh, a store in memory and a clock that the test moves; and a watchdog."""

from collections.abc import AsyncIterator

import pytest

from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import Cipher
from mesh_refresh.testing import FakeMesh, ManualClock
from tests.keeper.stage import Stage
from tests.stores.open_memory import OpenMemory


@pytest.fixture
async def stage(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Stage]:
    """A stage of its own for each test. No rule of the keeper's gives two accounts of a login one epoch."""
    clock = ManualClock()
    async with FakeMesh(clock=clock) as fake:
        yield Stage(clock, fake)
    assert not [it for it in caplog.get_records("call") if "have one epoch" in it.message]


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper that is left with a store which fails is left soon."""
    monkeypatch.setattr(Runtime, "patience", 0.2)


@pytest.fixture
def target(stage: Stage) -> OpenMemory:
    """Where a copy of the fleet goes; sealed with another key."""
    return OpenMemory(clock=stage.clock, cipher=Cipher([Cipher.generate_key()]))

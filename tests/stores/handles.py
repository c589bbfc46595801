"""The stores that the tests run on, each with a clock that the tests move."""

from datetime import timedelta
from pathlib import Path
from typing import Protocol

from mesh_refresh.stores import MemoryStore, PlainText, Store
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import ManualClock


class Handles(Protocol):
    """How the stores of one kind are made."""

    clock: ManualClock

    async def make(self) -> Store:
        """A new one."""
        ...

    async def another(self, store: Store) -> Store:
        """A second handle on it."""
        ...

    async def pass_time(self, by: timedelta) -> None:
        """On the clock of its leases."""
        ...


class MemoryHandles:
    """Stores in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()

    async def make(self) -> Store:
        return MemoryStore(clock=self.clock)

    async def another(self, store: Store) -> Store:
        return store

    async def pass_time(self, by: timedelta) -> None:
        self.clock.advance(by)


class SqliteHandles(MemoryHandles):
    """Stores in files, each in a new one."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._number = 0

    async def make(self) -> Store:
        self._number += 1
        return await self.another(None)

    async def another(self, store: Store | None) -> Store:
        path = self._folder / f"fleet{self._number}.db"
        return await SqliteStore.open(path, cipher=PlainText(), clock=self.clock)

"""A file with a store in it."""

from pathlib import Path

import pytest

from mesh_refresh.testing.conformance.store_kit import a_row, fill
from tests.stores.sqlite_files import a_store


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with a row, closed."""
    async with a_store(tmp_path / "fleet.db") as store:
        await fill(store, a_row(sealed=b"kept"))
    return tmp_path / "fleet.db"

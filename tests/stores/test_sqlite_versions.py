"""Files of other versions, and of other programs."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.stores import StoreDamaged, StoreUnavailable
from mesh_refresh.stores.sqlite import migrating
from mesh_refresh.stores.sqlite.queries import migrations
from mesh_refresh.testing.conformance.store_kit import a_row, kept
from tests.stores.sqlite_files import a_store
from tests.stores.test_sqlite_failures import refused


async def test_a_newer_version_is_left_alone(path: Path) -> None:
    """`StoreDamaged`, which tells both versions."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    text = (
        "newer mesh_refresh: its version is 99, and this one knows up to 1. "
        "Nothing in it was changed: update mesh_refresh here.$"
    )
    await refused(path, StoreDamaged, text)


async def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """`StoreDamaged`: with tables of its own, or with a mark of its own."""
    for name, statement in (("one", "CREATE TABLE login (id)"), ("two", "PRAGMA application_id = 7")):
        connection = sqlite3.connect(tmp_path / name)
        connection.execute(statement)
        connection.close()
        await refused(tmp_path / name, StoreDamaged, "another program")


async def test_migrations_run_in_order_and_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of an earlier version is brought forward, with its rows; one that fails on the way stays as it was."""
    steps = migrations()
    second = "CREATE TABLE more (n);\nINSERT INTO more VALUES (1); -- with a comment; and a semicolon\n"
    monkeypatch.setattr(migrating, "migrations", lambda: {**steps, 2: second, 3: "INSERT INTO nowhere VALUES (1);"})
    await refused(path, StoreDamaged, "lacks tables")
    monkeypatch.setattr(migrating, "migrations", lambda: {**steps, 2: second, 3: "INSERT INTO more VALUES (2);"})
    for _ in range(2):
        async with a_store(path) as store:
            assert await kept(store) == a_row(sealed=b"kept", revision=1)
            assert await store.execute("SELECT n FROM more") == [(1,), (2,)]
    monkeypatch.undo()
    await refused(path, StoreDamaged, "version is 3")


async def test_a_folder_that_keeps_no_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite cannot use a write-ahead log, as on network drives, a store is not opened."""
    real = sqlite3.connect

    def in_memory(*_: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(":memory:", isolation_level=None)
        return connection

    monkeypatch.setattr(sqlite3, "connect", in_memory)
    with pytest.raises(StoreUnavailable, match="local disk"):
        _ = await a_store(tmp_path / "fleet.db")

"""A store in a SQLite file that waits only shortly for others, so that tests of refusals are fast."""

from datetime import timedelta
from pathlib import Path

from mesh_refresh.stores import PlainText
from mesh_refresh.stores.sqlite import SqliteStore


def a_store(path: Path) -> SqliteStore:
    return SqliteStore.open(path, cipher=PlainText(), busy_timeout=timedelta(milliseconds=50))

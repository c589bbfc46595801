"""Logins in one SQLite file: `async with SqliteStore.open("fleet.db", cipher=Cipher([key])) as store`."""

from mesh_refresh.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]

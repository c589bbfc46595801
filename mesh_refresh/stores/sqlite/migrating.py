"""Brings a file to the schema of this version, or says why that cannot be done."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta

from mesh_refresh.stores.errors import StoreDamaged, StoreOfNewerVersion, StoreRefused
from mesh_refresh.stores.sqlite.queries import migrations

APPLICATION_ID = 0x4D455348
"""Marks the file as one of ours: ``MESH``."""

_PAUSE = 0.01


def migrate(connection: sqlite3.Connection, path: str, patience: timedelta, *, read_only: bool = False) -> None:
    """Make the tables, or change them to the newest version, in one transaction. Another process may do so too.

    With `read_only`, nothing is written, and an older version raises `StoreRefused`.
    """
    steps = migrations()
    newest = max(steps)
    # Before anything is changed: a file of another program stays as it is.
    connection.execute("BEGIN")
    try:
        version = check_version(connection, path, newest)
    finally:
        connection.execute("ROLLBACK")
    if read_only:
        if version < newest:
            raise StoreRefused(
                f"The store {path} is of version {version}, and this mesh_refresh needs {newest}: "
                "`mesh-refresh migrate` upgrades it."
            )
        return
    _keep_a_log(connection, path, patience)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check_version(connection, path, newest)
        for number in range(version + 1, newest + 1):
            for statement in _statements(steps[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_version(connection: sqlite3.Connection, path: str, newest: int) -> int:
    """The version of the file. Raises `StoreDamaged` for another program's file, and for a newer version."""
    (ours,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if ours != APPLICATION_ID and (ours or version or tables):
        raise StoreDamaged(f"The file {path} is a database of another program.")
    if version > newest:
        raise StoreOfNewerVersion(
            f"The store {path} was written by a newer mesh_refresh: its version is {version}, and this one knows "
            f"up to {newest}."
        )
    return int(version)


def _keep_a_log(connection: sqlite3.Connection, path: str, patience: timedelta) -> None:
    """Write-ahead logging, which the file itself remembers. SQLite does not wait for the lock that this takes."""
    end = time.monotonic() + patience.total_seconds()
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
            continue
        if mode != "wal":
            raise StoreRefused(f"The store {path} cannot keep a write-ahead log here. Put it on a local disk.")
        return


def _statements(script: str) -> Iterator[str]:
    """The statements of `script`, one by one: `executescript` would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

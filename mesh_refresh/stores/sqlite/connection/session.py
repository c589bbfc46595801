"""One connection to the file, for the thread that owns it."""

import logging
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Self

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.stores.errors import StoreUnavailable
from mesh_refresh.stores.sqlite.connection import connecting, mounts
from mesh_refresh.stores.sqlite.connection.connecting import connect, create
from mesh_refresh.stores.sqlite.connection.failures import closed, failure
from mesh_refresh.stores.sqlite.connection.leases import LeaseClock
from mesh_refresh.stores.sqlite.connection.one_name import Identity, has_it_alone, identity, identity_and_size
from mesh_refresh.stores.sqlite.migrating import migrate

_log = logging.getLogger("mesh_refresh.stores")

_PAUSES = 9
_WAITS = (50, 100, 200, 400, 800, 1600)
"""Milliseconds."""


class SqliteSession:
    """One connection. `open` it in the thread that uses it."""

    def __init__(self, path: str, clock: LeaseClock, patience: timedelta) -> None:
        self.path = path
        self._wal = path + "-wal"
        self.clock = clock
        self.patience = patience
        self._connection: sqlite3.Connection | None = None
        self._files: tuple[Identity, Identity] = (None, None)
        self._is_laid_down = False
        self._place: mounts.Mount | None = None
        self._log_size = 0
        self._shorten_at = 0.0
        self._told_size = 0

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, while it is open."""
        if self._is_laid_down:
            self._open_again()
        if self._connection is None:
            raise closed(self.path)
        return self._connection

    def open(self, *, create_file: bool, read_only: bool) -> None:
        """Bring the file to this version; with `create_file`, make it where there is none.

        With `read_only`, the file must be of this version, and nothing is written.
        """
        create(self.path, self.patience, new=create_file)
        self._connection = connect(self.path, self.patience)
        if read_only:
            self._connection.execute("PRAGMA query_only = ON")
        migrate(self.connection, self.path, self.patience, read_only=read_only)
        self._files, self._place = self._found(), mounts.mount(mounts.mount_number(self.path))
        _log.debug("The store %s is open.", self.path)

    def lay_down(self) -> None:
        """Close the file because this process is about to fork; the next verb opens it again.

        SQLite keeps its own list of the locks that a process holds. A child that inherits the list takes no lock of the
        system's: the parent then closes the file as if it were the last, and removes the log that the child writes to.
        Source: https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
        """
        self._is_laid_down = self._is_laid_down or (self._connection is not None and self._files[0] is not None)
        self.close()

    def _open_again(self) -> None:
        if identity(self.path) != self._files[0]:
            raise _moved(self.path)
        connection = connect(self.path, self.patience)
        connection.execute("PRAGMA user_version").fetchone()  # makes the log, which is known by its identity
        self._connection, self._is_laid_down, self._files = connection, False, self._found()

    def to_read(self) -> Self:
        """This session, opened only to read where it is not open. One that writes must be open beside it."""
        if self._connection is None:
            self._connection = connect(self.path, self.patience)
            self._connection.execute("PRAGMA query_only = ON")
        return self

    @contextmanager
    def snapshot(self) -> Generator[Callable[..., sqlite3.Cursor]]:
        """Within it, all reads see one state of the file."""
        self.connection.execute("BEGIN")
        try:
            yield self.connection.execute
        finally:
            self.rollback()

    def begin(self) -> None:
        """Wait for the write lock, and check that the file still has this name. Raises `StoreUnavailable` if not."""
        connection = self.connection
        if self._found() != self._files:
            raise _moved(self.path)
        connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit: everything is on the disk when this returns."""
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what was not committed. SQLite may have done it already."""
        if self.connection.in_transaction:
            with suppress(sqlite3.Error):  # what is not undone is never committed
                self.connection.execute("ROLLBACK")

    def failure(self, error: BaseException) -> MeshRefreshError:
        """The error that the caller gets for `error`."""
        return failure(error, self.path, self.patience)

    def shorten_log(self) -> None:
        """Where the log has grown long, wait until no reader needs what is in it, and begin it anew.

        Writers wait meanwhile. Where readers do not end, it is tried for a tenth of the time at the most.
        """
        began = time.monotonic()
        if self._log_size <= connecting.LONG_LOG or began < self._shorten_at:
            return
        try:
            if self._begin_log_anew():
                self._log_size = 0  # it is measured with the next write
                return
        except sqlite3.Error as error:
            _log.warning("The log of the store %s was not begun anew: %s", self.path, self.failure(error))
        self._shorten_at = time.monotonic() + _PAUSES * (time.monotonic() - began)
        if self._log_size > 2 * self._told_size:
            self._told_size = self._log_size
            _log.warning(
                "The log %s has %d MB, because a program reads the store without a pause, or has a transaction open. "
                "It grows until that ends.",
                self._wal,
                self._log_size // 1_000_000,
            )

    def _begin_log_anew(self) -> bool:
        """Whether it was begun anew. Short waits come first: SQLite waits on for a reader's place in the log even when
        other readers have taken it since.
        """
        try:
            for length in _WAITS:
                wait = min(length, connecting.milliseconds(self.patience))
                self.connection.execute(f"PRAGMA busy_timeout = {wait}").fetchone()
                (busy, _, _) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    return True
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {connecting.milliseconds(self.patience)}").fetchone()
        return False

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                self._bring_home(connection)
                connection.close()
            except sqlite3.Error as error:
                _log.warning("The store %s was not closed well: %s", self.path, self.failure(error))

    def _bring_home(self, connection: sqlite3.Connection) -> None:
        """Copy the last commits into a file that was moved: SQLite would leave them in the log by the old name."""
        (file, _), found = self._files, self._found()
        if file is not None and file != found[0] and has_it_alone(self._place, file):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _found(self) -> tuple[Identity, Identity]:
        log, self._log_size = identity_and_size(self._wal)
        return identity(self.path), log


def _moved(path: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The store {path}, or the -wal file beside it, was moved, removed or replaced while it was open. "
        "Put it back, or end this process and start it again."
    )

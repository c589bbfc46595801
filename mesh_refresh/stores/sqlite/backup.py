"""Copies the file of a store into a new file, while other processes go on with it."""

import errno
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

from mesh_refresh.files import sync_folder
from mesh_refresh.stores.errors import StoreDamaged
from mesh_refresh.stores.sqlite.connection.connecting import connect, create
from mesh_refresh.stores.sqlite.connection.failures import failure
from mesh_refresh.stores.sqlite.migrating import check_version
from mesh_refresh.stores.sqlite.queries import migrations

_PATIENCE = timedelta(seconds=5)
_STEP = 1_000
"""Pages. Between two steps, Ctrl-C is heard."""
_NOT_WRITTEN = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR_WRITE: errno.EIO,
    sqlite3.SQLITE_IOERR_TRUNCATE: errno.EIO,
}
"""SQLite's errors of writing, as the system has them. The source is only read, so they are of the copy."""


def back_up(store: str, target: Path) -> int:
    """Write the store in the file `store` (a path with links followed) to the new file `target`. Gives its logins.

    The copy is the store at one moment. It is readable only by its owner from its first byte on, and on the disk when
    this returns. Until it is whole it has another name, and `target` is empty. Where anything fails, both are removed.
    No key is needed, the store is not changed, and an older version stays one.

    Raises `FileExistsError` where there is something at `target`, `OSError` where it cannot be written, and the store's
    `StoreError`.
    """
    source = _opened(store)
    with closing(source):
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        parts: list[Path] = []
        try:
            handle, name = tempfile.mkstemp(prefix=f"{target.name}.part-", dir=target.absolute().parent)  # mode 0600
            parts.append(part := Path(name))
            os.close(handle)
            number = _copied(source, part)
            _sync(part)
            part.replace(target)
        except BaseException as error:
            for path in (*parts, target):
                with suppress(OSError):
                    path.unlink()
            if isinstance(error, sqlite3.Error):
                raise _failed(error, store) from None
            raise
        sync_folder(target.absolute().parent)
    return number


def _opened(store: str) -> sqlite3.Connection:
    """A connection to the store that changes nothing, in the midst of reading one state of it."""
    try:
        create(store, _PATIENCE, new=False)
        source = connect(store, _PATIENCE)
    except (OSError, sqlite3.Error) as error:
        raise failure(error, store, _PATIENCE) from None
    try:
        source.execute("PRAGMA query_only = ON")
        source.execute("BEGIN")
        if not check_version(source, store, max(migrations())):
            raise StoreDamaged(f"The store {store} has no tables yet.")
    except BaseException as error:
        source.close()
        if isinstance(error, sqlite3.Error):
            raise failure(error, store, _PATIENCE) from None
        raise
    return source


def _copied(source: sqlite3.Connection, part: Path) -> int:
    """Copy the pages into `part`, an empty file. How many logins are in them."""
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")  # a copy that is not whole is removed
        copy.execute("PRAGMA synchronous = OFF")  # it is synced as a whole
        source.backup(copy, pages=_STEP, progress=lambda *_: None)
    number: int = source.execute("SELECT count(*) FROM login").fetchone()[0]  # of the same moment
    return number


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _failed(error: sqlite3.Error, store: str) -> Exception:
    reason = _NOT_WRITTEN.get(getattr(error, "sqlite_errorcode", 0))
    return failure(error, store, _PATIENCE) if reason is None else OSError(reason, os.strerror(reason))

"""Opens the file, which only its owner may read, and sets SQLite so that no commit is lost."""

import os
import sqlite3
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from mesh_refresh.files import sync_folder
from mesh_refresh.stores.errors import StoreDamaged, StoreRefused
from mesh_refresh.stores.sqlite.connection.one_name import check_holders, check_name

# Closing a file drops the locks that this process has on it through other descriptors (POSIX), SQLite's own included.
# So no store opens the file while another one is making it.
_MAKING = threading.Lock()

LONG_LOG = 64 * 1024 * 1024
"""Bytes. Readers that overlap keep SQLite from beginning its log anew. From this length on, it waits for them."""

_SETTINGS = (
    "PRAGMA synchronous = FULL",  # in WAL mode, FULL is what survives a power cut
    "PRAGMA fullfsync = ON",  # on macOS, whose fsync leaves what was written in the disk's own memory
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA secure_delete = FAST",  # what is overwritten costs no more than before; rows are sealed besides
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",  # SQLite reports damage instead of following it
    "PRAGMA mmap_size = 0",  # an I/O error of a mapped file kills the process
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",
    "PRAGMA wal_autocheckpoint = 1000",  # pages: copying them back delays one commit by milliseconds
    f"PRAGMA journal_size_limit = {LONG_LOG}",
)


def create(path: str, patience: timedelta, *, new: bool) -> None:
    """Make the file where there is none, with mode 0600 under any umask. SQLite gives its -wal and -shm the same.

    Raises what is wrong with one that is there, before SQLite opens it; without `new`, also where there is none.
    """
    check_name(path)
    if not new and not _size(path) and not _size(path + "-wal"):
        raise StoreRefused(f"There is no store at {path}. Is it the right path?")
    with _MAKING:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            _check_log(path)
        else:
            _check_new(path)
            return
    check_holders(path, patience)


def _check_new(path: str) -> None:
    try:
        _check_log(path)
    except StoreDamaged:
        Path(path).unlink()
        raise
    sync_folder(Path(path).parent)


def _check_log(path: str) -> None:
    """SQLite takes an empty file for a new one, and removes the log that is beside it."""
    if not _size(path) and _size(path + "-wal"):
        raise StoreDamaged(f"The store {path} is empty or gone, and what was written last is in {path}-wal.")


def connect(path: str, patience: timedelta) -> sqlite3.Connection:
    """A connection without transactions of Python's own. It never makes a file."""
    with _MAKING:
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=rw",
            uri=True,
            timeout=milliseconds(patience) / 1000,
            isolation_level=None,
            cached_statements=64,
        )
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
    except BaseException:
        connection.close()
        raise
    return connection


def milliseconds(patience: timedelta) -> int:
    """Milliseconds for SQLite. It has no room for more than 24 days: with more, it would not wait at all."""
    return min(patience // timedelta(milliseconds=1), 2**31 - 1)


def _size(path: str) -> int:
    with suppress(OSError):
        return Path(path).stat().st_size
    return 0

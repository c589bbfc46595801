"""Turns SQLite's errors into ours, which say what to do. Neither its messages nor any value gets into the text."""

import errno
import sqlite3
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.stores.errors import StoreDamaged, StoreError, StoreRefused, StoreUnavailable

_REFUSED: Mapping[int, str] = {
    sqlite3.SQLITE_READONLY: (
        "cannot be written: it is read-only. Check the owner and the mode of the file, of its -wal and -shm and of "
        "their folder, and how it is mounted."
    ),
    sqlite3.SQLITE_PERM: "may not be opened. Check the owner and the mode of the file.",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened. Check that its folder is there and may be written to.",
    sqlite3.SQLITE_NOLFS: "is too large for this system.",
    sqlite3.SQLITE_PROTOCOL: "is locked in a way that never ends. Is it on a network drive? It must be on a local one.",
}
_UNAVAILABLE: Mapping[int, str] = {
    sqlite3.SQLITE_BUSY: "is locked by another program, for longer than {patience}. End that program, or its work.",
    sqlite3.SQLITE_LOCKED: "is locked within this program.",
    sqlite3.SQLITE_FULL: "cannot grow: the disk, or a limit on the file's size, is full. Make room.",
    sqlite3.SQLITE_IOERR: "could not be read or written ({code}). Check the disk, and the limits on file sizes.",
    sqlite3.SQLITE_NOMEM: "could not be used: there is no memory left.",
}
_DAMAGED: Mapping[int, str] = {
    sqlite3.SQLITE_NOTADB: "is not a database, or its beginning was overwritten.",
    sqlite3.SQLITE_CORRUPT: "is damaged: SQLite finds pages that are malformed ({code}).",
    sqlite3.SQLITE_FORMAT: "is damaged: SQLite does not know its format.",
    sqlite3.SQLITE_ERROR: "lacks tables or columns that its version has.",
}

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)
"""The errors of opening where there can be no file, or where we may not open it."""


def failure(error: BaseException, path: str, patience: timedelta) -> MeshRefreshError:
    """`error` for the caller, without the frames it came through: their locals are rows."""
    if isinstance(error, MeshRefreshError):
        return error.for_another()
    if isinstance(error, OSError):
        what = f"The store {path} cannot be opened: {error.strerror}. Check that file and its folder."
        return (StoreRefused if error.errno in _NOT_THERE else StoreUnavailable)(what)
    if isinstance(error, sqlite3.Error):
        # Errors of the module itself (for a wrong parameter, or a text in a row that is not Unicode) have no code.
        kind = getattr(error, "sqlite_errorcode", -1) & 0xFF
        if isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode"):
            return StoreDamaged(f"The store {path} holds a text that is not in Unicode.")
        known = {"patience": f"{patience.total_seconds():g} s", "code": getattr(error, "sqlite_errorname", "")}
        for said, cls in ((_REFUSED, StoreRefused), (_UNAVAILABLE, StoreUnavailable), (_DAMAGED, StoreDamaged)):
            if kind in said:
                return cls(f"The store {path} {said[kind].format_map(known)}")
    return StoreError(f"The store {path} failed by an error of its own: {type(error).__name__}{_place(error)}.")


def closed(path: str) -> StoreUnavailable:
    """The error of a verb after the store was closed, or in a process that was forked and lacks its thread."""
    return StoreUnavailable(f"The store {path} is not open in this process: open it anew.")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""

"""Files that hold tokens: only their owner can read them, they appear whole, and one process at a time uses them.

The modules of this folder reach the file system through ``os`` only, so that a test can put a hostile one in its place.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.files import sync_folder

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

_BINARY = getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20
_DRAWN = 4
"""Random bytes in a name that no other run draws."""


@frozen
class Owner:
    """The user and the group that own a file."""

    user: int
    group: int

    def take(self, handle: int) -> None:
        """Give the file to this owner. Raises `OSError` if the system refuses: it must not belong to another user."""
        if os.name != "posix":
            return
        if self.user != os.geteuid():
            os.fchown(handle, self.user, self.group)
        elif self.group != os.getegid():
            try:
                os.fchown(handle, -1, self.group)
            except OSError:
                return  # this process is not in the group, which has no rights with mode 0600


def owner_of(status: os.stat_result) -> Owner:
    """The owner of the file with this status."""
    return Owner(status.st_uid, status.st_gid)


def open_to_read(path: Path | str) -> int:
    """Open `path`, without a lock. Raises the error of the system."""
    return os.open(path, os.O_RDONLY | _BINARY)


def make(path: Path, owner: Owner | None = None) -> int:
    """Make the file `path` with mode 0600, open it and lock it. Raises `FileExistsError` if it exists."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(handle, 0o600)  # the umask may take more
        if owner is not None:
            owner.take(handle)
        lock(handle)
    except BaseException:
        discard(handle, path)
        raise
    return handle


def make_named(folder: Path, prefix: str, suffix: str, owner: Owner | None = None) -> tuple[Path, int]:
    """Make a file in `folder` as `make` does, under a random name. Returns its path too."""
    path = folder / f"{prefix}{secrets.token_hex(_DRAWN)}{suffix}"
    return path, make(path, owner)


def find_named(folder: Path, prefix: str, suffix: str) -> Iterator[Path]:
    """The files in `folder` whose names `make_named` can draw. Raises the error of the system."""
    drawn = re.compile(rf"{re.escape(prefix)}[0-9a-f]{{{2 * _DRAWN}}}{re.escape(suffix)}")
    return (folder / name for name in filter(drawn.fullmatch, os.listdir(folder)))


def write_new(folder: Path, prefix: str, suffix: str, data: bytes, owner: Owner | None = None) -> Path:
    """Write `data` into a new file in `folder`, with mode 0600. Returns its path."""
    path, handle = make_named(folder, prefix, suffix, owner)
    try:
        write(handle, data)
    except BaseException:
        discard(handle, path)
        raise
    close(handle)
    sync_folder(folder)
    return path


def write(handle: int, data: bytes, at: int = 0) -> None:
    """Write `data` at the offset `at`, and sync it: it survives a power cut."""
    view = memoryview(data)
    os.lseek(handle, at, os.SEEK_SET)
    while view:
        view = view[os.write(handle, view) :]
    os.fsync(handle)


def read(handle: int) -> bytes:
    """The content of the file."""
    os.lseek(handle, 0, os.SEEK_SET)
    found = bytearray()
    while chunk := os.read(handle, _CHUNK):
        found += chunk
    return bytes(found)


def discard(handle: int, path: Path) -> None:
    """Close and remove a file. One that cannot be removed is left."""
    close(handle)
    with suppress(OSError):
        os.unlink(path)


def close(handle: int) -> None:
    """Close a file, and ignore errors: its content has been synced."""
    with suppress(OSError):
        os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether `path` still names the file that is open as `handle`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def lock(handle: int) -> None:
    """Lock the file until it is closed: two runs would spend the same token. Raises `Failure` if it is locked."""
    if fcntl is None or not stat.S_ISREG(os.fstat(handle).st_mode):
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure("Another mesh-refresh works on this file. Nothing was sent.", Exit.TRY_AGAIN) from None
    except OSError:
        return  # a file system without locks

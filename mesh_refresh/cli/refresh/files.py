"""Files with tokens in them: for their owner only, whole or not there at all, and for one process at a time.

All that this command does to the file system goes through ``os`` as this folder's modules see it, so that a test can
put a hostile one in its place.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.fsync import sync_folder

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20


@frozen
class Owner:
    """To whom a file belongs."""

    user: int
    group: int

    def take(self, handle: int) -> None:
        """Give the file to its owner. Raises `OSError` where the system will not: it may not become another user's."""
        if os.name != "posix":
            return
        if self.user != os.geteuid():
            os.fchown(handle, self.user, self.group)
        elif self.group != os.getegid():
            try:
                os.fchown(handle, -1, self.group)
            except OSError:
                return  # a group that we are not in; with mode 0600 it has no rights anyway


def owner_of(status: os.stat_result) -> Owner:
    """The owner of the file with this status."""
    return Owner(status.st_uid, status.st_gid)


def make(path: Path, owner: Owner | None = None) -> int:
    """`path`, which was not there, empty, open and locked, with mode 0600."""
    handle = os.open(path, _NEW, 0o600)
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
    """A new file in `folder`, likewise, whose name no other run draws."""
    path = folder / f"{prefix}{secrets.token_hex(4)}{suffix}"
    return path, make(path, owner)


def write_new(folder: Path, prefix: str, suffix: str, data: bytes, owner: Owner | None = None) -> Path:
    """A new file in `folder` with `data`, mode 0600."""
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
    """Write `data` at the offset `at`, and make it outlive a power cut."""
    view = memoryview(data)
    os.lseek(handle, at, os.SEEK_SET)
    while view:
        view = view[os.write(handle, view) :]
    os.fsync(handle)


def read(handle: int) -> bytes:
    """All that is in the file."""
    os.lseek(handle, 0, os.SEEK_SET)
    found = bytearray()
    while chunk := os.read(handle, _CHUNK):
        found += chunk
    return bytes(found)


def discard(handle: int, path: Path) -> None:
    """Close and remove a file that is not needed. What cannot be removed is left."""
    close(handle)
    with suppress(OSError):
        os.unlink(path)


def close(handle: int) -> None:
    """Close a file. What was written is synced already, so no error of this says anything of it."""
    with suppress(OSError):
        os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether `path` still names the file that is open as `handle`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def lock(handle: int) -> None:
    """Keep other runs away from this file until it is closed. Two runs would spend the same refresh token twice."""
    if fcntl is None or not stat.S_ISREG(os.fstat(handle).st_mode):
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure("Another mesh-refresh is at work on this file; nothing was sent.", Exit.TRY_AGAIN) from None
    except OSError:
        return  # a file system without locks

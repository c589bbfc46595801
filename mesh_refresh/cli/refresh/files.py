"""Files with tokens in them: for their owner only, whole or not there at all, and for one process at a time."""

import os
import stat
import tempfile
from pathlib import Path

from mesh_refresh.cli.exits import Exit
from mesh_refresh.cli.lines import Failure, system_reason
from mesh_refresh.syncing import sync_folder

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, data: bytes) -> int:
    """`path` has `data`, mode 0600, or what it had before. Gives the new file, open and locked."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        lock(handle)
        _write(handle, data)
        Path(name).replace(path)
    except BaseException:
        os.close(handle)
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return handle


def write_new(folder: Path, prefix: str, suffix: str, data: bytes) -> Path:
    """A new file in `folder`, mode 0600."""
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=folder)
    try:
        _write(handle, data)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    sync_folder(folder)
    return Path(name)


def check_writable(path: Path, *, may_replace: bool) -> None:
    """Raises `Failure` unless `write_atomically` can be expected to work: it is tried with an empty file."""
    try:
        if path.is_dir():
            raise Failure("--output is a directory, not a file.")
        if path.exists() and not path.is_file():
            raise Failure("--output is not an ordinary file; leave it out to write to standard output.")
        if path.exists() and not may_replace and path.stat().st_size:
            raise Failure(
                "--output exists, and may hold the only copy of live tokens. If an earlier run wrote it from this "
                "input, what is in the input is spent: make that file both, the input and --output. Else name a new "
                "file, or replace it with --overwrite."
            )
        if path.exists() and not os.access(path, os.W_OK):
            raise Failure("--output is write-protected.")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise Failure(f"--output cannot be written: {system_reason(error)}. Nothing was sent.") from None


def open_locked(path: Path) -> int:
    """`path`, open for reading. Raises `Failure` where it cannot be, or while another mesh-refresh works on it."""
    while True:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise Failure(f"The input file cannot be read: {system_reason(error)}.") from None
        lock(handle)
        # Another run may have replaced the file between the opening and the lock: then its successor counts.
        if not path.exists() or os.path.samestat(os.fstat(handle), path.stat()):
            return handle
        os.close(handle)


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


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
    os.fsync(handle)

"""The folder of a spool, made and tried before anything depends on it: a bad one must not show in the disaster only."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.fsync import sync_folder
from mesh_refresh.stores.errors import StoreRefused

_PROBE = ".probe-"
_OPEN_TO_OTHERS = 0o077
_CONTENT = b"mesh_refresh tries whether it can write here"


def prepare(folder: Path) -> None:
    """Make `folder` where it is missing (mode 0700), then write, sync and delete a file in it.

    Raises `InvalidRequest` for a path that must not be a spool: a file, a folder of another user, or a folder that
    others can open. An existing folder is never chmodded. Raises `StoreRefused` where the system refuses.
    """
    shown = folder.absolute()
    try:
        _make(folder)
        wrong = _wrong(folder)
        if wrong is None:
            _probe(folder)
    except (FileExistsError, NotADirectoryError):
        wrong = "a file stands in its place, or in the place of a folder above it"
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise StoreRefused(f"The spool {shown} cannot be used: {reason}.") from None
    if wrong is not None:
        raise InvalidRequest(f"The spool {shown} cannot be used: {wrong}. Nothing was sent.")


def _make(folder: Path) -> None:
    missing = [it for it in (folder, *folder.parents) if not it.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)  # the name of a folder is kept by the folder above it


def _wrong(folder: Path) -> str | None:
    """Why `folder` must not hold tokens, or None."""
    if os.name != "posix":
        return None
    found = folder.stat()
    inside = f"name a folder inside it, such as {folder.absolute() / 'spool'}, which is made with mode 0700"
    if found.st_uid != os.geteuid():
        return f"it belongs to another user; {inside}"
    if stat.S_IMODE(found.st_mode) & _OPEN_TO_OTHERS:
        return f"its mode is {stat.S_IMODE(found.st_mode):04o}, so others can open it; {inside}, or chmod it to 0700"
    return None


def _probe(folder: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=_PROBE, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_CONTENT)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    Path(name).unlink()
    sync_folder(folder)

"""A store's file has one name.

What was committed last is in the ``-wal`` file beside it, and who may read and write is in the ``-shm`` file. SQLite
finds both by the name that the file was opened by. By another name it finds others, or none: two processes then claim
the same logins, and each writes over what the other has committed.
"""

import os
import stat
import time
from datetime import timedelta

from mesh_refresh.stores.errors import StoreRefused, StoreUnavailable
from mesh_refresh.stores.sqlite.connection import mounts

SIDES = ("-wal", "-shm")
"""How the names of the files beside it end."""

_OF_FILE = range(0x40000000, 0x40000000 + 512)
_OF_MEMORY = range(120, 129)
"""Where in these files SQLite puts its locks: see its os.h and wal.c."""
_PAUSE, _MOMENT = 0.01, 0.25
_FOLDER = "Mount the folder that holds it instead."

Identity = tuple[int, int] | None
"""Device and number of a file; None where there is none."""


def check_name(path: str) -> None:
    """Raises `StoreRefused` where the file, or one of those beside it, may have a second name."""
    folder = mounts.mount_number(os.path.dirname(path) or ".")  # noqa: PTH120 - as in the whole module: text, not Path
    _check_place(path, folder)
    for name in (path, *(path + side for side in SIDES)):
        _check_one(path, name, folder)


def check_holders(path: str, patience: timedelta) -> None:
    """Raises `StoreUnavailable` where a process has the file open by another name, or had it when it was moved.

    Who has the file open holds a lock on it and one on its ``-shm``. A process that opens or closes it just now has one
    of them for a moment. Processes of other containers cannot be seen.
    """
    end = time.monotonic() + max(patience.total_seconds(), _MOMENT)
    while strangers := _strangers(path):
        if time.monotonic() > end:
            raise StoreUnavailable(
                f"The store {path} is in use by another name, or was moved or replaced (or a file beside it removed) "
                f"while it was open, by process {', '.join(sorted(strangers, key=int))}. What that has committed last "
                "cannot be seen by this name: end it first."
            )
        time.sleep(_PAUSE)


def has_it_alone(place: mounts.Mount | None, file: tuple[int, int]) -> bool:
    """Whether it is certain that no other process has this file open, by any name."""
    return place is not None and _holders(mounts.locks(place), file, _OF_FILE) == {str(os.getpid())}


def identity(path: str) -> Identity:
    """Which file has this name now."""
    return identity_and_size(path)[0]


def identity_and_size(path: str) -> tuple[Identity, int]:
    """The same, and its bytes."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat, for each group
    except OSError:
        return None, 0
    return (found.st_dev, found.st_ino), found.st_size


def _check_place(path: str, folder: str | None) -> None:
    place = mounts.mount(folder)
    if place is not None and place.is_shared:
        raise StoreRefused(
            f"The store {path} is on a network file system, or on one that shows files by a second name "
            f"({place.kind}). Locks and memory are not shared there, and what was committed would be lost. Put it on a "
            "local disk (for a container, into a volume on one), or use PostgreSQL."
        )


def _check_one(path: str, name: str, folder: str | None) -> None:
    try:
        found = os.lstat(name)
    except OSError:
        return  # it is made, or opening it says what is wrong
    what = f"The store {path}" if name == path else f"The file {name}, which belongs to the store,"
    if stat.S_ISDIR(found.st_mode):
        return  # opening it says so
    if not stat.S_ISREG(found.st_mode):
        raise StoreRefused(f"{what} is a link, a device or a pipe, and should be a file. Nothing was changed.")
    if found.st_nlink > 1:
        raise StoreRefused(
            f"{what} has {found.st_nlink} names (hard links): by another one, what was committed last is not found. "
            f"End what has it open, and remove the other names. Is it shared with a container? {_FOLDER}"
        )
    if folder is not None and mounts.mount_number(name) not in (folder, None):
        raise StoreRefused(
            f"{what} is mounted as a single file: where it comes from, it has another name, and by that what was "
            f"committed last is not found. {_FOLDER}"
        )


def _strangers(path: str) -> set[str]:
    """Processes that have the file open, but not with the files beside it that have these names, or the other way."""
    place = mounts.mount(mounts.mount_number(path))
    if place is None:
        return set()
    taken = mounts.locks(place)
    of_file = _holders(taken, identity(path), _OF_FILE)
    of_memory = _holders(taken, identity(path + "-shm"), _OF_MEMORY)
    if of_memory and identity(path + "-wal") is None:
        return of_memory  # closing, SQLite removes it last
    return of_file ^ of_memory


def _holders(taken: list[mounts.Lock], file: Identity, places: range) -> set[str]:
    """The processes that have a lock of SQLite's on `file`: from others, such as that of ``flock``, nothing follows."""
    return {lock.process for lock in taken if file is not None and lock.inode == file[1] and lock.start in places}

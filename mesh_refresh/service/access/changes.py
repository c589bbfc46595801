"""Changes of an access file: it appears whole, one process at a time writes it, and it keeps its owner."""

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.files import sync_folder, write_new_file
from mesh_refresh.service.access.file import read_file
from mesh_refresh.service.access.keys import AccessKey, write_keys


def change_keys(path: Path, change: Callable[[tuple[AccessKey, ...]], Iterable[AccessKey]]) -> None:
    """Replace the keys in the file at `path` (none, where there is no file) by those that `change` makes of them.

    Links are followed. The file has mode 0600. Raises `InvalidRequest` where it cannot be read or used, and `OSError`
    where it cannot be written.
    """
    real = Path(os.path.realpath(path))
    with _alone_in(real.parent):
        owner = real.stat() if real.exists() else None
        keys = () if owner is None else read_file(real)
        new = write_new_file(real.parent, f".{real.name}.", write_keys(change(keys)).encode())
        try:
            if owner is not None and os.name == "posix" and owner.st_uid != os.geteuid():
                os.chown(new, owner.st_uid, owner.st_gid)
            new.replace(real)
        except BaseException:
            with suppress(OSError):
                new.unlink()
            raise
    sync_folder(real.parent)


def add_key(key: AccessKey) -> Callable[[tuple[AccessKey, ...]], Iterable[AccessKey]]:
    """A change: `key` is added. Raises `InvalidRequest` where one of its name is there."""

    def add(keys: tuple[AccessKey, ...]) -> Iterable[AccessKey]:
        if any(known.name == key.name for known in keys):
            raise InvalidRequest("There is an access key of this name. Nothing was changed: revoke it first.")
        return (*keys, key)

    return add


def revoke_key(name: str) -> Callable[[tuple[AccessKey, ...]], Iterable[AccessKey]]:
    """A change: the key with this name is taken out. Raises `InvalidRequest` where there is none."""

    def revoke(keys: tuple[AccessKey, ...]) -> Iterable[AccessKey]:
        if all(known.name != name for known in keys):
            raise InvalidRequest("There is no access key of this name. Nothing was changed.")
        return (known for known in keys if known.name != name)

    return revoke


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Wait for other processes that change a file here. Raises `OSError`."""
    if os.name != "posix":
        yield
        return
    import fcntl  # noqa: PLC0415 - Windows has no advisory locks of this kind

    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

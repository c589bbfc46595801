"""A folder of files where new tokens wait, sealed, while the store fails. The next start reads them.

A file has a magic line, a checksum, and a sealed document of an attempt and its result.
"""

import asyncio
import functools
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.files import sync_folder, write_new_file
from mesh_refresh.keeper.rules.attempt import Attempt, ExchangeResult, NewerVersion, Unreadable, from_text, to_text
from mesh_refresh.masking import MaskedBytes, MaskedStr
from mesh_refresh.stores import Sealing, StoreDamaged, StoreUnavailable, WrongKey
from mesh_refresh.stores.errors import StoreOfNewerVersion, StoreRefused
from mesh_refresh.stores.key_ids import KEY_PREFIX, key_id_of

_SUFFIX = ".settlement"
_ORPHAN = ".orphan"
_DAMAGED = ".damaged"
_NEW = ".new-"
_PROBE = ".probe-"
_OPEN_TO_OTHERS = 0o077
_CONTEXT = "spool"
_HEAD = b"mesh_refresh spool 1\n"
_SEALED = (b"\x01", b"plain\0")
_DIGEST = hashlib.sha256().digest_size

_T = TypeVar("_T")

_log = logging.getLogger("mesh_refresh.keeper")


@frozen
class SpoolFile:
    """One file of the spool."""

    path: Path
    attempt: Attempt
    result: ExchangeResult


def files(folder: Path) -> list[Path]:
    """The files of a spool, with those that were set aside and those that a crash left under their first name."""
    if not folder.is_dir():
        return []
    kept = (_SUFFIX, _ORPHAN, _DAMAGED)
    return [path for path in folder.iterdir() if path.suffix in kept or path.name.startswith(_NEW)]


@frozen
class SpoolEntry:
    """One file of a spool, as `look` finds it."""

    path: Path
    login_id: str | None
    """Whose tokens it has. None: it does not open, and may be of any login."""
    error: MeshRefreshError | None = None
    """Why it does not open."""

    @property
    def is_waiting(self) -> bool:
        """Whether its tokens are still to be written. False: it was set aside."""
        return self.path.suffix not in (_ORPHAN, _DAMAGED)

    @property
    def is_damaged(self) -> bool:
        """Whether it was set aside because it cannot be read. No start reads it any more."""
        return self.path.suffix == _DAMAGED


def look(folder: Path, cipher: Sealing) -> Iterator[SpoolEntry]:
    """The files of a spool, one after the other. Nothing is changed. Raises `OSError` where one cannot be read."""
    for path in sorted(files(folder)):
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise InvalidRequest("It is no file.")  # reading a pipe would hang
            yield SpoolEntry(path, unsealed(cipher, path.read_bytes())[0].login_id)
        except FileNotFoundError:
            continue  # a worker has written its tokens into the store meanwhile
        except (WrongKey, InvalidRequest, StoreDamaged) as error:
            yield SpoolEntry(path, None, error)


def sealed_by(path: Path) -> str | None:
    """The id of the key that sealed a file of the spool; None where it is gone, or was not written to its end."""
    if not path.is_file():
        return None  # reading a pipe would hang
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD) + _DIGEST + KEY_PREFIX)
    except OSError:
        return None
    return key_id_of(head[len(_HEAD) + _DIGEST :]) if head.startswith(_HEAD) else None


def unsealed(cipher: Sealing, content: bytes) -> tuple[Attempt, ExchangeResult]:
    """The content of a file. Raises `WrongKey`, and `InvalidRequest` where it is not whole.

    A checksum before the sealed value tells a file that is not whole from one of another key, which may come back. A
    file without one that begins like a sealed value may be whole: it is of another key where it does not open.
    """
    content = MaskedBytes(content)
    if content.startswith(_HEAD):
        digest, content = content[len(_HEAD) :][:_DIGEST], MaskedBytes(content[len(_HEAD) + _DIGEST :])
        if digest != hashlib.sha256(content).digest():
            raise InvalidRequest("This file is not whole.")
    elif not content.startswith(_SEALED):
        raise InvalidRequest("This file is none of a spool.")
    return from_text(MaskedStr(cipher.open(content, _CONTEXT)))


class Spool:
    """A folder, mode 0700, with a sealed file (mode 0600) for each outcome that is not in the store yet."""

    def __init__(self, folder: str | os.PathLike[str], cipher: Sealing) -> None:
        self._folder = Path(folder)
        self._cipher = cipher

    def __repr__(self) -> str:
        return f"<Spool {self._folder}>"

    async def write(self, attempt: Attempt, result: ExchangeResult) -> Path:
        """Write a new file, durable when this returns. Gives its path. Raises `StoreUnavailable`."""
        sealed = MaskedBytes(self._cipher.seal(MaskedStr(to_text(attempt, result)), _CONTEXT))
        content = MaskedBytes(_HEAD + hashlib.sha256(sealed).digest() + sealed)
        return await self._in_thread(lambda: self._write(content))

    async def prepare(self) -> None:
        """Make the folder, and test it with a file. Raises `InvalidRequest` or `StoreRefused`, which name the path."""
        await asyncio.get_running_loop().run_in_executor(None, _prepare, self._folder)

    async def read(self) -> list[SpoolFile]:
        """The readable files, the oldest first, late replies last; also files that were set aside or left by a crash.

        Raises `WrongKey` or `StoreOfNewerVersion` where a file needs another key or a newer version of this package:
        its tokens may be newer than the store's. A damaged file is renamed to ``.damaged``, with an error in the log.
        """
        spooled, damaged = [], []
        for path, content in await self._in_thread(self._read):
            try:
                if content is None:
                    raise InvalidRequest("This is no file.")
                spooled.append(SpoolFile(path, *unsealed(self._cipher, content)))
            except WrongKey:
                if path.suffix == _SUFFIX:
                    raise WrongKey(f"The file {path} of the spool is not sealed with any of these keys.") from None
                _log.warning("a file of the spool is of another key: %s", path)
            except NewerVersion as error:
                raise StoreOfNewerVersion(f"The file {path} of the spool cannot be read. {error}") from None
            except (InvalidRequest, StoreDamaged):
                if path.suffix == _SUFFIX:
                    damaged.append(path)
                else:
                    _log.warning("a file of the spool is not whole: %s", path)
        for path in damaged:
            aside = path.with_suffix(_DAMAGED)
            await self._in_thread(functools.partial(path.rename, aside))
            _log.error("a file of the spool is damaged, and was set aside: a login may have lost its tokens: %s", aside)
        return sorted(spooled, key=lambda file: isinstance(file.result, Unreadable) and file.result.late)

    async def forget(self, path: Path) -> None:
        """Delete a file: its result is in the store."""
        await self._in_thread(lambda: path.unlink(missing_ok=True))

    async def set_aside(self, path: Path) -> None:
        """Rename a file to ``.orphan``: the store does not have its login, which was removed or is of another store.

        Each start reads it again: the row's epoch, which no other store has, tells whether the login is there.
        """
        await self._in_thread(lambda: path.rename(path.with_suffix(_ORPHAN)))

    def _write(self, content: bytes) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = write_new_file(self._folder, _NEW, content)
        final = path.with_name(path.name.removeprefix(_NEW) + _SUFFIX)
        try:
            path.rename(final)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)
        return final

    def _read(self) -> list[tuple[Path, MaskedBytes | None]]:
        """Each path with its content, the oldest first; None: no regular file, and reading a pipe would hang."""
        found = []
        for path in files(self._folder):
            try:
                known = path.lstat()
                content = MaskedBytes(path.read_bytes()) if stat.S_ISREG(known.st_mode) else None
            except FileNotFoundError:
                continue  # another process has brought it into the store
            found.append((known.st_mtime_ns, path, content))
        return [(path, content) for _, path, content in sorted(found, key=lambda it: it[:2])]

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work)
        except OSError as error:
            reason, path = error.strerror or type(error).__name__, error.filename or self._folder
        raise StoreUnavailable(f"The spool cannot be used: {path}: {reason}.")


def _prepare(folder: Path) -> None:
    """Make `folder` where it is missing (mode 0700), then write, sync and delete a file in it.

    Raises `InvalidRequest` for a path that must not be a spool: a file, a folder of another user, or a folder that
    others can open. An existing folder is never chmodded. Raises `StoreRefused` where the system refuses.
    """
    shown = folder.absolute()
    try:
        _make(folder)
        wrong = why_unfit(folder)
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


def why_unfit(folder: Path) -> str | None:
    """Why `folder` must not hold tokens; None: it may. Raises `OSError`."""
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
    write_new_file(folder, _PROBE, b"mesh_refresh tries whether it can write here").unlink()
    sync_folder(folder)

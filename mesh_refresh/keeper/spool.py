"""Where new tokens wait, sealed, while the store is gone: a folder of files that the next start reads again."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.attempts import Attempt, Kept, Unreadable, from_text, to_text
from mesh_refresh.masking import MaskedBytes, MaskedStr
from mesh_refresh.stores import Sealing, StoreDamaged, StoreUnavailable, WrongKey
from mesh_refresh.syncing import sync_folder

_SUFFIX = ".settlement"
_ORPHAN = ".orphan"
_NEW = ".new-"
_CONTEXT = "spool"

_T = TypeVar("_T")

_log = logging.getLogger("mesh_refresh.keeper")


@frozen
class Spooled:
    """One file of the spool."""

    path: Path
    attempt: Attempt
    kept: Kept


def files(folder: Path) -> list[Path]:
    """What is in a spool: also what was set aside, and what a crash left under its first name."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.suffix in (_SUFFIX, _ORPHAN) or path.name.startswith(_NEW)]


def unsealed(cipher: Sealing, sealed: bytes) -> tuple[Attempt, Kept]:
    """The content of a file. Raises `WrongKey`, and `InvalidRequest` where it is not whole."""
    return from_text(MaskedStr(cipher.open(sealed, _CONTEXT)))


class Spool:
    """A folder, mode 0700, with a sealed file (mode 0600) for each outcome that is not in the store yet."""

    def __init__(self, folder: str | os.PathLike[str], cipher: Sealing) -> None:
        self._folder = Path(folder)
        self._cipher = cipher

    def __repr__(self) -> str:
        return f"<Spool {self._folder}>"

    async def write(self, attempt: Attempt, kept: Kept) -> Path:
        """A new file, on the disk when this returns. Raises `StoreUnavailable` where it cannot be."""
        sealed = MaskedBytes(self._cipher.seal(MaskedStr(to_text(attempt, kept)), _CONTEXT))
        return await _in_thread(lambda: self._write(sealed))

    async def read(self) -> list[Spooled]:
        """Everything that is in it, the oldest first, and late replies last.

        Raises `WrongKey` or `StoreDamaged`, and changes nothing then.

        That is also what was set aside, and what a crash left under its first name, as far as these can be read.
        """
        spooled = []
        for path, sealed in await _in_thread(self._read):
            try:
                spooled.append(Spooled(path, *self._opened(path, sealed)))
            except (WrongKey, StoreDamaged):
                if path.suffix == _SUFFIX:
                    raise
                _log.warning("a file of the spool is not whole, or of another key: %s", path.name)
        return sorted(spooled, key=lambda it: isinstance(it.kept, Unreadable) and it.kept.late)

    async def forget(self, path: Path) -> None:
        """It is in the store now."""
        await _in_thread(lambda: path.unlink(missing_ok=True))

    async def set_aside(self, path: Path) -> None:
        """It is of a login that the store does not have: removed, or of another store that has the same spool.

        Another name tells that to somebody who looks at the folder. The row's epoch, which no other store has, tells
        whose it is: every start reads it again.
        """
        await _in_thread(lambda: path.rename(path.with_suffix(_ORPHAN)))

    def _opened(self, path: Path, sealed: bytes) -> tuple[Attempt, Kept]:
        try:
            return unsealed(self._cipher, sealed)
        except WrongKey:
            raise WrongKey(f"The file {path} of the spool is not sealed with any of these keys.") from None
        except InvalidRequest as error:
            raise StoreDamaged(f"The file {path.name} of the spool cannot be read. {error}") from None

    def _write(self, sealed: bytes) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_NEW, dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            path = Path(name)
            final = path.with_name(path.name.removeprefix(_NEW) + _SUFFIX)
            path.rename(final)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(self._folder)
        return final

    def _read(self) -> list[tuple[Path, MaskedBytes]]:
        found = []
        for path in files(self._folder):
            try:
                found.append((path.stat().st_mtime_ns, path, MaskedBytes(path.read_bytes())))
            except FileNotFoundError:
                continue  # another process has written it into the store meanwhile
        return [(path, sealed) for _, path, sealed in sorted(found)]


async def _in_thread(work: Callable[[], _T]) -> _T:
    try:
        return await asyncio.get_running_loop().run_in_executor(None, work)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise StoreUnavailable(f"The spool cannot be used: {reason}.")

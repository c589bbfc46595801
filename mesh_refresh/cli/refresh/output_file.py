"""The file of ``--output``: made, locked and tried out before anything is sent, and replaced as a whole."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from mesh_refresh.cli.refresh import files
from mesh_refresh.cli.refresh.files import Owner
from mesh_refresh.cli.refresh.source import Source
from mesh_refresh.cli.terminal.messages import Failure, system_reason
from mesh_refresh.files import sync_folder

_REASONS = {
    errno.EBUSY: "it is a mount point; mount its folder, and name a file in that folder",
    errno.EPERM: "the system lets no program replace it, or only with a file of another owner",
}


class TakenError(OSError):
    """Another program has replaced or changed the file."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, "another program has replaced or changed it meanwhile")


class OutputFile:
    """The output file, locked from `claim` to `close`: no other run works on it."""

    def __init__(self, path: Path, handle: int, *, owner: Owner, in_place: bool, was_made: bool) -> None:
        self.path = path
        self.owner = owner
        """The owner of its replacements: a file that root refreshes stays with its user."""
        self.in_place = in_place
        """Whether it is also the input."""
        self._temporary = f".{path.name}.", ".new"
        """How the names of its temporary files begin and end."""
        self._was_made = was_made
        self._handle = handle
        self._stamp = _stamp(handle)

    @classmethod
    def claim(cls, path: Path, source: Source | None) -> Self:
        """Lock the file at `path`, and make it if it does not exist. Raises `Failure` if it cannot be the output."""
        try:
            while True:
                found = cls._open(path, source)
                if found.is_there():
                    return found
                found.close()  # another run has replaced it between the opening and the lock: the new file counts
        except OSError as error:
            raise refused(error) from None

    @classmethod
    def _open(cls, path: Path, source: Source | None) -> Self:
        if path.is_dir():
            raise Failure("--output is a directory. Nothing was sent. Name a file.")
        if os.path.exists(path) and not os.path.isfile(path):
            raise Failure("--output is no ordinary file. Nothing was sent. Leave it out to write to standard output.")
        try:
            handle, was_made = files.make(path), True
        except FileExistsError:
            handle, was_made = files.open_to_read(path), False
        in_place = False
        try:
            status = os.fstat(handle)
            if source is not None and os.path.samestat(source.status, status):
                if source.path != path:
                    raise Failure("FILE and --output are two names of one file. Nothing was sent. Use one name.")
                opened, handle, in_place = handle, os.dup(source.handle), True  # which shares its lock
                files.close(opened)
            elif not was_made:
                files.lock(handle)
            if not os.access(path, os.W_OK):
                raise Failure("--output is write-protected. Nothing was sent.")
            return cls(path, handle, owner=files.owner_of(status), in_place=in_place, was_made=was_made)
        except BaseException:
            files.discard(handle, path) if was_made else files.close(handle)
            raise

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return os.fstat(self._handle).st_size

    def content(self) -> bytes:
        """Its content."""
        return files.read(self._handle)

    def copies(self) -> Iterator[Path]:
        """Temporary files beside it that interrupted runs have left."""
        return files.find_named(self.path.parent, *self._temporary)

    def try_out(self) -> None:
        """Replace the file by a copy of itself. Raises `OSError` if the system does not allow that.

        It finds a mount point, a folder without rights, a full disk and an immutable file before a token is spent.
        """
        self._swap(self.content(), like=os.fstat(self._handle))

    def replace(self, data: bytes) -> None:
        """Write `data`, as a whole and with mode 0600. Raises `OSError`, and then keeps the former content.

        Raises `TakenError` if another program has changed the file.
        """
        if not self.is_ours():
            raise TakenError
        self._swap(data)
        self._was_made = False

    def is_there(self) -> bool:
        """Whether its path still names the locked file."""
        return files.is_at(self._handle, self.path)

    def is_ours(self) -> bool:
        """Whether no other program has replaced or changed it."""
        try:
            return self.is_there() and _stamp(self._handle) == self._stamp
        except OSError:
            return False

    def close(self) -> None:
        """Unlock the file. One that was made and not written is removed."""
        if self._was_made and self.is_ours():
            files.discard(self._handle, self.path)
        else:
            files.close(self._handle)

    def _swap(self, data: bytes, like: os.stat_result | None = None) -> None:
        temporary, handle = files.make_named(self.path.parent, *self._temporary, self.owner)
        try:
            files.write(handle, data)
            if like is not None and os.name == "posix":
                os.fchmod(handle, stat.S_IMODE(like.st_mode))
                os.utime(handle, ns=(like.st_atime_ns, like.st_mtime_ns))  # lifetimes may count from it
            os.replace(temporary, self.path)
        except BaseException:
            files.discard(handle, temporary)
            raise
        held, self._handle, self._stamp = self._handle, handle, _stamp(handle)
        files.close(held)
        sync_folder(self.path.parent)


def _stamp(handle: int) -> tuple[int, int]:
    """The size and the time of change of the file."""
    status = os.fstat(handle)
    return status.st_size, status.st_mtime_ns


def refused(error: OSError) -> Failure:
    """The failure for an error of the output before anything is sent."""
    reason = _REASONS.get(error.errno or 0) or system_reason(error)
    return Failure(f"--output cannot be written: {reason}. Nothing was sent.")

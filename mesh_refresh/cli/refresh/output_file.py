"""The file of ``--output``: made, locked and tried before anything is sent, and replaced as a whole."""

import errno
import os
import stat
from pathlib import Path
from typing import Self

from mesh_refresh.cli.refresh import files
from mesh_refresh.cli.refresh.files import Owner
from mesh_refresh.cli.refresh.source import Source
from mesh_refresh.cli.terminal.messages import Failure, system_reason
from mesh_refresh.fsync import sync_folder

_REASONS = {
    errno.EBUSY: "it is a mount point: mount its folder, and name a file in that",
    errno.EPERM: "the system lets no program replace it, or not with a file of its owner's",
}


class TakenError(OSError):
    """Another program has put something else in the place of the file."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, "another program has replaced or changed it meanwhile")


class OutputFile:
    """A file that is ours from `claim` to `close`: no other run works on it."""

    def __init__(self, path: Path, handle: int, *, owner: Owner, in_place: bool, was_made: bool) -> None:
        self.path = path
        self.owner = owner
        """Whose its successors are: a file that root refreshes stays its user's."""
        self.in_place = in_place
        """Whether it is the input too."""
        self._was_made = was_made
        self._handle = handle
        self._stamp = _stamp(handle)

    @classmethod
    def claim(cls, path: Path, source: Source | None) -> Self:
        """The file at `path`, locked; made where there was none. Raises `Failure` where it cannot be the output."""
        try:
            while True:
                found = cls._open(path, source)
                if found.is_there():
                    return found
                found.close()  # another run has replaced it between the opening and the lock: its successor counts
        except OSError as error:
            raise refused(error) from None

    @classmethod
    def _open(cls, path: Path, source: Source | None) -> Self:
        if path.is_dir():
            raise Failure("--output is a directory, not a file.")
        if os.path.exists(path) and not os.path.isfile(path):
            raise Failure("--output is not an ordinary file; leave it out to write to standard output.")
        try:
            handle, was_made = files.make(path), True
        except FileExistsError:
            handle, was_made = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), False
        in_place = False
        try:
            status = os.fstat(handle)
            if source is not None and os.path.samestat(source.status, status):
                if source.path != path:
                    raise Failure("FILE and --output are two names of one file: name it twice by the same name.")
                opened, handle, in_place = handle, os.dup(source.handle), True  # which shares its lock
                files.close(opened)
            elif not was_made:
                files.lock(handle)
            if not os.access(path, os.W_OK):
                raise Failure("--output is write-protected.")
            return cls(path, handle, owner=files.owner_of(status), in_place=in_place, was_made=was_made)
        except BaseException:
            files.discard(handle, path) if was_made else files.close(handle)
            raise

    def content(self) -> bytes:
        """What is in it."""
        return files.read(self._handle)

    def try_out(self) -> None:
        """Replace it by a copy of itself. Raises `OSError` where the system would not let the outcome take its place.

        A mount point, a folder that only looks writable, a disk that is full, a file that is made immutable: nothing
        else tells of all these before a token is spent.
        """
        self._swap(self.content(), like=os.fstat(self._handle))

    def replace(self, data: bytes) -> None:
        """It has `data`, mode 0600, or what it had before. Raises `OSError`; `TakenError` where it is not ours."""
        if not self.is_ours():
            raise TakenError
        self._swap(data)
        self._was_made = False

    def is_there(self) -> bool:
        """Whether its name is still that of the file which is locked."""
        return files.is_at(self._handle, self.path)

    def is_ours(self) -> bool:
        """Whether it is as this run left it."""
        try:
            return self.is_there() and _stamp(self._handle) == self._stamp
        except OSError:
            return False

    def close(self) -> None:
        """Let other runs at it. A file that was made for nothing goes again."""
        if self._was_made and self.is_ours():
            files.discard(self._handle, self.path)
        else:
            files.close(self._handle)

    def _swap(self, data: bytes, like: os.stat_result | None = None) -> None:
        temporary, handle = files.make_named(self.path.parent, f".{self.path.name}.", ".new", self.owner)
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
    """What changes when something is written into the file."""
    status = os.fstat(handle)
    return status.st_size, status.st_mtime_ns


def refused(error: OSError) -> Failure:
    """The failure that tells of this error, before anything is sent."""
    reason = _REASONS.get(error.errno or 0) or system_reason(error)
    return Failure(f"--output cannot be written: {reason}. Nothing was sent.")

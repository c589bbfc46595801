"""The input of ``refresh``: a file that stays open, and so locked, or standard input."""

import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from mesh_refresh.cli.refresh import files
from mesh_refresh.cli.terminal.messages import Failure, say, system_reason
from mesh_refresh.masking import MaskedBytes

STANDARD_INPUT = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})


class Source:
    """The input file: an ordinary one, a pipe of the shell (``<(...)``), or a terminal."""

    def __init__(self, name: str, handle: int) -> None:
        self.path = Path(os.path.realpath(name))
        """The resolved path; without meaning for other than ordinary files."""
        self.handle = handle
        self.status = os.fstat(handle)

    @classmethod
    def open(cls, name: str) -> Self:
        """Open and lock the file. Raises `Failure` if it cannot be opened, or while another run works on it."""
        while True:
            try:
                handle = files.open_to_read(name)
            except (OSError, ValueError) as error:
                raise unreadable(error) from None
            try:
                found = cls(name, handle)
                if stat.S_ISDIR(found.status.st_mode):
                    raise Failure("The input is a directory. Nothing was sent. Name a file.")
                files.lock(handle)
            except BaseException as error:
                files.close(handle)
                if isinstance(error, OSError):
                    raise unreadable(error) from None
                raise
            # If another run has replaced the file between the opening and the lock, the new file counts.
            if not found.is_ordinary or not os.path.exists(name) or files.is_at(handle, Path(name)):
                return found
            found.close()

    @property
    def is_ordinary(self) -> bool:
        """Whether it can be read a second time."""
        return stat.S_ISREG(self.status.st_mode)

    def read(self) -> tuple[MaskedBytes, datetime]:
        """Its content, and when it was written. Raises `Failure` if it cannot be read."""
        now = datetime.now(UTC)
        if self.is_ordinary and self.status.st_mode & 0o077 and os.name == "posix":
            say("note: other users can read the input file: chmod 600 it.")
        try:
            text = MaskedBytes(files.read(self.handle) if self.is_ordinary else _read_stream(self.handle))
        except OSError as error:
            raise unreadable(error) from None
        return text, min(now, datetime.fromtimestamp(self.status.st_mtime, UTC)) if self.is_ordinary else now

    def close(self) -> None:
        """Close it, which lets other runs work on it."""
        files.close(self.handle)


def read_standard_input() -> tuple[MaskedBytes, datetime]:
    """The content of standard input, and now. Raises `Failure` if it is closed or cannot be read."""
    if sys.stdin is None:
        raise Failure("Standard input is closed. Nothing was sent. Name a FILE.")
    try:
        return MaskedBytes(sys.stdin.buffer.read()), datetime.now(UTC)
    except (OSError, ValueError) as error:
        raise unreadable(error) from None


def _read_stream(handle: int) -> bytes:
    with os.fdopen(os.dup(handle), "rb") as file:
        return file.read()


def unreadable(error: Exception) -> Failure:
    """The failure for an input that cannot be read."""
    reason = system_reason(error) if isinstance(error, OSError) else type(error).__name__
    return Failure(f"The input file cannot be read: {reason}. Nothing was sent.")

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

_STANDARD_INPUT = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})


def is_standard_input(name: str) -> bool:
    """Whether it is another name of standard input."""
    return name in _STANDARD_INPUT


class Source:
    """A file of any kind: an ordinary one, a pipe of the shell's (``<(...)``), a terminal."""

    def __init__(self, name: str, handle: int) -> None:
        self.path = Path(os.path.realpath(name))
        """Of an ordinary file; of others it says nothing."""
        self.handle = handle
        self.status = os.fstat(handle)

    @classmethod
    def open(cls, name: str) -> Self:
        """Raises `Failure` where it cannot be opened, or while another mesh-refresh works on it."""
        while True:
            try:
                handle = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except (OSError, ValueError) as error:
                raise unreadable(error) from None
            try:
                found = cls(name, handle)
                if stat.S_ISDIR(found.status.st_mode):
                    raise Failure("The input is a directory, not a file.")
                files.lock(handle)
            except BaseException as error:
                files.close(handle)
                if isinstance(error, OSError):
                    raise unreadable(error) from None
                raise
            # Another run may have replaced the file between the opening and the lock: then its successor counts.
            if not found.is_ordinary or not os.path.exists(name) or files.is_at(handle, Path(name)):
                return found
            found.close()

    @property
    def is_ordinary(self) -> bool:
        """Whether it is a file that can be read again."""
        return stat.S_ISREG(self.status.st_mode)

    def read(self) -> tuple[MaskedBytes, datetime]:
        """What is in it, and when it was written."""
        now = datetime.now(UTC)
        if self.is_ordinary and self.status.st_mode & 0o077 and os.name == "posix":
            say("note: others can read the input file; chmod 600 it.")
        try:
            text = MaskedBytes(files.read(self.handle) if self.is_ordinary else _read_stream(self.handle))
        except OSError as error:
            raise unreadable(error) from None
        return text, min(now, datetime.fromtimestamp(self.status.st_mtime, UTC)) if self.is_ordinary else now

    def close(self) -> None:
        """Let other runs at it."""
        files.close(self.handle)


def read_standard_input() -> tuple[MaskedBytes, datetime]:
    """All of it, and now. Raises `Failure` where it is closed or cannot be read."""
    if sys.stdin is None:
        raise Failure("Standard input is closed, and there is no FILE. Nothing was sent.")
    try:
        return MaskedBytes(sys.stdin.buffer.read()), datetime.now(UTC)
    except (OSError, ValueError) as error:
        raise unreadable(error) from None


def _read_stream(handle: int) -> bytes:
    with os.fdopen(os.dup(handle), "rb") as file:
        return file.read()


def unreadable(error: Exception) -> Failure:
    """The failure that tells of an input which cannot be read."""
    reason = system_reason(error) if isinstance(error, OSError) else type(error).__name__
    return Failure(f"The input file cannot be read: {reason}.")

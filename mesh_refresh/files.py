"""Files that are made to outlive a power cut, and files with secrets that are read again while the program runs."""

import logging
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Generic, TypeVar

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr, hides_locals

_T = TypeVar("_T")

_log = logging.getLogger("mesh_refresh")

_EVERY = 1.0
"""Seconds. The file is read at the most so often: it is small, and no time of a file shows every change of it."""
_LARGEST = 1 << 16
"""Bytes."""


def sync_folder(folder: Path) -> None:
    """What was made or renamed in it stays so after a power cut, where the system can promise that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)


def write_new_file(folder: Path, prefix: str, content: bytes) -> Path:
    """A new file of mode 0600, with `content` on the disk; its name begins with `prefix`. Raises `OSError`.

    Its name is on the disk after `sync_folder`. Where writing fails, the file is removed.
    """
    handle, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return Path(name)


def read_small(path: Path, most: int) -> tuple[os.stat_result, bytes]:
    """What a file is, and what it holds: at most `most` bytes and one more. Of what is no ordinary file, nothing.

    Opening it does not hold up the event loop, whatever it is. Raises `OSError`.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with closing(os.fdopen(handle, "rb")) as file:
        found = os.fstat(handle)
        return found, file.read(most + 1) if stat.S_ISREG(found.st_mode) else b""


def why_unread(error: Exception) -> str:
    """Why a file could not be read, without its path."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__


class WatchedFile(Generic[_T]):
    """What `parse` makes of the text of a file, as the file is now.

    A change is seen within a second, when the value is next asked for. A file that is gone or broken meanwhile is an
    error in the log, and the value stays as it was. `named` follows "The file" in messages, such as "in VARIABLE": a
    path is not shown, because it may be the secret itself. `parse` raises `InvalidRequest` for a text that it refuses,
    and quotes nothing of it; so does the constructor.
    """

    def __init__(self, path: str | Path, named: str, parse: Callable[[str], _T], *, clock: Clock | None = None) -> None:
        self._path, self._named, self._parse = Path(path), named, parse
        self._clock = clock or SystemClock()
        self._text = MaskedStr()
        self._complaint: str | None = None
        self._value = self._read()
        self._read_at = self._clock.monotonic()

    def __repr__(self) -> str:
        return f"<file {self._named}>"

    def __call__(self) -> _T:
        """The value now."""
        now = self._clock.monotonic()
        if now - self._read_at >= _EVERY:
            self._read_at = now
            try:
                self._value, complaint = self._read(), None
            except InvalidRequest as error:
                complaint = str(error)
            if complaint is not None and complaint != self._complaint:
                _log.error("%s What was in it before is used.", complaint)
            self._complaint = complaint
        return self._value

    @hides_locals
    def _read(self) -> _T:
        text = MaskedStr(_text_of(self._path, self._named))
        if text == self._text:
            return self._value
        try:
            value = self._parse(text)
        except InvalidRequest as error:
            wrong = str(error)
        else:
            self._text = text
            return value
        raise InvalidRequest(f"The file {self._named} cannot be used. {wrong}")


@hides_locals
def _text_of(path: Path, named: str) -> str:
    """The text, without blanks around it: editors and `echo` end a file with a line break."""
    try:
        found, content = read_small(path, _LARGEST)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"The file {named} cannot be read: {why_unread(error)}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest(f"The file {named} cannot be read: it is no file.")
    text = content.decode("ascii", "replace").strip()
    if not text or len(content) > _LARGEST or not text.isascii():
        raise InvalidRequest(f"The file {named} holds no secret.")
    return text

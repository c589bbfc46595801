"""Standard output that was closed before the command began (``>&-``): Python has None in its place."""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn


class ClosedOutput(io.TextIOBase):
    """Refuses what is written to it, as a full disk does.

    With None there, click writes nothing and says nothing: the only copy of a new key would be gone. What writes
    nothing to standard output goes on working.
    """

    encoding = "utf-8"
    errors = "strict"

    def write(self, _text: object) -> NoReturn:
        """Raises `OSError`."""
        raise OSError(errno.EBADF, "standard output is closed")

    @property
    def buffer(self) -> "ClosedOutput":
        """For bytes."""
        return self


@contextmanager
def writable_or_told() -> Generator[None]:
    """In here, what writes to a standard output that is closed is told so.

    No file that is opened takes the number of a closed stream: to that, Python itself may write.
    """
    _fill_standard_streams()
    if sys.stdout is not None:
        yield
        return
    stand_in: Any = ClosedOutput()
    sys.stdout = stand_in
    try:
        yield
    finally:
        sys.stdout = None


def _fill_standard_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free


def is_closed(stream: object) -> bool:
    """Whether nothing can be written to it."""
    return isinstance(stream, ClosedOutput)

"""Makes a closed standard output (``>&-``) an error. Python has None in its place, and click writes nothing then."""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn


class ClosedOutput(io.TextIOBase):
    """A stream that refuses every write, as a full disk does. The only copy of a new key must not vanish in silence."""

    encoding = "utf-8"
    errors = "strict"

    def write(self, _text: object) -> NoReturn:
        """Raises `OSError`."""
        raise OSError(errno.EBADF, "standard output is closed")

    @property
    def buffer(self) -> "ClosedOutput":
        """The stream for bytes, which refuses too."""
        return self


@contextmanager
def refuse_closed_output() -> Generator[None]:
    """Inside, a write to a closed standard output raises `OSError`.

    It also opens the null device for each closed standard stream. Else the next opened file would get its number, and
    Python may write to that.
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
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number

"""Saves tokens that the output does not take: in any folder, or on a stream."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mesh_refresh.cli.refresh.files import Owner, write_new

_FOLDERS: tuple[Callable[[], Path], ...] = (
    Path.cwd,
    Path.home,
    lambda: Path(tempfile.gettempdir()),
    lambda: Path("/var/tmp"),  # noqa: S108 - the file is made for its owner only, under a random name
    lambda: Path("/dev/shm"),  # noqa: S108 - as above; it lasts until the next start of the machine
)
"""Each may be missing, and finding it may raise any error."""


def keep_in_a_file(
    data: bytes, first: Path | None = None, *, prefix: str, suffix: str, owner: Owner | None = None
) -> Path | None:
    """Write `data` into a new file, in the folder `first` or another. Returns its path; None if every folder fails."""
    folders = _FOLDERS if first is None else (lambda: first, *_FOLDERS)
    for folder in folders:
        try:
            return write_new(folder(), prefix, suffix, data, owner)
        except Exception:  # noqa: BLE001, S112 - the next place may do, and nothing may come before trying it
            continue
    return None


def keep_on_a_stream(text: bytes, *, stdout: bool) -> str | None:
    """Print `text` on standard output or on the terminal of standard error. Returns the name of the stream, or None."""
    takers: Sequence[tuple[str, Callable[[bytes], None]]] = (
        *((("standard output", print_out),) if stdout else ()),
        ("the terminal", _print_on_terminal),
    )
    for name, take in takers:
        try:
            take(text)
        except Exception:  # noqa: BLE001, S112 - as above
            continue
        return name
    return None


def print_out(text: bytes) -> None:
    """Write all of `text` to standard output. Raises the error of the system."""
    stream = sys.stdout.buffer
    _set_blocking(stream)
    stream.write(text)
    stream.flush()


def silence_stdout() -> None:
    """Let Python flush standard output into the null device at exit: else it would complain there."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return


def _print_on_terminal(text: bytes) -> None:
    if not sys.stderr.isatty():
        raise OSError  # a log is no place for tokens
    sys.stderr.buffer.write(text)
    sys.stderr.flush()


def _set_blocking(stream: object) -> None:
    """Wait for room in a pipe: another process may have made it non-blocking."""
    try:
        os.set_blocking(stream.fileno(), True)  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return

"""Where tokens go that cannot be written where they should be: any place that takes them."""

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
"""Each may be missing, and asking for it may fail in any way."""


def keep_in_a_file(
    data: bytes, first: Path | None = None, *, prefix: str, suffix: str, owner: Owner | None = None
) -> Path | None:
    """The file that has `data` now, in the folder `first` or another; None where no folder takes it."""
    folders = _FOLDERS if first is None else (lambda: first, *_FOLDERS)
    for folder in folders:
        try:
            return write_new(folder(), prefix, suffix, data, owner)
        except Exception:  # noqa: BLE001, S112 - the next place may do, and nothing may come before trying it
            continue
    return None


def keep_on_a_stream(text: bytes, *, stdout: bool) -> str | None:
    """The name of the stream that has taken `text`: standard output, or the terminal of standard error."""
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
    """Write to standard output, all of it. Raises what the system raises."""
    stream = sys.stdout.buffer
    _set_blocking(stream)
    stream.write(text)
    stream.flush()


def silence_stdout() -> None:
    """Python flushes it once more at its exit, and would complain there."""
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
    """Another process may have made the pipe refuse what it has no room for at once."""
    try:
        os.set_blocking(stream.fileno(), True)  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return

"""Messages on standard error: one line each, without characters that could steer a terminal."""

import errno
import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

import click

from mesh_refresh.cli.terminal.child import CHILD
from mesh_refresh.cli.terminal.exit_codes import Exit


class Failure(Exception):
    """Ends the command with one line and an exit code. The line says what to do."""

    def __init__(self, message: str, code: Exit = Exit.INVALID) -> None:
        super().__init__(message)
        self.code = code


def one_line(text: str) -> str:
    """`text` without line breaks and control characters: parts of it may come from a server."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def say(text: str) -> None:
    """Print a line on standard error. It never fails: a terminal that has gone away must not cost a token."""
    if secret := _client_secret():
        # Parts of a message may come from a server, and servers echo what they were sent.
        text = text.replace(secret, "***")
    child = CHILD.get()
    speaker = "mesh-refresh" if child is None else f"mesh-refresh[{child.name}]"
    try:
        click.echo(f"{speaker}: {one_line(text)}", err=True)
    except (OSError, ValueError):
        return


def _client_secret() -> str | None:
    """The secret in the environment, or in the file that it names."""
    path = Path(os.environ.get("MESH_CLIENT_SECRET_FILE") or os.devnull)
    with suppress(OSError, ValueError):
        if path.is_file():  # reading a pipe would hang
            return path.read_text().strip()
    return os.environ.get("MESH_CLIENT_SECRET")


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 login``, ``2 logins``."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def format_path(path: Path) -> str:
    """`path`, in quotes if it has characters that a message cannot show: it can be copied."""
    text = str(path)
    return text if one_line(text) == text else repr(text)


def describe_bug(error: BaseException) -> str:
    """A line about an unexpected error: its type and place. Its text is left out, which may quote a token."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    return f"{where}. This is a bug in mesh-refresh. Please report this line."


def is_of_output(error: BaseException) -> TypeGuard[OSError]:
    """Whether `error` is about writing: there is no room, or the stream is closed."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF)


def system_reason(error: OSError) -> str:
    """The reason that the system gives, without the path: a token may stand there by mistake."""
    return error.strerror or type(error).__name__

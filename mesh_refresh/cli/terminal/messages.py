"""What a person reads: one line each, on standard error, with nothing in it that could steer a terminal."""

import errno
import os
import traceback
from pathlib import Path
from typing import TypeGuard

import click

from mesh_refresh.cli.terminal.exit_codes import Exit


class Failure(Exception):
    """Ends the command with one line and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.INVALID) -> None:
        super().__init__(message)
        self.code = code


def one_line(text: str) -> str:
    """`text` without line breaks and control characters: parts of it come from a server."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def say(text: str) -> None:
    """Tell the person. A terminal that has gone away must not cost a token, so this never fails."""
    secret = os.environ.get("MESH_CLIENT_SECRET")
    if secret:
        # Parts of a message are a server's, and servers echo what they were sent.
        text = text.replace(secret, "***")
    try:
        click.echo(f"mesh-refresh: {one_line(text)}", err=True)
    except (OSError, ValueError):
        return


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 login``, ``2 logins``."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def shown(path: Path) -> str:
    """A path that can be told from the words around it, and copied."""
    text = str(path)
    return text if text.isprintable() and one_line(text) == text else repr(text)


def bug(error: BaseException) -> str:
    """What was raised and where; not its text, which may quote a token."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    return f"{where}. This is a bug in mesh-refresh; please report it."


def is_of_output(error: BaseException) -> TypeGuard[OSError]:
    """Whether it says that there is no room for what is written, or that nothing can be written there at all."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF)


def system_reason(error: OSError) -> str:
    """Why the system would not, without the path: what was typed there may have been a token."""
    return error.strerror or type(error).__name__

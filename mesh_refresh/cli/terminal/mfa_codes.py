"""Reads MFA codes from a terminal, standard input or the environment; never from the command line."""

import getpass
import os
import sys
import warnings
from collections.abc import Callable

from mesh_refresh.cli.terminal.messages import Failure, one_line

CODE_VARIABLE = "MESH_MFA_CODE"


CodeSource = Callable[[str, str | None], str | None]
"""Gives a code for the named account; None if there is none. The second argument is the hint of the broker, if any."""


def code_source(*, from_stdin: bool, prompt: bool) -> CodeSource:
    """Standard input with `from_stdin`; else the environment if it has a code; else, with `prompt`, a terminal.

    Raises `Failure` if standard input is closed and has to be read.
    """
    if from_stdin:
        if sys.stdin is None:
            raise Failure("--code-stdin was given, and standard input is closed. Nothing was sent.")
        return _read_line
    if code := os.environ.get(CODE_VARIABLE, "").strip():
        once = iter((code,))  # for one question
        return lambda *_: next(once, None)
    return _ask_person if prompt and (_is_terminal(sys.stdin) or _is_terminal(sys.stderr)) else lambda *_: None


def _ask_person(account: str, message: str | None) -> str | None:
    """What a person types; None for nothing, or if the terminal would show it."""
    if message:
        print(f"mesh-refresh: {one_line(message)}", file=sys.stderr)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(f"MFA code for {one_line(account)}: ").strip() or None
    except (EOFError, OSError, getpass.GetPassWarning):
        return None


def _read_line(*_: object) -> str | None:
    """The next line of standard input that is not empty; None at the end, or if it cannot be read."""
    try:
        return next((line.strip() for line in sys.stdin if line.strip()), None)
    except (OSError, ValueError):
        return None


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except ValueError:
        return False

"""Reads MFA codes from a terminal, standard input or the environment; never from the command line."""

import getpass
import os
import sys
import warnings
from typing import Protocol

from mesh_refresh.cli.terminal.messages import Failure, one_line

CODE_VARIABLE = "MESH_MFA_CODE"


class CodeSource(Protocol):
    """Where codes come from."""

    def ask(self, account: str, message: str | None, /) -> str | None:
        """A code for the named account; None if there is none. `message` is the hint of the broker, if any."""
        ...


class Terminal:
    """A person types the code. It is not shown."""

    def ask(self, account: str, message: str | None, /) -> str | None:
        """What was typed; None for nothing, or if the terminal would show it."""
        if message:
            print(f"mesh-refresh: {one_line(message)}", file=sys.stderr)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", getpass.GetPassWarning)
                return getpass.getpass(f"MFA code for {one_line(account)}: ").strip() or None
        except (EOFError, OSError, getpass.GetPassWarning):
            return None


class StandardInput:
    """Standard input has one line for each question."""

    def ask(self, _account: str, _message: str | None, /) -> str | None:
        """The next line that is not empty; None at the end, or if it cannot be read."""
        try:
            return next((line.strip() for line in sys.stdin if line.strip()), None)
        except (OSError, ValueError):
            return None


class Environment:
    """The environment has one code, for one question."""

    def __init__(self) -> None:
        self._code = os.environ.get(CODE_VARIABLE, "").strip() or None

    def ask(self, _account: str, _message: str | None, /) -> str | None:
        """The code; None from the second time on."""
        code, self._code = self._code, None
        return code


class NoCode:
    """There is no source of codes."""

    def ask(self, _account: str, _message: str | None, /) -> str | None:
        """None."""
        return None


def code_source(*, from_stdin: bool, prompt: bool) -> CodeSource:
    """Standard input with `from_stdin`; else the environment if it has a code; else, with `prompt`, a terminal.

    Raises `Failure` if standard input is closed and has to be read.
    """
    if from_stdin:
        if sys.stdin is None:
            raise Failure("--code-stdin was given, and standard input is closed. Nothing was sent.")
        return StandardInput()
    if os.environ.get(CODE_VARIABLE, "").strip():
        return Environment()
    return Terminal() if prompt and (_is_terminal(sys.stdin) or _is_terminal(sys.stderr)) else NoCode()


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except ValueError:
        return False

"""Where MFA codes come from: a terminal, standard input or the environment, never the command line."""

import getpass
import os
import sys
import warnings
from typing import Protocol

from mesh_refresh import MfaRequired
from mesh_refresh.cli.terminal.messages import Failure, one_line

CODE_VARIABLE = "MESH_MFA_CODE"


class CodeSource(Protocol):
    """Asks for codes."""

    def ask(self, account: str, pending: MfaRequired, /) -> str | None:
        """A code for the account of this name, whose broker asked for it; None where there is none to be had."""
        ...


class Terminal:
    """A person who types it, unseen."""

    def ask(self, account: str, pending: MfaRequired, /) -> str | None:
        """What was typed; None for nothing, or where the terminal would show it."""
        said = pending.display_message
        if said:
            print(f"mesh-refresh: {one_line(said)}", file=sys.stderr)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", getpass.GetPassWarning)
                return getpass.getpass(f"MFA code for {one_line(account)}: ").strip() or None
        except (EOFError, OSError, getpass.GetPassWarning):
            return None


class StandardInput:
    """One line for each question."""

    def ask(self, _account: str, _pending: MfaRequired, /) -> str | None:
        """The next line that is not empty; None where there is none, or where it cannot be read."""
        try:
            return next((line.strip() for line in sys.stdin if line.strip()), None)
        except (OSError, ValueError):
            return None


class Environment:
    """One code, for one question."""

    def __init__(self) -> None:
        self._code = os.environ.get(CODE_VARIABLE, "").strip() or None

    def ask(self, _account: str, _pending: MfaRequired, /) -> str | None:
        """The code; None the second time."""
        code, self._code = self._code, None
        return code


class Nobody:
    """There is no code."""

    def ask(self, _account: str, _pending: MfaRequired, /) -> str | None:
        """None."""
        return None


def code_source(*, from_stdin: bool, prompt: bool) -> CodeSource:
    """Standard input where asked for, else the environment where it has a code, else a terminal where there is one.

    Raises `Failure` where standard input is asked for, and is closed.
    """
    if from_stdin:
        if sys.stdin is None:
            raise Failure("--code-stdin, and standard input is closed. Nothing was sent.")
        return StandardInput()
    if os.environ.get(CODE_VARIABLE, "").strip():
        return Environment()
    return Terminal() if prompt and (_is_terminal(sys.stdin) or _is_terminal(sys.stderr)) else Nobody()


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except ValueError:
        return False

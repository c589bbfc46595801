"""Asks a person before something is done that has no way back."""

import sys

import click

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, one_line

YES = click.option("--yes", is_flag=True, help="Do not ask.")


def agree(question: str, *, yes: bool, otherwise: str) -> None:
    """Go on where `yes` was said, or a person at the terminal says it. Raises `Failure` with `otherwise` if not.

    Where nobody can be asked, it must be said: a script that was meant for something else removes nothing.
    """
    if yes:
        return
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise Failure(f"{otherwise} There is no terminal to ask at: say --yes. The question was: {one_line(question)}")
    if not click.confirm(one_line(question), err=True):
        raise Failure(otherwise, Exit.INTERRUPTED)

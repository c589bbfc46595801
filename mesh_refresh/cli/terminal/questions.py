"""Asks a person before a command does what cannot be undone."""

import sys

import click

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, one_line

YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def confirm(question: str, *, otherwise: str) -> None:
    """Ask a person at the terminal, and return where the answer is yes. Raises `Failure` with `otherwise` if it is no.

    Raises `Failure` too where there is no terminal: a script has to give ``--yes``, and its caller does not ask then.
    """
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise Failure(f"{otherwise} There is no terminal to ask at: give --yes. The question was: {one_line(question)}")
    if not click.confirm(one_line(question), err=True):
        raise Failure(otherwise, Exit.INTERRUPTED)

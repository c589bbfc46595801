"""Tables for a person, and for ``grep``: on a terminal with colours, elsewhere as plain lines of any length."""

import sys
from collections.abc import Iterable, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesh_refresh.cli.lines import one_line

Cell = str | int | None

_WIDEST = 10_000

_STYLES = {
    "active": "green",
    "not_refreshable": "",
    "mfa_required": "yellow",
    "reconnect_required": "red",
    "unreadable": "bold red",
}


def show(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Iterable[str] = ()) -> None:
    """Print it. What is in `numbers` is aligned to the right."""
    if not sys.stdout.isatty():
        _plain([columns, *(list(map(_text, row)) for row in rows)])
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", "\n"), justify="right" if column in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_text(cell), style=_STYLES.get(str(cell), "")) for cell in row))
    console = Console(highlight=False)
    # A terminal that is too narrow breaks a line; cut ids could not be copied.
    console.width = max(console.width, console.measure(table, options=console.options.update_width(_WIDEST)).maximum)
    console.print(table, crop=False)


def _text(cell: Cell) -> str:
    return "-" if cell is None else one_line(str(cell)) or "-"


def _plain(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

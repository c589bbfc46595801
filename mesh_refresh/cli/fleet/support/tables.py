"""Tables for a person and for ``grep``: on a terminal with colours and fitted to its width, elsewhere plain lines."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from textwrap import wrap

import click
from attrs import frozen
from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from mesh_refresh.cli.terminal.messages import one_line

Cell = str | int | datetime | None

_INDENT = "    "
_STYLES = {
    "active": "green",
    "not_refreshable": "",
    "managed": "",
    "mfa_required": "yellow",
    "reconnect_required": "red",
    "unreadable": "bold red",
}
_ANY_WIDTH = 10_000


def show(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Iterable[str] = (), yielding: Sequence[str] = ()
) -> None:
    """Print a table. The columns in `numbers` are aligned to the right.

    On a terminal that is too narrow, times become relative to now. Then the columns in `yielding` move, one after the
    other and those without content first, to a second line under each row; a cell without content is left out there.
    """
    lines = tuple(map(tuple, rows))
    if not sys.stdout.isatty():
        _print_plain(columns, lines)
        return
    console = Console(highlight=False)
    layouts = [_Layout(tuple(columns), lines, frozenset(numbers), *kind) for kind in _choices(columns, lines, yielding)]
    layout = next((layout for layout in layouts if layout.width(console) <= console.width), layouts[-1])
    for line in layout.lines(console):
        # A window that is still too narrow wraps the line. A shortened id could not be copied.
        console.print(line, soft_wrap=True)


def tell(text: str) -> None:
    """Print a sentence: in one line, or wrapped on a terminal, without breaking a word."""
    if sys.stdout.isatty():
        text = "\n".join(wrap(text, Console().width, break_long_words=False, break_on_hyphens=False))
    click.echo(text)


def format_moment(at: datetime) -> str:
    """A time of UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def format_span(time: timedelta, *, compact: bool = False) -> str:
    """About how long: ``90 s``, ``25 min``, ``3 d``; `compact` gives ``90s``, ``25m``, ``3d``."""
    seconds = int(time.total_seconds())
    units = ((86400, "d"), (3600, "h"), (60, "min"))
    size, unit = next((unit for unit in units if seconds >= 2 * unit[0]), (1, "s"))
    return f"{seconds // size}{unit[0]}" if compact else f"{seconds // size} {unit}"


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Every column of every row, one line a row, however wide."""
    cells = [columns, *([_format(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _choices(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], yielding: Sequence[str]
) -> Iterator[tuple[tuple[int, ...], int, datetime | None]]:
    """The layouts to try, widest first: the columns that stay, the gap between them, and now for relative times."""
    every, now = tuple(range(len(columns))), datetime.now(UTC)
    yield every, 2, None
    places = [columns.index(name) for name in yielding]
    places.sort(key=lambda place: any(_has_content(row[place]) for row in rows))
    for number in range(len(places) + 1):
        kept = tuple(index for index in every if index not in places[:number])
        yield from ((kept, gap, now) for gap in (2, 1))


@frozen
class _Layout:
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[str]
    kept: tuple[int, ...]
    """The columns of the table, by index; the others go to second lines."""
    gap: int
    now: datetime | None
    """The moment that times are relative to; None: they are dates."""

    def width(self, console: Console) -> int:
        """Columns of the terminal that the table takes."""
        return Measurement.get(console, console.options.update(width=_ANY_WIDTH), self._table()).maximum

    def lines(self, console: Console) -> Iterator[Text]:
        """The lines of the table, with the second lines of its rows."""
        options = console.options.update(width=self.width(console))
        drawn = [_join(line) for line in console.render_lines(self._table(), options, pad=False)]
        yield from drawn[: -len(self.rows)]
        for line, row in zip(drawn[-len(self.rows) :], self.rows, strict=True):
            yield line
            rest = (index for index in range(len(row)) if index not in self.kept and _has_content(row[index]))
            parts = [f"{self.columns[index].replace('_', ' ')} {_format(row[index], self.now)}" for index in rest]
            yield from _pack(parts, console.width)

    def _table(self) -> Table:
        """Every row takes one line of it; a heading takes one for each of its words."""
        heads = [
            Column(
                self.columns[index].replace("_", "\n"),
                justify="right" if self.columns[index] in self.numbers else "left",
                vertical="bottom",
                no_wrap=True,
            )
            for index in self.kept
        ]
        table = Table(*heads, box=None, padding=(0, self.gap, 0, 0), pad_edge=False, header_style="bold")
        for row in self.rows:
            cells = ((row[index], _format(row[index], self.now)) for index in self.kept)
            table.add_row(*(Text(text, style=_STYLES.get(str(cell), "")) for cell, text in cells))
        return table


def _join(segments: Sequence[Segment]) -> Text:
    """A line that rich has drawn, without the blanks at its end."""
    line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
    line.rstrip()
    return line


def _pack(parts: Sequence[str], width: int) -> Iterator[Text]:
    """Second lines: as many `parts` in each as fit into `width`. None is broken."""
    line = ""
    for part in parts:
        if line and Text(f"{line}, {part}").cell_len >= width:
            yield Text(f"{line},", style="dim")
            line = ""
        line = f"{line}, {part}" if line else f"{_INDENT}{part}"
    if line:
        yield Text(line, style="dim")


def _has_content(cell: Cell) -> bool:
    return cell is not None and cell not in (0, "")


def _format(cell: Cell, now: datetime | None = None) -> str:
    if isinstance(cell, datetime):
        return format_moment(cell) if now is None else _format_relative(cell, now)
    return "-" if cell is None else one_line(str(cell)) or "-"


def _format_relative(moment: datetime, now: datetime) -> str:
    span = format_span(abs(moment - now), compact=True)
    return f"in {span}" if moment >= now else f"{span} ago"

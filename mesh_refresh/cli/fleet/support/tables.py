"""Tables for a person, and for ``grep``: on a terminal with colours and fitted to it, elsewhere plain lines."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from textwrap import wrap

import click
from attrs import frozen
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from mesh_refresh.cli.terminal.messages import one_line

Cell = str | int | datetime | None

_INDENT = "    "
_STYLES = {
    "active": "green",
    "not_refreshable": "",
    "mfa_required": "yellow",
    "reconnect_required": "red",
    "unreadable": "bold red",
}


def show(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Iterable[str] = (), yielding: Sequence[str] = ()
) -> None:
    """Print it. What is in `numbers` is aligned to the right.

    Where a terminal is too narrow, times are told from now, and the columns that are `yielding` give way, one after the
    other: what is in them goes to a second line under its row, where it says something.
    """
    table = _Table(tuple(columns), tuple(map(tuple, rows)), frozenset(numbers), tuple(yielding))
    if not sys.stdout.isatty():
        for line in table.plain():
            click.echo(line)
        return
    console = Console(highlight=False)
    for text in table.fitted(console.width, datetime.now(UTC)):
        # A terminal breaks what is too long all the same; cut ids could not be copied.
        console.print(text, soft_wrap=True)


def tell(text: str) -> None:
    """Print a sentence: in one line, or on a terminal in as many as it takes without breaking a word."""
    if sys.stdout.isatty():
        text = "\n".join(wrap(text, Console().width, break_long_words=False, break_on_hyphens=False))
    click.echo(text)


def span(time: timedelta) -> str:
    """About so long: ``90s``, ``25m``, ``3d``."""
    seconds = int(time.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


@frozen
class _Layout:
    """What stands in the lines of a table, and how wide."""

    kept: tuple[int, ...]
    """The columns."""
    gap: int
    now: datetime | None
    """From when times are told; None: they are dates."""
    widths: tuple[int, ...]

    @property
    def width(self) -> int:
        """Of a line."""
        return sum(self.widths) + self.gap * (len(self.widths) - 1)


@frozen
class _Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[str]
    yielding: tuple[str, ...]

    def plain(self) -> Iterator[str]:
        """Every column of every row, in lines of any length."""
        cells = [self.columns, *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    def fitted(self, width: int, now: datetime) -> Iterator[Text]:
        """The lines for a window so wide."""
        layouts = list(self._layouts(now))
        layout = next((it for it in layouts if it.width <= width), layouts[-1])
        heads = [self.columns[index].split("_") for index in layout.kept]
        height = max(map(len, heads))
        for number in range(height):
            parts = [head[number - height + len(head)] if number >= height - len(head) else "" for head in heads]
            yield self._line(layout, [Text(part, style="bold") for part in parts])
        for row in self.rows:
            cells = [(row[index], _text(row[index], layout.now)) for index in layout.kept]
            yield self._line(layout, [Text(text, style=_STYLES.get(str(cell), "")) for cell, text in cells])
            rest = [index for index in range(len(row)) if index not in layout.kept and _says(row[index])]
            yield from _packed([f"{_words(self.columns[it])} {_text(row[it], layout.now)}" for it in rest], width)

    def _layouts(self, now: datetime) -> Iterator[_Layout]:
        """From the widest to the narrowest. Columns that say nothing in any row give way first."""
        every = tuple(range(len(self.columns)))
        yield self._layout(every, 2, None)
        places = [self.columns.index(name) for name in self.yielding]
        places.sort(key=lambda place: any(_says(row[place]) for row in self.rows))
        for number in range(len(places) + 1):
            kept = tuple(index for index in every if index not in places[:number])
            for gap in (2, 1):
                yield self._layout(kept, gap, now)

    def _layout(self, kept: tuple[int, ...], gap: int, now: datetime | None) -> _Layout:
        def widest(index: int) -> int:
            head = max(map(len, self.columns[index].split("_")))
            return max([head, *(cell_len(_text(row[index], now)) for row in self.rows)])

        return _Layout(kept, gap, now, tuple(widest(index) for index in kept))

    def _line(self, layout: _Layout, cells: Sequence[Text]) -> Text:
        line = Text()
        for index, width, cell in zip(layout.kept, layout.widths, cells, strict=True):
            line.append("" if index == layout.kept[0] else " " * layout.gap)
            blanks = " " * (width - cell.cell_len)
            line.append(blanks if self.columns[index] in self.numbers else "")
            line.append_text(cell)
            line.append("" if self.columns[index] in self.numbers else blanks)
        line.rstrip()
        return line


def _packed(parts: Sequence[str], width: int) -> Iterator[Text]:
    """As many in a line as fit into it. None is broken."""
    line = ""
    for part in parts:
        if line and cell_len(f"{line}, {part}") >= width:
            yield Text(f"{line},", style="dim")
            line = ""
        line = f"{line}, {part}" if line else f"{_INDENT}{part}"
    if line:
        yield Text(line, style="dim")


def _says(cell: Cell) -> bool:
    return cell is not None and cell not in (0, "")


def _words(column: str) -> str:
    return column.replace("_", " ")


def _text(cell: Cell, now: datetime | None = None) -> str:
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}Z" if now is None else _from(now, cell)
    return "-" if cell is None else one_line(str(cell)) or "-"


def _from(now: datetime, moment: datetime) -> str:
    return f"in {span(moment - now)}" if moment >= now else f"{span(now - moment)} ago"

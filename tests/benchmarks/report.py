"""What a section of the benchmarks hands back: tables, rows of targets, and plots. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.benchmarks.figures import Spread

Draw = Callable[[Any], None]
"""Draws a plot into a figure of matplotlib's."""


@frozen
class How:
    """How to measure."""

    quick: bool
    """A first look: the same rows from fewer rounds and smaller fleets."""
    client_core: int
    server_core: int
    generated: Path
    """Where the generated clients are."""
    disk: Path
    """A folder for what must be durable. Not in /tmp, which may be memory."""
    key: str = field(repr=False)
    """Seals the fleets in there."""


@frozen
class Table:
    """A table of text."""

    title: str
    """What the first column is headed by: it says what the cells are."""
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    notes: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """The header, the rows, the notes."""
        first = max(len(name) for name in (self.title, *(name for name, _ in self.rows)))
        widths = [
            max(len(text) for text in (column, *(cells[number] for _, cells in self.rows)))
            for number, column in enumerate(self.columns)
        ]
        for name, cells in ((self.title, self.columns), *self.rows):
            padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            yield "  ".join((f"{name:<{first}}", *padded)).rstrip()
        yield from self.notes


@frozen
class Target:
    """A row of the project's targets."""

    what: str
    wanted: str
    measured: str
    met: bool | None
    """None: nothing is wanted, it stands there to compare."""


@frozen
class Report:
    """What one section found."""

    tables: Sequence[Table] = ()
    targets: Sequence[Target] = ()
    plots: Mapping[str, Draw] = field(factory=dict)
    """By the name of the file."""


def at_most(what: str, limit: float, found: Spread, *, digits: int = 2, unit: str = "") -> Target:
    """A target that the median must not exceed."""
    return Target(what, f"<= {limit:,g}{unit}", found.text(digits, unit), found.median <= limit)


def at_least(what: str, limit: float, found: Spread, *, digits: int = 2, unit: str = "") -> Target:
    """A target that the median must reach."""
    return Target(what, f">= {limit:,g}{unit}", found.text(digits, unit), found.median >= limit)


def shown(what: str, found: Spread) -> Target:
    """A row that stands beside a target."""
    return Target(what, "", found.text(2, ""), None)


_MET = {True: "met", False: "MISSED", None: ""}


def target_table(targets: Sequence[Target]) -> Table:
    """All targets in one table."""
    rows = [(row.what, (row.wanted, row.measured, _MET[row.met])) for row in targets]
    return Table("target", ("wanted", "measured", ""), rows)

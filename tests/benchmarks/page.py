"""docs/benchmarks.md: the tables between its marks, and its plots."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks import plots
from tests.benchmarks.report import Report, Table

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PLOTS = PAGE.with_suffix("")


def write(head: Sequence[str], reports: Mapping[str, Report], targets: Table, *, quick: bool) -> None:
    """Put what was measured into the page, and draw its plots."""
    how = ["a quick look, on a machine that may have been busy: not the numbers to rely on"] if quick else []
    text = filled(PAGE.read_text(), "machine", [*head, *how])
    text = filled(text, "targets", list(targets.lines()))
    PLOTS.mkdir(exist_ok=True)
    for name, report in reports.items():
        lines = [line for table in report.tables for line in ("", *table.lines())]
        text = filled(text, name, lines[1:])
        for plot, draw in report.plots.items():
            plots.save(draw, PLOTS / f"{plot}.svg")
    PAGE.write_text(text)


def filled(page: str, name: str, lines: Sequence[str]) -> str:
    """`page` with `lines` between the marks of `name`. Raises `LookupError` where it has no such marks."""
    begin, end = f"<!-- {name}: written by nox -s bench -- --write -->\n", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    block = f"{begin}```text\n" + "\n".join(lines) + f"\n```\n{end}"
    page, found = pattern.subn(lambda _: block, page)
    if not found:
        raise LookupError(f"The page has no marks for {name}.")
    return page

"""Tables and targets as they are printed, and where the page takes them."""

import pytest

from tests.benchmarks.figures import Spread
from tests.benchmarks.page import PAGE, filled
from tests.benchmarks.report import Table, at_least, at_most, target_table


def test_columns_stand_below_one_another() -> None:
    """Names to the left, cells to the right, notes below."""
    table = Table(
        "CPU", ("c=1", "c=16"), [("floor", ("0.30", "0.17")), ("hand-written", ("1.00", "10.00"))], ["a note"]
    )
    assert list(table.lines()) == [
        "CPU            c=1   c=16",
        "floor         0.30   0.17",
        "hand-written  1.00  10.00",
        "a note",
    ]


def test_a_target_is_met_or_missed_by_its_median() -> None:
    """The spread does not count, and the limit itself is within."""
    targets = [
        at_most("a", 1.05, Spread(1.05, 1.0, 1.2)),
        at_most("b", 20, Spread(20.5, 19, 21), digits=0, unit=" ms"),
        at_least("c", 5000, Spread(5001, 4000, 6000), digits=0, unit="/s"),
        at_least("d", 0.6, Spread(0.59, 0.5, 0.7)),
    ]
    assert [target.met for target in targets] == [True, False, True, False]
    assert list(target_table(targets).lines()) == [
        "target      wanted               measured",
        "a          <= 1.05       1.05 (1.00-1.20)     met",
        "b         <= 20 ms          20 ms (19-21)  MISSED",
        "c       >= 5,000/s  5,001/s (4,000-6,000)     met",
        "d           >= 0.6       0.59 (0.50-0.70)  MISSED",
    ]


def test_the_page_takes_tables_between_its_marks() -> None:
    """What is written replaces what was, and nothing else; a page without the marks is told of."""
    mark = "<!-- client: written by nox -s bench -- --write -->"
    page = f"before\n\n{mark}\nold\n<!-- end of client -->\n\nafter\n"
    once = filled(page, "client", ["a \\1", "b"])
    assert once == f"before\n\n{mark}\n```text\na \\1\nb\n```\n<!-- end of client -->\n\nafter\n"
    assert filled(once, "client", ["a \\1", "b"]) == once
    with pytest.raises(LookupError, match="keeper"):
        filled(page, "keeper", [])


def test_the_page_has_marks_for_every_section() -> None:
    """A section that is added to the benchmarks has a place in the docs."""
    from tests.benchmarks.__main__ import SECTIONS

    page = PAGE.read_text()
    for name in ("machine", "targets", *SECTIONS):
        filled(page, name, [])

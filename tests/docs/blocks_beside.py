"""What the examples of a page need and a reader does not: tests/docs/blocks has a file of it for each page.

A file is a row of cells, each about one example. The head names the example by the beginning of a line that no other
example of the page has::

    # %% before: mesh = MeshClient(client_id
    vault = Vault()

``before`` and ``after`` are run around the example, in the namespace of the page, and may have a bare ``await``. The
others have no body, and say that the example is run in another way: ``process``, ``pytest``, ``shell``: see conftest.py
"""

import re
from functools import cache
from pathlib import Path

from attrs import frozen

_HERE = Path(__file__).parent
_HEAD = re.compile(r"^# %% (?P<kind>before|after|process|pytest|shell): (?P<line>.+)$", re.MULTILINE)
_EXAMPLE = re.compile(r"^```(?:python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Cell:
    """One cell: of which kind it is, the place in the page of the example that it is for, and its code."""

    kind: str
    example: int
    source: str
    file: Path


def file_of(page: Path) -> Path:
    """Where the cells of a page are: docs/decisions/floors.md has its in decisions-floors.py."""
    name = "-".join(page.relative_to(_HERE.parents[1]).with_suffix("").parts)
    return _HERE / "blocks" / f"{name.removeprefix('docs-').lower()}.py"


@cache
def cells_of(page: Path) -> tuple[Cell, ...]:
    """The cells of a page, in order. ValueError where one names no example, or more than one."""
    file = file_of(page)
    if not file.exists():
        return ()
    text, examples = file.read_text(), list(_EXAMPLE.finditer(page.read_text()))
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    if not heads or text[: heads[0].start()].strip():
        raise ValueError(f"{file} does not begin with a cell.")
    cells = []
    for head, end in zip(heads, ends, strict=True):
        found = [it.start() for it in examples if any(line.startswith(head["line"]) for line in _lines(it[1]))]
        if len(found) != 1:
            raise ValueError(f"{file}: {len(found)} examples have the line {head['line']!r}.")
        source = "\n" * text.count("\n", 0, head.end()) + text[head.end() : end]  # so that a traceback shows its line
        cells.append(Cell(head["kind"], found[0], source, file))
    return tuple(cells)


def _lines(code: str) -> list[str]:
    return [line.strip() for line in code.splitlines()]

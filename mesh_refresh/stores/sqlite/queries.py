"""The SQL beside this module, by name."""

from collections.abc import Callable, Iterator
from importlib.resources import files

_NAME = "-- name: "
_FOLDER = files("mesh_refresh.stores.sqlite")


def queries(file: str) -> dict[str, str]:
    """The statements of `file`, each under the name in the comment before it."""
    parts = (_FOLDER / file).read_text("utf-8").split(_NAME)[1:]
    return {name.strip(): "\n".join(_code(text)) for name, text in (part.split("\n", 1) for part in parts)}


# Every statement hands Python's lock over and back, and while the event loop is busy that costs both threads more than
# SQLite's own work does: what can be done to many rows is done by one statement. There is one for each power of two, so
# that few are compiled; the places that are left over are filled with NULL, which no row equals.

MOST = 128
"""Rows for one statement."""


def for_each_size(statement: Callable[[int], str]) -> dict[int, str]:
    """The `statement` for so many rows, by each size that there is."""
    return {size: statement(size) for size in (1 << power for power in range(MOST.bit_length()))}


def size_for(rows: int) -> int:
    """The size of the statement for `rows` rows, at least one and at most `MOST`."""
    return 1 << (rows - 1).bit_length()


def migrations() -> dict[int, str]:
    """What makes each version of the schema out of the one before, by version."""
    scripts = (path for path in (_FOLDER / "migrations").iterdir() if path.name.endswith(".sql"))
    return dict(sorted((int(path.name.split("_")[0]), path.read_text("utf-8")) for path in scripts))


def _code(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line and not line.lstrip().startswith("--"))

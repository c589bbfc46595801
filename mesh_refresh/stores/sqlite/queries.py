"""The SQL beside this module, by name."""

from collections.abc import Callable

from mesh_refresh.stores.sql import files

_PACKAGE = "mesh_refresh.stores.sqlite"


def queries(file: str) -> dict[str, str]:
    """The statements of `file`."""
    return files.queries(_PACKAGE, file)


def migrations() -> dict[int, str]:
    """What makes each version of the schema out of the one before, by version."""
    return files.migrations(_PACKAGE)


# Every statement hands Python's lock over and back. While the event loop is busy, that costs both threads more than
# SQLite's own work does. So one statement changes many rows. There is one for each power of two, so that few are
# compiled; places that are left over are filled with NULL, which no row equals.

MOST = 128
"""Rows for one statement."""


def for_each_size(statement: Callable[[int], str]) -> dict[int, str]:
    """`statement`, made for each size that there is."""
    return {size: statement(size) for size in (1 << power for power in range(MOST.bit_length()))}


def size_for(rows: int) -> int:
    """The size of the statement for `rows` rows, at least one and at most `MOST`."""
    return 1 << (rows - 1).bit_length()

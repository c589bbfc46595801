"""How the parts of a store do the verbs that are one statement."""

from collections.abc import Hashable
from typing import Any, Protocol


class SqlStatements(Protocol):
    """Statements by their names. Parameters and columns are as the callers have them; a store turns them into its own.

    Raises `InvalidRequest` for a parameter that cannot be kept, before any I/O, and what the verbs of a store raise.
    """

    async def write(self, name: str, *values: Any, key: Hashable = None) -> int:
        """How many rows the statement `name` changed. Those of one `key` are done in the order of the calls."""
        ...

    async def look(self, name: str, *values: Any, long: bool = False) -> list[tuple[Any, ...]]:
        """The rows of the statement `name`, which reads; one that may take `long` holds up no other."""
        ...

"""Statements by their names, for the parts of the store that do each verb with one of them."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from mesh_refresh.stores.postgres.jobs import VerbRunner


class Statements:
    """Those of a store that is open. `runner` raises `StoreUnavailable` where it is not."""

    def __init__(self, runner: Callable[[], VerbRunner], queries: Callable[[], Mapping[str, str]]) -> None:
        self._runner = runner
        self._queries = queries

    async def write(self, name: str, *values: Any, key: Hashable = None) -> list[Any]:
        """The rows of the statement `name`, which writes: see `VerbRunner.write`."""
        sql = self._queries()[name]
        found: list[Any] = await self._runner().write(key, lambda connection: connection.fetch(sql, *values))
        return found

    async def look(self, name: str, *values: Any) -> list[Any]:
        """The rows of the statement `name`, which reads: see `VerbRunner.look`."""
        sql = self._queries()[name]
        found: list[Any] = await self._runner().look(lambda connection: connection.fetch(sql, *values))
        return found

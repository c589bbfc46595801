"""Statements by their names, for the parts of the store that do most verbs with one of them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from mesh_refresh.stores.sqlite.connection.session import SqliteSession

_T = TypeVar("_T")


class RunVerb(Protocol):
    """How a part of the store does its verbs."""

    def __call__(self, verb: Callable[[SqliteSession], _T], *, writes: bool) -> Awaitable[_T]:
        """What `verb` gives, in the thread of the store."""
        ...


class SqliteStatements:
    """Those of one part of a store, in the thread that `run` runs verbs in."""

    def __init__(self, run: RunVerb, sql: Mapping[str, str]) -> None:
        self._run = run
        self._sql = sql

    async def write(self, name: str, *values: Any) -> int:
        """How many rows the statement `name` changed."""
        sql = self._sql[name]
        return await self._run(lambda session: session.connection.execute(sql, values).rowcount, writes=True)

    async def look(self, name: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of the statement `name`, which reads."""
        sql = self._sql[name]
        return await self._run(lambda session: session.connection.execute(sql, values).fetchall(), writes=False)

"""Statements by their names, for the parts of the store that do most verbs with one of them."""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Protocol, TypeVar

from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.values import given_back, kept, with_leases

_T = TypeVar("_T")


class RunVerb(Protocol):
    """How a part of the store does its verbs."""

    def __call__(self, verb: Callable[[SqliteSession], _T], *, writes: bool = True) -> Awaitable[_T]:
        """What `verb` gives, in the thread of the store."""
        ...


class SqliteStatements:
    """Those of one part of a store, in the thread that `run` runs verbs in, or in that of `scan`."""

    def __init__(self, run: RunVerb, scan: RunVerb, sql: Mapping[str, str]) -> None:
        self._run, self._scan = run, scan
        self._sql = sql

    async def write(self, name: str, *values: Any, key: Hashable = None) -> int:  # noqa: ARG002 - the thread keeps order
        """How many rows the statement `name` changed. A length of time becomes the columns of a lease from now on."""
        sql, asked = self._sql[name], [*map(kept, values)]

        def work(session: SqliteSession) -> int:
            return session.connection.execute(sql, [*with_leases(asked, session.clock)]).rowcount

        return await self._run(work)

    async def look(self, name: str, *values: Any, long: bool = False) -> list[tuple[Any, ...]]:
        """The rows of the statement `name`, which reads."""
        sql, asked, run = self._sql[name], [*map(kept, values)], self._scan if long else self._run
        return await run(lambda session: given_back(session.connection.execute(sql, asked)), writes=False)

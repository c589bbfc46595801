"""Claims: due rows are found along an index, broker by broker, so that other rows cost nothing."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mesh_refresh.stores.row import Busy, ClaimRequest, Row
from mesh_refresh.stores.sqlite.connection.leases import Lease
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.queries import MOST, for_each_size, queries, size_for
from mesh_refresh.stores.sqlite.values import row
from mesh_refresh.stores.store import ALL_BROKERS

_SQL = queries("claims.sql")

_LOOK = 1_000
"""How many rows of a broker are put in order that are due only because the clock was put back. There may be a million,
and every claim would sort them all; those after these come in the order in which they were changed."""

_LEASE = for_each_size(lambda size: _SQL["lease"].format(numbers=", ".join("?" * size)))

Found = tuple[Any, ...]
"""A due time, the number of a row, and the row."""


def claim(session: SqliteSession, request: ClaimRequest, times: Mapping[str, int]) -> list[Row]:
    """See `Store.claim`. `times` has those of `request` as they are kept: ``now`` and ``ahead``."""
    at = session.clock.now()
    if request.limit <= 0:
        return []
    asked = {**times, "at": at, "boot": session.clock.boot}
    found: list[Found] = []
    for (broker,) in session.connection.execute(_SQL["brokers"], {"all": ALL_BROKERS}).fetchall():
        if (limit := request.limit_of(broker)) > 0:
            due = _due(session, request.limit, {**asked, "broker": broker, "limit": limit}, found)
            found = sorted([*found, *due])[: request.limit]
    _lease(session, [found_row[1] for found_row in found], request.owner, session.clock.lease(request.lease, at))
    return [row(found_row[2:-1], open_attempt=bool(found_row[-1])) for found_row in found]


def claim_one(
    session: SqliteSession, login_id: str, owner: str, length: timedelta, *, sends: bool
) -> Row | Busy | None:
    """See `Store.claim_one`."""
    found = session.connection.execute(_SQL["one"], (login_id,)).fetchone()
    if found is None:
        return None
    at = session.clock.now()
    boot, since, until, number, *values, was_open = found
    if until is not None and (left := Lease(boot, since, until).left(session.clock, at)):
        return Busy(left)
    if was_open and not sends:
        return Busy(timedelta())
    _lease(session, [number], owner, session.clock.lease(length, at), sends=sends)
    return row(values, open_attempt=bool(was_open))


def _due(session: SqliteSession, most: int, asked: dict[str, Any], found: list[Found]) -> list[Found]:
    """The due rows of one broker, the longest due first. No more than may still be among the first of all brokers."""
    full, now, limit = len(found) >= most, asked["now"], asked["limit"]
    latest = found[-1][0] if full else now
    asked["now"] = min(latest, now)
    due: list[Found] = session.connection.execute(_SQL["due"], asked).fetchall()
    if len(due) >= limit or (full and latest <= now):
        return due
    asked |= {"look": max(_LOOK, limit), "limit": limit - len(due)}
    return due + session.connection.execute(_SQL["ahead"], asked).fetchall()


def _lease(session: SqliteSession, numbers: list[int], owner: str, lease: Lease, *, sends: bool = True) -> None:
    for start in range(0, len(numbers), MOST):
        some = numbers[start : start + MOST]
        statement = _LEASE[size := size_for(len(some))]
        values = (owner, sends, lease.boot, lease.since, lease.until, *some, *[None] * (size - len(some)))
        session.connection.execute(statement, values)

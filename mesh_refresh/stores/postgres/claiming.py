"""Claims: statements in which PostgreSQL itself keeps two workers from getting the same row."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from mesh_refresh.stores.postgres.values import row, span, written
from mesh_refresh.stores.row import Busy, ClaimRequest, Row

_LOOK = 200
"""How many rows of a broker are put in order that are due only because the clock was put back."""
LONG = 60.0
"""Seconds that a claim may take that begins at the start."""


Since = tuple[list[str], list[datetime]]
"""Brokers, and from when on their rows are looked at: see floors.py."""


async def claim(connection: Any, sql: str, request: ClaimRequest, since: Since = ([], [])) -> list[Row]:
    """Claim rows that are due by their time."""
    # From the start, it may have to walk over what millions of settles have left behind.
    more_time = {} if since[0] else {"timeout": LONG}
    return await _claimed(connection, sql, *_values(request), *since, **more_time)


async def claim_ahead(connection: Any, sql: str, request: ClaimRequest) -> list[Row]:
    """Claim rows that are due only because the clock was put back."""
    return await _claimed(connection, sql, *_values(request), [], [], request.ahead, max(_LOOK, request.limit))


def rest(request: ClaimRequest, claimed: Sequence[Row]) -> ClaimRequest:
    """The request for what is still wanted after `claimed`."""
    taken = Counter(row.broker for row in claimed)
    left = {broker: request.limit_of(broker) - many for broker, many in taken.items()}
    return evolve(request, limit=request.limit - len(claimed), limits={**request.limits, **left})


def _values(request: ClaimRequest) -> tuple[Any, ...]:
    return (
        written(request.owner),
        span(request.lease),
        request.now,
        request.limit,
        None if request.limit_each is None else max(0, request.limit_each),
        [written(broker) for broker in request.limits],
        [max(0, limit) for limit in request.limits.values()],
    )


async def _claimed(connection: Any, sql: str, *values: Any, **options: Any) -> list[Row]:
    rows = [row(found) for found in await connection.fetch(sql, *values, **options)]
    rows.sort(key=lambda row: (row.due_at, row.login_id))
    return rows


async def claim_one(connection: Any, sql: str, asked: Sequence[Any]) -> Row | Busy | None:
    """See `Store.claim_one`."""
    found = await connection.fetchrow(sql, *asked)
    if found is None:
        return None
    *values, busy_for = found
    return Busy(max(busy_for, timedelta())) if values[0] is None else row(values)

"""Claims: one statement, in which PostgreSQL itself keeps two workers from the same row."""

from typing import Any

from mesh_refresh.stores.postgres.values import row, span, written
from mesh_refresh.stores.row import Busy, Demand, Row

_LOOK = 1_000
"""How many rows of a broker are put in order that are due only because the clock was put back."""


async def claim(connection: Any, sql: str, demand: Demand) -> list[Row]:
    """See `Store.claim`."""
    limits = demand.limits.items()
    found = await connection.fetch(
        sql,
        written(demand.owner),
        span(demand.lease),
        demand.now,
        demand.ahead,
        demand.limit,
        None if demand.limit_each is None else max(0, demand.limit_each),
        [written(broker) for broker, _ in limits],
        [max(0, limit) for _, limit in limits],
        max(_LOOK, demand.limit),
    )
    rows = [row(tuple(it)[:-1], open_attempt=it["was_open"]) for it in found]
    return sorted(rows, key=lambda it: (it.due_at, it.login_id))


async def claim_one(connection: Any, sql: str, asked: tuple[Any, ...]) -> Row | Busy | None:
    """See `Store.claim_one`."""
    found = await connection.fetchrow(sql, *asked)
    if found is None:
        return None
    *values, was_open, busy_for = found
    return Busy(busy_for) if values[0] is None else row(values, open_attempt=was_open)

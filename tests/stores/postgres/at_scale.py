"""What a claim costs beside a snapshot, with a million logins: `nox -s postgres`. A sample is in `test_floors.py`.

Usage: python -m tests.stores.postgres.at_scale [--rows 1000000] [--settles 100000]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from attrs import frozen

from mesh_refresh.stores import ClaimRequest
from mesh_refresh.stores.postgres import PostgresStore
from tests.postgres_server import server_url
from tests.stores.postgres.bystander import Fleet, connected
from tests.stores.postgres.postgres_handles import new_schema

DAY, LEASE, LIMIT = timedelta(days=1), timedelta(minutes=2), 50
_FILL = """
INSERT INTO {schema}.login
    (login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, owner, sends, open_before,
    until, sealed)
SELECT
    'login ' || number, 'broker ' || number % 10, 'active', $2::timestamptz + number * $3::interval, NULL, $2, 'epoch',
    1, 0, NULL, TRUE, FALSE, NULL, '\\x00'
FROM generate_series(1, $1::int) AS number
"""
# What the claims and settles of all workers do. A due time leaves the front of the index and comes in at its end; the
# old entry stays, because somebody's snapshot still sees it.
_SETTLE = """
UPDATE {schema}.login AS login
SET due_at = due_at + interval '1 day', changed_at = $1, revision = revision + 2, attempt = attempt + 1
WHERE login_id = ANY (ARRAY(SELECT login_id FROM {schema}.login WHERE due_at <= $1 ORDER BY due_at))
"""


async def fill_in(fleet: Fleet, rows: int, begin: datetime) -> None:
    """So many logins of ten brokers, which fall due one after the other within a day from `begin` on."""
    await fleet.sql(_FILL, rows, begin, DAY / rows)


@asynccontextmanager
async def filled(url: str, rows: int, begin: datetime) -> AsyncIterator[Fleet]:
    """A store with so many of them."""
    async with connected(url) as connection:
        fleet = Fleet(url, new_schema("scale"), connection)
        async with fleet.store(migrate=True):
            pass
        try:
            await fill_in(fleet, rows, begin)
            await fleet.sql("ANALYZE {schema}.login")
            yield fleet
        finally:
            await fleet.sql("DROP SCHEMA {schema} CASCADE")


async def claimed(store: PostgresStore, now: datetime) -> float:
    """The seconds that a claim takes."""
    began = time.perf_counter()
    assert len(await store.claim(ClaimRequest("me", LEASE, now, LIMIT))) == LIMIT
    return time.perf_counter() - began


async def settled(fleet: Fleet, store: PostgresStore, settles: int, now: datetime, step: timedelta) -> datetime:
    """The time at which so many logins more were claimed, by this worker and others, and settled."""
    for _ in range(0, settles, 1_000):
        now += step * 1_000
        await claimed(store, now)
        await fleet.sql(_SETTLE, now)
    return now + step * 1_000


@frozen
class Held:
    """The median seconds of a claim."""

    before: float
    after: float
    from_the_start: float


async def beside_a_snapshot(fleet: Fleet, rows: int, settles: int, begin: datetime) -> Held:
    """Before and after so many settles, none of which a vacuum may take away."""
    step = DAY / rows
    async with fleet.store() as store, fleet.snapshot():
        now = await settled(fleet, store, 1_000, begin, step)
        before = [await claimed(store, now) for _ in range(9)]
        now = await settled(fleet, store, settles, now, step)
        await claimed(store, now)
        after = [await claimed(store, now) for _ in range(9)]
        store.floors.start_over(soon=False)
        return Held(median(before), median(after), await claimed(store, now))


async def main() -> None:
    """Print what was found; `AssertionError` where it is too much."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--settles", type=int, default=100_000)
    asked = parser.parse_args()
    url, begin = server_url(Path(tempfile.gettempdir()) / "mesh_refresh_at_scale"), datetime.now(UTC)
    async with filled(url, asked.rows, begin) as fleet:
        held = await beside_a_snapshot(fleet, asked.rows, asked.settles, begin)
    sys.stdout.write(
        f"a claim among {asked.rows} logins: {held.before * 1e3:.1f} ms; beside a snapshot that was held for "
        f"{asked.settles} settles: {held.after * 1e3:.1f} ms, {held.after / held.before:.2f} x; "
        f"from the start, once a minute: {held.from_the_start * 1e3:.0f} ms\n"
    )
    assert held.after <= 2 * held.before


if __name__ == "__main__":
    asyncio.run(main())

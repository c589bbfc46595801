"""Behind a real PgBouncer: in session mode on a plain URL, and in transaction mode where that is said."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh_refresh.stores import StoreUnavailable
from mesh_refresh.testing.conformance.store_kit import NOW, SECOND, a_request, a_row, fill, take
from tests.postgres_server import with_options
from tests.stores.postgres.bouncer import MISSING, PROGRAM, bouncing
from tests.stores.postgres.bystander import Fleet
from tests.stores.postgres.test_held_up import asleep, slowed
from tests.stores.postgres.test_privileges import every_verb

pytestmark = [pytest.mark.once, pytest.mark.skipif(not Path(PROGRAM).exists(), reason=MISSING)]

PINNED = (
    "SELECT current_setting('search_path') || '; ' || current_setting('synchronous_commit') || '; ' "
    "|| current_setting('jit') || '; ' || current_setting('lock_timeout')"
)


@pytest.fixture
def session_mode(postgres: str) -> Iterator[str]:
    with bouncing(postgres, "session") as url:
        yield url


@pytest.fixture
def transaction_mode(postgres: str) -> Iterator[str]:
    with bouncing(postgres, "transaction") as url:
        yield with_options(url, transaction_pooling="yes")


async def test_session_mode_needs_nothing(empty: Fleet, session_mode: str) -> None:
    """Every verb, whoever had the server process before; workers are woken too."""
    for number in range(3):
        async with empty.store(url=session_mode, migrate=True, connections=2) as store:
            woken = asyncio.Event()
            store.watch(woken.set)
            await woken.wait()  # it listens
            if not number:
                await every_verb(store)
            shown = await store.fetchval(PINNED)
            assert shown == "pg_catalog, pg_temp; on; off; 250ms"
            woken.clear()
            async with empty.store() as other:
                await fill(other, a_row(f"due {number}", due_at=NOW - SECOND))
                await woken.wait()


async def test_transaction_mode_keeps_what_is_pinned(empty: Fleet, transaction_mode: str) -> None:
    """In each transaction; the server processes are shared with who sets other things, and left as they were."""
    async with empty.store(url=transaction_mode, migrate=True) as store:
        await every_verb(store)
        shown = await asyncio.gather(*(store.fetchval(PINNED) for _ in range(8)))
        assert set(shown) == {"pg_catalog, pg_temp; on; off; 250ms"}
        async with empty.store(url=transaction_mode) as other:
            await fill(store, *(a_row(f"n {number}") for number in range(40)))
            claims = await asyncio.gather(*(it.claim(a_request(limit=10)) for it in (store, other, store, other)))
            claimed = [row.login_id for rows in claims for row in rows]
            assert len(claimed) == len(set(claimed)) == 40


@pytest.mark.parametrize("mode", ["session_mode", "transaction_mode"])
async def test_a_cancelled_reader_is_ended_through_it(fleet: Fleet, request: pytest.FixtureRequest, mode: str) -> None:
    """It passes on that the server is to leave a statement."""
    async with fleet.store(url=request.getfixturevalue(mode), connections=1) as store:
        await fill(store, a_row())
        reading = asyncio.ensure_future(slowed(store, "counts")(store))
        await asleep(fleet, 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await store.swap(await take(store), owner="me")
        await asleep(fleet, 0)


async def test_a_setting_in_the_url_is_told_of(fleet: Fleet, session_mode: str) -> None:
    """PgBouncer takes none that it does not know."""
    with pytest.raises(StoreUnavailable, match="a setting in its URL, which PgBouncer does not take"):
        _ = await fleet.store(url=with_options(session_mode, work_mem="64MB"))

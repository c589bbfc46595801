"""What one reader, or one lock of somebody else's, holds up: itself, and nothing beside it."""

import asyncio
import statistics
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.stores import Page, Row, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_request, a_row, fill, kept, take
from mesh_refresh.testing.conformance.store_outbox import a_notice, claim, listed
from tests.stores.postgres.bystander import Fleet
from tests.stores.postgres.postgres_handles import OpenPostgres

pytestmark = pytest.mark.once

_FOR_EVER = "pg_sleep(3600) IS NULL"
READERS: dict[str, tuple[str, str, Callable[[PostgresStore], Coroutine[Any, Any, Any]]]] = {
    "counts": ("GROUP BY", f"WHERE {_FOR_EVER} GROUP BY", lambda store: store.counts(NOW)),
    "rows": ("WHERE", f"WHERE {_FOR_EVER} AND", lambda store: store.rows(Page(10))),
    "paused": (".pause", f".pause WHERE {_FOR_EVER}", lambda store: store.paused()),
}


def slowed(store: OpenPostgres, name: str) -> Callable[[PostgresStore], Coroutine[Any, Any, Any]]:
    """A reader that takes an hour in the server, as with a hundred million rows."""
    old, new, verb = READERS[name]
    store.statements[name] = store.statements[name].replace(old, new)
    return verb


async def asleep(fleet: Fleet, many: int) -> None:
    """Until so many statements of this fleet sleep in the server."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND position($1 IN query) > 0"
    async with asyncio.timeout(90):
        while await fleet.sql(count, f'"{fleet.schema}"') != many:
            pass


@pytest.mark.parametrize("name", READERS)
async def test_a_reader_who_is_cancelled_holds_up_nobody(fleet: Fleet, name: str) -> None:
    """Not with a single connection either: the server is told to leave it, and settles and claims go on."""
    async with fleet.store(connections=1) as store:
        await fill(store, a_row())
        await store.pause("another")
        reading = asyncio.ensure_future(slowed(store, name)(store))
        await asleep(fleet, 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        row = await take(store)
        assert await store.swap(evolve(row, sealed=b"new"), owner="me")
        await asleep(fleet, 0)


async def test_readers_leave_connections_to_the_others(fleet: Fleet) -> None:
    """However many there are, and none of them cancelled."""
    async with fleet.store(timeout=timedelta(hours=1)) as store:
        await fill(store, a_row())
        verb = slowed(store, "counts")
        reading = [asyncio.ensure_future(verb(store)) for _ in range(6)]
        await asleep(fleet, 2)
        assert await store.swap(await take(store), owner="me")
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
        await asleep(fleet, 0)


async def test_a_cancelled_write_holds_up_its_own_login_alone(fleet: Fleet) -> None:
    """And so does a pause that was cancelled: the broker is not resumed before it."""
    async with fleet.store() as store:
        await fill(store, a_row(), a_row("b"))
        row = await take(store, "b")
        async with fleet.locked("pause"):
            pausing = asyncio.ensure_future(store.pause("coinbase"))
            await fleet.waiting()
            pausing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pausing
            resuming = asyncio.ensure_future(store.pause("coinbase", paused=False))
            assert await store.swap(evolve(row, sealed=b"new"), owner="me")
            assert isinstance(await store.claim_one("a", "me", LEASE), Row)
            assert not resuming.done()
        await resuming
        assert not await store.paused()


def swaps(store: PostgresStore, rows: Sequence[Row]) -> list["asyncio.Future[bool]"]:
    return [asyncio.ensure_future(store.swap(evolve(row, sealed=b"new"), owner="me")) for row in rows]


@pytest.mark.parametrize("many", [1, 40])
async def test_a_row_that_somebody_has_locked_holds_up_itself_alone(fleet: Fleet, many: int) -> None:
    """The other settles of its group come within a second at the median, and what is settled later at once."""
    async with fleet.store(timeout=timedelta(seconds=60)) as store:
        await fill(store, *(a_row(f"{number:03}") for number in range(100)))
        rows = [await take(store, f"{number:03}") for number in range(100)]
        async with fleet.holding(f"SELECT FROM {{schema}}.login WHERE login_id < '{many:03}' FOR UPDATE"):
            began = asyncio.get_running_loop().time()
            times: list[float] = []
            asked = swaps(store, rows[:90])
            for task in asked[many:]:
                task.add_done_callback(lambda _: times.append(asyncio.get_running_loop().time() - began))
            assert await asyncio.gather(*asked[many:]) == [True] * (90 - many)
            assert statistics.median(times) < 1
            assert await asyncio.gather(*swaps(store, rows[90:])) == [True] * 10
            assert not any(task.done() for task in asked[:many])
        assert await asyncio.gather(*asked[:many]) == [True] * many


async def test_notices_are_written_beside_a_row_that_is_locked(fleet: Fleet) -> None:
    """With the rows that are free at once, and with the other one when it is."""
    async with fleet.store(timeout=timedelta(seconds=60)) as store:
        await fill(store, *(a_row(name) for name in "abc"))
        rows = [await take(store, name) for name in "abc"]
        async with fleet.holding("SELECT FROM {schema}.login WHERE login_id = 'a' FOR UPDATE"):
            asked = [
                asyncio.ensure_future(
                    store.swap(row, owner="me", notices=[a_notice(f"of {row.login_id}", row.login_id)])
                )
                for row in (rows[0], rows[1], evolve(rows[2], revision=7))
            ]
            assert await asyncio.gather(*asked[1:]) == [True, False]
            assert [it.id for it in await listed(store)] == ["of b"]
        assert await asked[0] is True
        assert [it.id for it in await listed(store)] == ["of a", "of b"]


async def test_a_removal_leaves_no_notice_behind_that_is_written_meanwhile(fleet: Fleet) -> None:
    """It waits for the write of another process, and sees what that has committed."""
    async with fleet.store() as store:
        await store.insert(a_row(), notices=[a_notice("1")])
        theirs = "UPDATE {schema}.login SET sealed = sealed WHERE login_id = 'a'; INSERT INTO {schema}.notice "
        theirs += (
            "(id, login_id, due_at, written_at, tries, is_dead, sealed) SELECT '2', login_id, due_at, written_at, "
        )
        async with fleet.holding(theirs + "tries, is_dead, sealed FROM {schema}.notice"):
            removing = asyncio.ensure_future(store.delete("a"))
            await fleet.waiting()
        assert await removing is True
        assert await listed(store) == []


async def test_a_removal_leaves_the_notices_of_a_login_that_is_added_meanwhile(fleet: Fleet) -> None:
    """It found no login, and forgets nothing of the new one: a hundred times, since that needs two moments to meet."""
    async with fleet.store() as store, fleet.store() as other:
        for name in map(str, range(100)):
            await asyncio.gather(store.delete(name), other.insert(a_row(name), notices=[a_notice(name, name)]))
            assert (await other.read(name) is None) is (list(await other.outbox.of(name)) == [])


@pytest.mark.parametrize("how", ["resend_notice", "put_notices"])
async def test_a_notice_that_is_put_behind_the_others_stays_behind_them(fleet: Fleet, how: str) -> None:
    """Nothing gets a later number and is out while that is not committed: then two of a login would be out."""
    values: dict[str, tuple[Any, ...]] = {
        "resend_notice": ("1", NOW),
        "put_notices": (["2"], ["a"], [NOW], [NOW], [b""], [0], [None], [False]),
    }
    async with fleet.store() as store:
        await store.insert(a_row(), notices=[a_notice("1")])
        assert await claim(store) == ["1"]
        assert await store.outbox.bury("1", "me")
        async with fleet.holding("SELECT") as theirs:
            assert await theirs.fetch(store.statements[how], *values[how])
            writing = asyncio.ensure_future(store.swap(await kept(store), notices=[a_notice("3")]))
            await asyncio.wait((writing,), timeout=0.2)
            before = await claim(store)
        assert await writing is True
        assert before + await claim(store) == [*values[how][0]]


async def test_a_row_that_stays_locked_is_told_alone(fleet: Fleet) -> None:
    """After the time-out, and nothing of it was written; what is stale beside it is refused as ever."""
    async with fleet.store(timeout=timedelta(seconds=0.6)) as store:
        await fill(store, a_row("a"), a_row("b"), a_row("c"))
        rows = [await take(store, name) for name in "abc"]
        async with fleet.holding("SELECT FROM {schema}.login WHERE login_id = 'a' FOR UPDATE"):
            asked = swaps(store, [rows[0], rows[1], evolve(rows[2], revision=7)])
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert found[1:] == [True, False]
        assert isinstance(found[0], StoreUnavailable)
        assert "has the rows locked by another program. (SQLSTATE 55P03)" in str(found[0])
        assert await kept(store, "a") == rows[0]
        assert await asyncio.gather(*swaps(store, rows[:1])) == [True]


async def test_what_is_asked_of_a_locked_row_is_done_in_order(fleet: Fleet) -> None:
    """Though the first settle is put aside and the second comes in another way."""
    async with fleet.store() as store:
        await fill(store, a_row("a"), a_row("b"))
        row, other = await take(store), await take(store, "b")
        async with fleet.holding("SELECT FROM {schema}.login WHERE login_id = 'a' FOR UPDATE"):
            first = swaps(store, [row, other])
            assert await first[1]  # by now, the one of `a` is aside
            second = asyncio.ensure_future(store.swap(evolve(row, revision=row.revision + 1, sealed=b"last")))
        assert (await first[0], await second) == (True, True)
        assert (await kept(store)).sealed == b"last"


async def test_an_insert_that_waits_for_somebody_elses_holds_up_no_other(fleet: Fleet) -> None:
    """Of the same login, not committed yet."""
    async with fleet.store(timeout=timedelta(seconds=60)) as store, fleet.store() as other:
        await fill(store, a_row())
        theirs = (
            "INSERT INTO {schema}.login SELECT 'n', broker, states, due_at, expires_at, changed_at, epoch, revision, "
        )
        async with fleet.holding(theirs + "attempt, owner, sends, open_before, until, sealed FROM {schema}.login"):
            asked = [asyncio.ensure_future(store.insert(a_row(name))) for name in "lmnop"]
            assert await asyncio.gather(*(asked[number] for number in (0, 1, 3, 4))) == [True] * 4
            assert not asked[2].done()
        assert await asked[2] is False
        assert len(await other.rows(Page(10))) == 6


async def test_logins_that_somebody_has_locked_leave_connections_to_the_others(fleet: Fleet) -> None:
    """More of them are wanted than there are connections."""
    async with fleet.store(timeout=timedelta(seconds=60), connections=2) as store:
        await fill(store, *(a_row(str(number)) for number in range(9)))
        async with fleet.holding("SELECT FROM {schema}.login WHERE login_id < '8' FOR UPDATE"):
            asked = [asyncio.ensure_future(store.claim_one(str(number), "me", LEASE)) for number in range(8)]
            await fleet.waiting()
            row = await take(store, "8")
            assert await store.swap(row, owner="me")
            assert [it.login_id for it in await store.claim(a_request())] == ["8"]
            assert not any(task.done() for task in asked)
        assert all(isinstance(it, Row) for it in await asyncio.gather(*asked))

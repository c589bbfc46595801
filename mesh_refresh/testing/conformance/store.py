"""What every store must do, as tests: derive from `StoreConformance`, and pytest runs them on yours."""

import asyncio
from datetime import timedelta
from functools import partial

from attrs import evolve

from mesh_refresh.stores import Busy, Count, Page, Row
from mesh_refresh.testing.conformance.store_claims import ClaimCases
from mesh_refresh.testing.conformance.store_kit import (
    ACTIVE,
    LEASE,
    MICROSECOND,
    NOW,
    SECOND,
    a_row,
    claimed,
    fill,
    kept,
    paged,
    take,
)
from mesh_refresh.testing.conformance.store_leases import LeaseCases
from mesh_refresh.testing.conformance.store_rows import RowCases

NEW = frozenset({"new"})
_IN_ORDER = (
    "",
    "\0",
    "A",
    "Z",
    "a",
    "a\0",
    "a ",
    "aa",
    "z",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "\uffff",
    "\U0001f600",
)
"""By code points: not as people sort, nor as UTF-16 does."""


class StoreConformance(RowCases, LeaseCases, ClaimCases):
    """Derive a test class from this, say how your store is made, and pytest checks it::

        class TestMyStore(StoreConformance):
            async def make_store(self):
                self.clock = ManualClock()
                return await MyStore.open(clock=self.clock)

            async def pass_time(self, store, by):
                self.clock.advance(by)

    Give it `another` too where several processes can share your store. The tests are coroutines: they need
    pytest-asyncio.
    """

    # Pages and counts.

    async def test_rows_come_in_the_order_of_the_code_points(self) -> None:
        """All of them, page by page, each once."""
        async with self.opened(*(a_row(login_id) for login_id in reversed(_IN_ORDER))) as store:
            for limit in (1, 3, len(_IN_ORDER), 100):
                found: list[str] = []
                while page := await paged(store, limit, after=found[-1] if found else None):
                    assert len(page) == min(limit, len(_IN_ORDER) - len(found))
                    found += page
                assert found == list(_IN_ORDER)

    async def test_a_page_begins_after_an_id(self) -> None:
        """Whether there is such a row or not; a limit of none gives none."""
        async with self.opened(*(a_row(login_id) for login_id in ("a", "c", "e"))) as store:
            assert await paged(store, after="b") == ["c", "e"]
            assert await paged(store, after="c") == ["e"]
            assert await paged(store, after="e") == []
            assert await paged(store, 0) == []

    async def test_rows_come_as_they_are(self) -> None:
        """As `read` gives them."""
        async with self.opened(a_row(sealed=b"1"), a_row("b", due_at=None, expires_at=None)) as store:
            await take(store)
            assert list(await store.rows(Page(10))) == [await kept(store), await kept(store, "b")]

    async def test_pages_can_be_filtered(self) -> None:
        """By several states, a broker and a time of change, the very moment included; and by all of them at once."""
        async with self.opened() as store:
            for broker in ("b", "a"):
                for state in ("y", "x", "z"):
                    for age in range(3):
                        changed_at = NOW - age * MICROSECOND
                        row = a_row(f"{broker}{state}{age}", broker=broker, changed_at=changed_at)
                        await fill(store, evolve(row, states=frozenset({state})))
            every = [f"{broker}{state}{age}" for broker in "ab" for state in "xyz" for age in range(3)]
            since = NOW - MICROSECOND
            assert await paged(store, broker="a") == every[:9]
            assert await paged(store, broker="none") == []
            assert await paged(store, states=frozenset("xz")) == [it for it in every if it[1] in "xz"]
            assert await paged(store, states=frozenset()) == []
            assert await paged(store, changed_since=since) == [it for it in every if it[2] in "01"]
            assert await paged(store, changed_since=since, broker="b") == [it for it in every[9:] if it[2] in "01"]
            assert await paged(store, states=frozenset("y"), broker="b", changed_since=since) == ["by0", "by1"]
            for filters in ({"broker": "b"}, {"states": frozenset("xyz")}, {"changed_since": NOW - SECOND}):
                wanted = [it for it in every if it.startswith("b") or "broker" not in filters]
                assert await paged(store, 4, after="ay2", **filters) == [it for it in wanted if it > "ay2"][:4]

    async def test_a_page_has_rows_with_one_of_the_states(self) -> None:
        """Alone or beside others; names that are a part of another one are another's."""
        sets = {"1": "active", "2": "active mfa_required", "3": "mfa_required", "4": "managed unreadable", "5": ""}
        async with self.opened() as store:
            for login_id, names in reversed(sets.items()):
                await fill(store, a_row(login_id, states=frozenset(names.split())))
            await fill(store, a_row("6", states=frozenset({"active_"})), a_row("7", states=frozenset({"_active"})))
            for wanted, found in (
                ("active", ["1", "2"]),
                ("mfa_required", ["2", "3"]),
                ("active unreadable", ["1", "2", "4"]),
                ("managed", ["4"]),
                ("mfa", []),
                ("active mfa_required managed none", ["1", "2", "3", "4"]),
            ):
                states = frozenset(wanted.split())
                assert await paged(store, states=states) == found, wanted
                assert await paged(store, 1, states=states, after="1") == [it for it in found if it > "1"][:1]

    async def test_rows_are_counted_by_broker_and_states(self) -> None:
        """Those that expired and are due, their moments included; the earliest due time; and no others."""
        async with self.opened() as store:
            assert list(await store.counts(NOW)) == []
            await fill(store, a_row("1", due_at=NOW, expires_at=NOW), a_row("2", due_at=NOW - SECOND, expires_at=None))
            await fill(store, a_row("3", due_at=NOW + MICROSECOND, expires_at=NOW + MICROSECOND))
            await fill(store, a_row("4", states=frozenset({"parked", "active"}), due_at=None, expires_at=NOW - SECOND))
            await fill(store, a_row("5", broker="other", due_at=None))
            found = {(count.broker, count.states): count for count in await store.counts(NOW)}
            both = frozenset({"active", "parked"})
            assert found == {
                ("coinbase", ACTIVE): Count("coinbase", ACTIVE, 3, 1, 2, NOW - SECOND, 0),
                ("coinbase", both): Count("coinbase", both, 1, 1, 0, None, 0),
                ("other", ACTIVE): Count("other", ACTIVE, 1, 0, 0, None, 0),
            }

    async def test_what_falls_due_is_counted_by_the_hour(self) -> None:
        """The last moment of an hour belongs to it, and its first one to the hour before."""
        hour = timedelta(hours=1)
        at = (-hour, 0 * hour, MICROSECOND, hour, hour, hour + MICROSECOND, 2 * hour, 3 * hour, 3 * hour + MICROSECOND)
        async with self.opened() as store:
            assert list(await store.due_by_hour(NOW, 2)) == [0, 0]
            await fill(store, *(a_row(str(n), due_at=NOW + by, broker=f"b{n % 2}") for n, by in enumerate(at)))
            await fill(store, a_row("never", due_at=None))
            assert list(await store.due_by_hour(NOW, 3)) == [3, 2, 1]

    async def test_leases_are_counted_while_they_last(self) -> None:
        """Not at their very end any more, and holds never."""
        async with self.opened(*(a_row(str(number)) for number in range(3))) as store:
            await take(store, "0", lease=SECOND)
            await take(store, "1", lease=2 * SECOND)
            assert await store.swap(await take(store, "2"), owner="me", hold=LEASE) is True
            for step, leased in ((timedelta(), 2), (SECOND - MICROSECOND, 2), (MICROSECOND, 1), (SECOND, 0)):
                await self.pass_time(store, step)
                assert [count.leased for count in await store.counts(NOW)] == [leased]

    # Many at once.

    async def test_no_row_is_claimed_twice(self) -> None:
        """However many claims come at once, by any handle, each row is given to one of them."""
        async with self.shared(*(a_row(str(number)) for number in range(100))) as (store, other):
            claims = [claimed((store, other)[n % 2], owner=str(n), limit=7) for n in range(40)]
            found = [login_id for ids in await asyncio.gather(*claims) for login_id in ids]
            assert sorted(found) == sorted(str(number) for number in range(100))

    async def test_one_of_many_gets_the_row(self) -> None:
        """The others are told that it is busy."""
        async with self.shared(a_row()) as (store, other):
            asked = [(store, other)[n % 2].claim_one("a", str(n), LEASE) for n in range(20)]
            found = await asyncio.gather(*asked)
            assert sum(isinstance(it, Row) for it in found) == 1
            assert sum(isinstance(it, Busy) for it in found) == 19

    async def test_one_of_many_writes_on_a_revision(self) -> None:
        """And one of many makes the login; the others give False, and their values are nowhere."""
        async with self.shared() as (store, other):
            made = [(store, other)[n % 2].insert(a_row(sealed=b"%d" % n)) for n in range(20)]
            won = (await asyncio.gather(*made)).index(True)
            row = await kept(store)
            assert row == a_row(sealed=b"%d" % won, revision=1)
            wrote = await asyncio.gather(
                *((store, other)[n % 2].swap(evolve(row, sealed=b"new %d" % n)) for n in range(20))
            )
            assert wrote.count(True) == 1
            assert await kept(store) == evolve(row, sealed=b"new %d" % wrote.index(True), revision=2)

    async def test_a_verb_that_fails_harms_none_beside_it(self) -> None:
        """Of verbs that come at once, those that give False, None or Busy leave the others whole."""
        async with self.opened(*(a_row(str(number)) for number in range(10))) as store:
            rows = [await take(store, str(number)) for number in range(10)]
            verbs = [
                partial(store.swap, evolve(row, sealed=b"new", revision=row.revision - n % 2), owner="me")
                for n, row in enumerate(rows)
            ]
            found = await asyncio.gather(
                *(verb() for verb in verbs),
                store.insert(a_row("0")),
                store.read("none"),
                store.claim_one("1", "x", LEASE),
            )
            assert found[:10] == [True, False] * 5
            assert found[10:12] == [False, None]
            assert isinstance(found[12], Busy)
            for number, row in enumerate(rows):
                expected = row if number % 2 else evolve(row, sealed=b"new", revision=row.revision + 1)
                assert await kept(store, str(number)) == expected

    # Endings.

    async def test_a_cancelled_caller_breaks_nothing(self) -> None:
        """What they asked for is done or not, whole in either case, and the store goes on."""
        async with self.opened(*(a_row(str(number)) for number in range(30))) as store:
            rows = [await take(store, str(number)) for number in range(30)]
            tasks = [
                asyncio.ensure_future(store.swap(evolve(row, sealed=b"new", states=NEW), owner="me")) for row in rows
            ]
            for number, task in enumerate(tasks):
                if number % 3 == 0:
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for row in rows:
                found = await kept(store, row.login_id)
                assert found in (row, evolve(row, sealed=b"new", states=NEW, revision=row.revision + 1))
                again = await store.claim_one(row.login_id, "other", LEASE)
                assert isinstance(again, Busy) == (found == row), "the lease was given back without the row"

    async def test_a_cancelled_insert_is_whole_or_nothing(self) -> None:
        """Cancelled at each step of it: the row is there with all that it holds, or not at all."""
        async with self.opened() as store:
            for step in range(20):
                row = a_row(str(step), sealed=b"sealed %d" % step)
                task = asyncio.ensure_future(store.insert(row))
                for _ in range(step):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert await store.read(row.login_id) in (None, evolve(row, revision=1)), "half of a row is there"
                await store.delete(row.login_id)
                assert await store.insert(row) is True

    async def test_closing_finishes_the_verbs_before_it(self) -> None:
        """New rows, changes of rows, leases and deletions; and closing twice is as once."""
        store = await self.make_store()
        async with await self.another(store) as other:
            await fill(store, *(a_row(f"old {number}") for number in range(30)))
            rows = [await kept(store, f"old {number}") for number in range(30)]
            inserts = [asyncio.ensure_future(store.insert(a_row(str(number)))) for number in range(10)]
            swaps = [asyncio.ensure_future(store.swap(evolve(row, sealed=b"new"))) for row in rows[:10]]
            leases = [asyncio.ensure_future(store.claim_one(row.login_id, "me", LEASE)) for row in rows[10:20]]
            deletions = [asyncio.ensure_future(store.delete(row.login_id)) for row in rows[20:]]
            await asyncio.sleep(0)
            await store.aclose()
            assert await asyncio.gather(*inserts, *swaps, *deletions) == [True] * 30
            assert all(isinstance(it, Row) for it in await asyncio.gather(*leases))
            await asyncio.gather(store.aclose(), store.aclose())
            if other is not store:
                assert len(await paged(other)) == 30
                assert {(await kept(other, row.login_id)).sealed for row in rows[:10]} == {b"new"}

    async def test_a_store_answers_a_ping_and_has_an_id(self) -> None:
        """One id for all handles, and another one for another store."""
        async with self.shared() as (store, other), self.opened() as third:
            await asyncio.gather(store.ping(), other.ping())
            assert len(store.store_id) >= 16
            assert store.store_id == other.store_id
            assert store.store_id != third.store_id

    async def test_the_cipher_seals_and_opens(self) -> None:
        """Those who use the store seal with what it brings."""
        async with self.opened() as store:
            sealed = store.cipher.seal("text", "context")
            assert store.cipher.open(sealed, "context") == "text"
            await fill(store, a_row(sealed=sealed))
            assert (await kept(store)).sealed == sealed

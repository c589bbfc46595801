"""What every store must do with leases: one at a time for a row, to the microsecond of its end."""

from datetime import timedelta

from attrs import evolve

from mesh_refresh.stores import Busy, ClaimRequest
from mesh_refresh.testing.conformance.store_kit import (
    LEASE,
    MICROSECOND,
    NOW,
    SECOND,
    StoreKit,
    a_request,
    a_row,
    busy,
    claimed,
    fill,
    kept,
    take,
)


class LeaseCases(StoreKit):
    """Tests of leases and holds."""

    async def test_a_lease_keeps_every_owner_off(self) -> None:
        """Other owners, the same owner and other handles, by `claim` and by `claim_one`; it tells how long."""
        async with self.shared(a_row()) as (store, other):
            await take(store)
            for handle in (store, other):
                for owner in ("me", "other"):
                    assert timedelta() < await busy(handle, owner=owner) <= LEASE
                    assert await claimed(handle, owner=owner) == []

    async def test_a_claim_leases_as_claim_one_does(self) -> None:
        """For as long as the request says."""
        async with self.opened(a_row()) as store:
            assert await claimed(store, lease=5 * SECOND) == ["a"]
            assert await busy(store) <= 5 * SECOND
            await self.pass_time(store, 5 * SECOND)
            assert await claimed(store) == ["a"]

    async def test_a_lease_ends_at_its_very_moment(self) -> None:
        """A microsecond before, no owner gets the row; at the moment itself, `claim_one` does."""
        async with self.shared(a_row()) as (store, other):
            await take(store)
            await self.pass_time(store, LEASE - MICROSECOND)
            assert await busy(store) == MICROSECOND
            assert await busy(other) == MICROSECOND
            await self.pass_time(store, MICROSECOND)
            row = await take(other, owner="other")
            assert (row.revision, row.attempt, row.open_attempt) == (3, 2, True)

    async def test_a_claim_may_take_a_row_at_the_very_end_of_its_lease(self) -> None:
        """A microsecond before, it may not; and it is told that the attempt is open."""
        async with self.opened(a_row()) as store:
            assert await claimed(store) == ["a"]
            await self.pass_time(store, LEASE - MICROSECOND)
            assert await claimed(store) == []
            await self.pass_time(store, MICROSECOND)
            (row,) = await store.claim(request_of("other"))
            assert (row.revision, row.attempt, row.open_attempt) == (3, 2, True)

    async def test_an_owner_that_sends_nothing_leaves_no_open_attempt(self) -> None:
        """It has a lease like others; where that runs out, the next owner is told of no attempt."""
        async with self.opened(a_row("a"), a_row("b")) as store:
            for login_id in ("a", "b"):
                await take(store, login_id, owner="copy", sends=False)
            for login_id in ("a", "b"):
                assert timedelta() < await busy(store, login_id) <= LEASE
                assert timedelta() < await busy(store, login_id, owner="other", sends=False) <= LEASE
            await self.pass_time(store, LEASE)
            row = await take(store, "a", owner="copy", sends=False)
            assert (row.attempt, row.open_attempt) == (2, False)
            (row,) = await store.claim(a_request())
            assert (row.login_id, row.attempt, row.open_attempt) == ("b", 2, False)
            assert await store.swap(await kept(store, "a"), owner="copy") is True
            assert (await take(store, "a")).open_attempt is False

    async def test_an_owner_that_sends_nothing_gets_no_open_attempt(self) -> None:
        """It stays open for the next owner that may send something, and the row stays as it was."""
        async with self.opened(a_row()) as store:
            before = await take(store)
            await self.pass_time(store, LEASE + SECOND)
            assert await store.claim_one("a", "copy", LEASE, sends=False) == Busy(timedelta())
            assert await kept(store) == before
            assert (await take(store, owner="other")).open_attempt is True

    async def test_a_lease_says_itself_whether_something_is_sent(self) -> None:
        """Neither the name of its owner decides, nor an earlier lease of the same owner."""
        async with self.opened(a_row("a"), a_row("b")) as store:
            for owner in ("~copy", "me"):
                await take(store, owner=owner)
                await self.pass_time(store, LEASE)
                assert (await take(store, owner=owner)).open_attempt is True
                assert await store.swap(await kept(store), owner=owner) is True
                await take(store, owner=owner, sends=False)
                await self.pass_time(store, LEASE)
                assert (await take(store, owner=owner)).open_attempt is False
                assert await store.swap(await kept(store), owner=owner) is True
            assert await claimed(store, owner="~copy") == ["a", "b"]
            await self.pass_time(store, LEASE)
            assert {row.open_attempt for row in await store.claim(a_request())} == {True}

    async def test_the_wall_clock_ends_no_lease(self) -> None:
        """A claim request from years ahead, or from before, frees nothing."""
        async with self.opened(a_row(due_at=NOW - timedelta(days=10_000))) as store:
            await take(store)
            for days in (9_000, -9_000):
                assert await claimed(store, now=NOW + timedelta(days=days)) == []

    async def test_a_lease_that_was_given_back_is_over(self) -> None:
        """The row may be claimed at once, and no attempt is open."""
        async with self.opened(a_row()) as store:
            assert await store.swap(await take(store), owner="me") is True
            row = await take(store, owner="other")
            assert (row.revision, row.attempt, row.open_attempt) == (4, 2, False)

    async def test_a_lease_can_be_given_back_with_a_hold(self) -> None:
        """No owner gets the row until the hold's very end; then no attempt is open."""
        async with self.opened(a_row()) as store:
            assert await store.swap(await take(store), owner="me", hold=10 * SECOND) is True
            assert timedelta() < await busy(store) <= 10 * SECOND
            await self.becomes_free(store, 10 * SECOND)
            (row,) = await store.claim(request_of("me"))
            assert (row.attempt, row.open_attempt) == (2, False)

    async def test_a_hold_begins_when_the_lease_is_given_back(self) -> None:
        """It may end before the lease would have, or after."""
        for hold in (10 * SECOND, 2 * LEASE):
            async with self.opened(a_row()) as store:
                row = await take(store)
                await self.pass_time(store, 20 * SECOND)
                assert await store.swap(row, owner="me", hold=hold) is True
                await self.becomes_free(store, hold)
                await take(store)

    async def test_a_swap_without_an_owner_leaves_the_lease(self) -> None:
        """It is the same lease, to its end; its owner can give it back."""
        async with self.opened(a_row()) as store:
            row = await take(store)
            assert await store.swap(row, hold=3 * LEASE) is True
            await self.becomes_free(store, LEASE)
            assert (await take(store)).open_attempt is True

    async def test_a_swap_without_an_owner_leaves_the_hold(self) -> None:
        """It neither ends nor is renewed."""
        async with self.opened(a_row()) as store:
            assert await store.swap(await take(store), owner="me", hold=10 * SECOND) is True
            await self.pass_time(store, SECOND)
            assert await store.swap(await kept(store)) is True
            assert await store.swap(await kept(store), owner="me") is True
            await self.becomes_free(store, 9 * SECOND)
            assert (await take(store)).open_attempt is False

    async def test_the_lease_of_another_owner_stays(self) -> None:
        """The row is written; the lease is neither ended nor followed by a hold."""
        async with self.opened(a_row()) as store:
            row = await take(store, owner="other")
            for owner in ("me", "", "Other", "other "):
                row = evolve(row, sealed=owner.encode())
                assert await store.swap(row, owner=owner, hold=3 * LEASE) is True
                row = await kept(store)
                assert row.sealed == owner.encode()
                await busy(store)
            assert await store.swap(row, owner="other") is True
            assert (await take(store)).open_attempt is False

    async def test_a_late_owner_still_gives_back(self) -> None:
        """A lease that ran out, and was not taken since, is given back with its hold: then no attempt is open."""
        async with self.opened(a_row()) as store:
            row = await take(store)
            await self.pass_time(store, 2 * LEASE)
            assert await store.swap(row, owner="me", hold=SECOND) is True
            assert await busy(store) <= SECOND
            await self.pass_time(store, SECOND)
            assert (await take(store)).open_attempt is False

    async def test_a_late_owner_does_not_end_the_next_lease(self) -> None:
        """Its row is not the last revision any more; and with the last revision, the lease is not its own."""
        async with self.opened(a_row()) as store:
            late = await take(store)
            await self.pass_time(store, LEASE)
            await take(store, owner="other")
            assert await store.swap(late, owner="me") is False
            assert await store.swap(await kept(store), owner="me") is True
            await busy(store)

    async def test_a_lease_can_be_released_and_nothing_else_is_changed(self) -> None:
        """Free after the hold, at its very end; no attempt is open, and the row is as the claim left it."""
        async with self.opened(a_row(due_at=NOW - SECOND)) as store:
            row = await take(store)
            assert await store.release("a", "me", 10 * SECOND) is True
            assert await kept(store) == row
            await self.becomes_free(store, 10 * SECOND)
            again = await take(store, owner="other")
            assert again == evolve(row, revision=row.revision + 1, attempt=2)
            assert await store.release("a", "other", timedelta()) is True
            assert await claimed(store) == ["a"]

    async def test_what_is_released_keeps_an_open_attempt_open(self) -> None:
        """For every next one that claims it, however often it is given back so, until a swap does."""
        async with self.opened(a_row()) as store:
            await take(store)
            await self.pass_time(store, LEASE)
            for attempt in (2, 3):
                row = await take(store, owner="other")
                assert (row.attempt, row.open_attempt) == (attempt, True)
                assert await store.release("a", "other", SECOND) is True
                assert await busy(store) <= SECOND
                await self.pass_time(store, SECOND)
                assert await store.claim_one("a", "copy", LEASE, sends=False) == Busy(timedelta())
            (row,) = await store.claim(a_request())
            assert row.open_attempt is True
            assert await store.release("a", "me", timedelta()) is True
            assert await store.swap(await take(store), owner="me") is True
            row = await take(store)
            assert row.open_attempt is False
            assert await store.release("a", "me", timedelta()) is True
            assert (await take(store)).open_attempt is False

    async def test_only_its_owner_releases_a_lease(self) -> None:
        """No other owner, nor a former one; and no lease of a login that is not there."""
        async with self.opened(a_row()) as store:
            assert await store.release("a", "me", timedelta()) is False
            assert await store.release("none", "me", timedelta()) is False
            await take(store)
            for owner in ("", "Me", "other"):
                assert await store.release("a", owner, timedelta()) is False
            await busy(store)
            await self.pass_time(store, LEASE)
            await take(store, owner="other")
            assert await store.release("a", "me", timedelta()) is False
            await busy(store)

    async def test_an_open_attempt_is_told_once(self) -> None:
        """Each lease tells of the one before it, and a read tells of none."""
        async with self.opened(a_row()) as store:
            row = await take(store)
            assert row.open_attempt is False
            for attempt in (2, 3):
                await self.pass_time(store, LEASE)
                row = await take(store)
                assert (row.attempt, row.open_attempt) == (attempt, True)
                assert await kept(store) == evolve(row, open_attempt=False)
            assert await store.swap(row, owner="me") is True
            assert (await take(store)).open_attempt is False

    async def test_a_row_is_leased_by_id_due_or_not_paused_or_not(self) -> None:
        """Nothing but a lease or a hold keeps `claim_one` off."""
        async with self.opened() as store:
            await fill(store, a_row("never", due_at=None), a_row("later", due_at=NOW + timedelta(days=1_000)))
            for broker in ("coinbase", "*"):
                await store.pause(broker)
            for login_id in ("never", "later"):
                row = await take(store, login_id)
                assert row == evolve(await kept(store, login_id), open_attempt=False)
                assert (row.revision, row.attempt) == (2, 1)

    async def test_leases_of_different_rows_are_apart(self) -> None:
        """One that ends frees its own row."""
        async with self.opened(a_row("a"), a_row("b")) as store:
            await take(store, "a", lease=SECOND)
            await take(store, "b", lease=2 * SECOND)
            await self.pass_time(store, SECOND)
            assert await claimed(store) == ["a"]
            assert await busy(store, "b") == SECOND


def request_of(owner: str) -> ClaimRequest:
    """A claim request for everything that is due."""
    return a_request(owner=owner)

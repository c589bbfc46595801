"""What every store must do with rows: keep them whole, and change them only with the last revision."""

from datetime import UTC, datetime, timedelta, timezone

from attrs import evolve

from mesh_refresh.stores import Page
from mesh_refresh.testing.conformance.store_kit import (
    LARGEST,
    LEASE,
    MICROSECOND,
    NOW,
    ODD_TEXTS,
    StoreKit,
    a_row,
    fill,
    kept,
    take,
)


class RowCases(StoreKit):
    """Tests of `insert`, `read`, `swap` and `delete`."""

    async def test_a_new_row_begins_with_revision_one_and_no_attempt(self) -> None:
        """Any other numbers that it came with are dropped; all else is kept."""
        async with self.opened(a_row(revision=7, attempt=9, open_attempt=True)) as store:
            assert await kept(store) == a_row(revision=1)

    async def test_a_login_id_is_taken_once(self) -> None:
        """The second insert gives False and changes nothing, the lease neither."""
        async with self.opened(a_row()) as store:
            leased = await take(store)
            assert await store.insert(a_row(sealed=b"other", epoch="other", states=frozenset({"other"}))) is False
            assert await kept(store) == leased
            assert await store.swap(leased, owner="me") is True

    async def test_many_rows_are_inserted_as_one_by_one(self) -> None:
        """Which were new, in their order: not those that are there, nor the second of one id."""
        async with self.shared() as (store, other):
            assert list(await store.insert_many([])) == []
            await fill(store, a_row("there"), a_row("300"))
            some = [a_row("there", sealed=b"other"), a_row("1"), a_row("2"), a_row("1", sealed=b"other")]
            assert list(await store.insert_many(some)) == [False, True, True, False]
            assert (await kept(store, "1")).sealed == (await kept(store, "there")).sealed == b"sealed"
            many = [a_row(str(number), sealed=b"%d" % number) for number in range(3, 1_500)]
            assert list(await other.insert_many(many)) == [row.login_id != "300" for row in many]
            assert await kept(store, "1499") == evolve(many[-1], revision=1)
            assert (await take(store, "3")).attempt == 1
            assert len(await store.rows(Page(2_000))) == 1_500

    async def test_sealed_values_are_counted_by_their_keys(self) -> None:
        """By what is at their beginning; one that is too short has no key."""
        heads = (b"\x01abcd", b"\x01abcd more", b"\x01abce\0", b"plain\0text", b"plain", b"\x02abcd", b"", b"\x01ab")
        async with self.opened() as store:
            assert dict(await store.key_usage()) == {}
            await store.insert_many([a_row(str(number), sealed=head) for number, head in enumerate(heads)])
            assert dict(await store.key_usage()) == {"61626364": 2, "61626365": 1, "plain": 2, "": 3}

    async def test_there_is_nothing_to_do_with_a_login_that_is_not_there(self) -> None:
        """None to read and to claim, False to write and to delete; and nothing is made by it."""
        async with self.opened(a_row("b")) as store:
            assert await store.read("a") is None
            assert await store.claim_one("a", "me", LEASE) is None
            assert await store.swap(a_row(revision=1)) is False
            assert await store.delete("a") is False
            assert await store.read("a") is None
            assert await store.get("a") is None

    async def test_all_text_comes_back_as_it_went_in(self) -> None:
        """Nothing is trimmed, cut, normalized or taken for a number, and no two ids are taken for one."""
        async with self.opened() as store:
            rows = [a_row(text, broker=text, epoch=text, revision=1) for text in ODD_TEXTS]
            await fill(store, *rows)
            for row in rows:
                assert await store.read(row.login_id) == row
                assert await store.swap(evolve(row, sealed=row.login_id.encode())) is True
            for row in rows:
                written = evolve(row, sealed=row.login_id.encode(), revision=2)
                assert await store.read(row.login_id) == written
                claimed = await take(store, row.login_id, owner=row.login_id)
                assert await store.swap(claimed, owner=row.login_id) is True
                assert await store.delete(row.login_id) is True

    async def test_states_come_back_as_a_set(self) -> None:
        """Every name of lower-case letters and `_`, several of them, and none; written anew too."""
        sets = ({"managed"}, {"active", "managed", "mfa_required"}, set[str](), {"a", "ab", "b_"}, {"abcdefghij" * 20})
        async with self.opened() as store:
            for number, states in enumerate(map(frozenset[str], sets)):
                await fill(store, a_row(str(number), states=states))
                row = await kept(store, str(number))
                assert row.states == states
                for other in map(frozenset[str], sets):
                    assert await store.swap(evolve(row, states=other)) is True
                    row = await kept(store, str(number))
                    assert row.states == other

    async def test_all_bytes_come_back_as_they_went_in(self) -> None:
        """What is sealed may be empty, of any bytes, and as long as the largest reply; written anew too."""
        largest = bytes(range(256)) * (LARGEST // 256)
        values = (b"", bytes(range(256)), b"\0" * 10, b"\xff" * 1_000_000, largest)
        async with self.opened() as store:
            for number, (sealed, anew) in enumerate(zip(values, reversed(values), strict=True)):
                await fill(store, a_row(str(number), sealed=sealed))
                row = await kept(store, str(number))
                assert row.sealed == sealed, f"of {len(sealed)} bytes {len(row.sealed)} came back, or others"
                assert await store.swap(evolve(row, sealed=anew)) is True
                found = (await kept(store, str(number))).sealed
                assert found == anew, f"of {len(anew)} bytes {len(found)} came back, or others"

    async def test_times_come_back_to_the_microsecond_in_utc(self) -> None:
        """Past ones and far ones, and those of any zone; pages begin at them too."""
        zones = (timedelta(hours=5, minutes=30), timedelta(hours=20), -timedelta(hours=23, microseconds=5))
        elsewhere = [NOW.astimezone(timezone(zone)) for zone in zones]
        times = (
            NOW + MICROSECOND,
            NOW - MICROSECOND,
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            *elsewhere,
        )
        async with self.opened() as store:
            for number, time in enumerate(times):
                await fill(store, a_row(str(number), due_at=time, expires_at=time, changed_at=time))
                row = await kept(store, str(number))
                assert (row.due_at, row.expires_at, row.changed_at) == (time, time, time)
                assert row in await store.rows(Page(100, changed_since=time))
                if time not in elsewhere:
                    assert row.changed_at.utcoffset() == timedelta()

    async def test_times_may_be_missing(self) -> None:
        """A due time and an expiry can be taken away, and given."""
        async with self.opened(a_row(due_at=None, expires_at=None)) as store:
            for time, after in ((None, NOW), (NOW, None), (None, None)):
                row = await kept(store)
                assert (row.due_at, row.expires_at) == (time, time)
                assert await store.swap(evolve(row, due_at=after, expires_at=after)) is True

    async def test_a_swap_writes_the_row_and_raises_the_revision(self) -> None:
        """The store keeps its own attempt, and writes no `open_attempt`."""
        async with self.opened(a_row()) as store:
            row = await take(store)
            other = NOW + timedelta(days=1)
            new = evolve(
                row, states=frozenset({"new"}), due_at=other, expires_at=other, changed_at=other, sealed=b"new"
            )
            assert await store.swap(evolve(new, attempt=99, open_attempt=True)) is True
            assert await kept(store) == evolve(new, revision=row.revision + 1)

    async def test_a_swap_needs_the_last_revision(self) -> None:
        """With an earlier one, or one that was never, it gives False and changes nothing, the lease neither."""
        async with self.opened(a_row()) as store:
            row = await take(store)
            for revision in (row.revision - 1, row.revision + 1, 0):
                stale = evolve(row, revision=revision, sealed=b"stale", states=frozenset({"stale"}), due_at=None)
                assert await store.swap(stale, owner="me", hold=LEASE) is False
            assert await kept(store) == row
            assert await store.swap(row, owner="me") is True
            assert await store.swap(row) is False

    async def test_a_swap_needs_the_epoch(self) -> None:
        """A row of another epoch is another login's, even where the revision is the same."""
        async with self.opened(a_row()) as store:
            row = await kept(store)
            for epoch in ("other", "", row.epoch.upper(), row.epoch + " "):
                assert await store.swap(evolve(row, epoch=epoch, sealed=b"other")) is False
            assert await kept(store) == row

    async def test_a_login_made_anew_is_another(self) -> None:
        """It starts from the first revision, without attempt and lease, and what is late for the old one fails."""
        async with self.opened(a_row()) as store:
            old = await take(store)
            assert await store.delete("a") is True
            await fill(store, a_row(epoch="new", sealed=b"new"))
            assert await kept(store) == a_row(epoch="new", sealed=b"new", revision=1)
            again = await take(store)
            assert (again.revision, again.attempt, again.open_attempt) == (2, 1, False)
            assert await store.swap(old, owner="me") is False
            assert await kept(store) == again

    async def test_a_login_is_forgotten_under_a_lease_too(self) -> None:
        """Deleting needs no lease; the second time it gives False."""
        async with self.opened(a_row(), a_row("b")) as store:
            await take(store, owner="other")
            assert await store.delete("a") is True
            assert await store.delete("a") is False
            assert await store.read("a") is None
            assert await kept(store, "b") == a_row("b", revision=1)

    async def test_a_login_is_forgotten_as_it_was_seen(self) -> None:
        """With another revision or epoch it stays, with its notices: it was written, claimed or made anew since."""
        async with self.opened(a_row()) as store:
            seen = await kept(store)
            claimed = await take(store)
            for other in (seen, evolve(claimed, revision=claimed.revision + 1), evolve(claimed, epoch="other")):
                assert await store.delete("a", seen=other) is False
            assert await kept(store) == claimed
            assert await store.swap(claimed, owner="me") is True
            assert await store.delete("a", seen=claimed) is False
            assert await store.delete("b", seen=claimed) is False
            assert await store.delete("a", seen=await kept(store)) is True
            assert await store.read("a") is None

    async def test_every_handle_sees_what_is_written(self) -> None:
        """As soon as a verb returned."""
        async with self.shared(a_row()) as (store, other):
            assert await other.read("a") == a_row(revision=1)
            row = await take(other)
            assert await kept(store) == row
            assert await store.swap(evolve(row, sealed=b"new")) is True
            assert (await kept(other)).sealed == b"new"
            assert await other.delete("a") is True
            assert await store.read("a") is None

"""What a store with an outbox must do with notices: never one lost, one of a login at a time, in order."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from mesh_refresh.stores import NoticeCounts, NoticePage, NoticeRow, Outbox, Store
from mesh_refresh.testing.conformance.store_kit import (
    LEASE,
    MICROSECOND,
    NOW,
    ODD_TEXTS,
    SECOND,
    StoreKit,
    a_row,
    kept,
    take,
)

_DAY = timedelta(days=1)


class OutboxConformance(StoreKit):
    """Derive your test class from this as well, where your store has an `outbox`."""

    # Written with the login.

    async def test_notices_are_written_with_the_row_or_not_at_all(self) -> None:
        """By `insert` and by `swap`, in every handle; where these give False, nothing is there."""
        async with self.shared() as (store, other):
            assert await store.insert(a_row(), notices=[a_notice("1"), a_notice("2")]) is True
            assert await store.insert(a_row(), notices=[a_notice("none")]) is False
            row = await take(store)
            assert await store.swap(evolve(row, revision=row.revision - 1), notices=[a_notice("none")]) is False
            assert await store.swap(evolve(row, epoch="other"), notices=[a_notice("none")]) is False
            assert await store.swap(a_row("b"), notices=[a_notice("none", "b")]) is False
            assert await store.swap(row, owner="me", hold=LEASE, notices=[a_notice("3")]) is True
            assert await listed(other) == [a_notice("1"), a_notice("2"), a_notice("3")]

    async def test_a_notice_comes_back_as_it_went_in(self) -> None:
        """All text and bytes, and times to the microsecond; but it is new: never tried, and not dead."""
        async with self.opened() as store:
            for number, text in enumerate(ODD_TEXTS):
                notice = a_notice(
                    text, text, sealed=bytes(range(256)) * (number + 1), due_at=NOW + number * MICROSECOND
                )
                old = evolve(notice, tries=7, first_tried_at=NOW, is_dead=True)
                assert await store.insert(a_row(text), notices=[old]) is True
                assert list(await outbox_of(store).of(text)) == [notice]
                assert await outbox_of(store).drop([text]) == 1
                assert await store.swap(await kept(store, text), notices=[old]) is True
                assert list(await outbox_of(store).of(text)) == [notice]

    async def test_an_id_that_is_there_is_left_alone(self) -> None:
        """A swap is repeated after an acknowledgement that was lost: what is new beside it is written."""
        async with self.opened() as store:
            await store.insert(a_row(), notices=[a_notice("1")])
            again = [a_notice("1", sealed=b"other"), a_notice("2"), a_notice("2", sealed=b"other")]
            assert await store.swap(await kept(store), notices=again) is True
            assert await listed(store) == [a_notice("1"), a_notice("2")]

    async def test_many_swaps_at_once_write_their_notices(self) -> None:
        """Those of each that is done, beside some that are not, and some without."""
        async with self.opened(*(a_row(str(number)) for number in range(20))) as store:
            rows = [await kept(store, str(number)) for number in range(20)]
            done = await asyncio.gather(
                *(
                    store.swap(
                        evolve(row, revision=row.revision + number % 2),
                        notices=[] if number % 5 == 0 else [a_notice(f"{number:02}", row.login_id)],
                    )
                    for number, row in enumerate(rows)
                )
            )
            assert done == [True, False] * 10
            assert [it.id for it in await listed(store)] == ["02", "04", "06", "08", "12", "14", "16", "18"]

    async def test_a_login_takes_its_notices_along(self) -> None:
        """`delete` forgets them, leased and dead ones too, and no others."""
        async with self.shared() as (store, other):
            await store.insert(a_row(), notices=[a_notice("1"), a_notice("2"), a_notice("3")])
            await store.insert(a_row("b"), notices=[a_notice("4", "b")])
            outbox = outbox_of(store)
            assert await claim(other, limit=1) == ["1"]
            assert await outbox.bury("1", "me") is True
            assert await claim(other, limit=1) == ["2"]
            assert await store.delete("a", seen=a_row()) is False
            assert len(await listed(other)) == 4
            assert await store.delete("a") is True
            assert await listed(other) == [a_notice("4", "b")]
            assert await outbox.take("2", "me") is False

    # Claims.

    async def test_a_notice_is_due_from_its_very_moment_on(self) -> None:
        """Not a microsecond before; what was written in the future is due as well: the wall clock was put back."""
        ahead = NOW + timedelta(minutes=2)
        async with self.opened() as store:
            await notify(store, a_notice("1", "a", due_at=NOW))
            await notify(store, a_notice("2", "b", due_at=NOW + MICROSECOND))
            later = {"due_at": NOW + _DAY}
            await notify(store, a_notice("3", "c", written_at=ahead, **later))
            await notify(store, a_notice("4", "d", written_at=ahead + MICROSECOND, **later))
            assert await claim(store) == ["1", "4"]
            assert await claim(store, now=NOW + MICROSECOND) == ["2"]

    async def test_a_notice_that_a_wrong_clock_has_given_back_is_due(self) -> None:
        """The clock was ahead, and was put right; but a wait that may be meant is waited for, and tries begin now."""
        far, year = NOW + _DAY + timedelta(minutes=2), 365 * _DAY
        async with self.opened() as store:
            outbox = outbox_of(store)
            await notify(store, *(a_notice(it, written_at=NOW + year, due_at=NOW + year) for it in ("1", "2")))
            await notify(store, a_notice("3", "b"))
            (one, other) = await outbox.claim("me", LEASE, now=NOW + year, limit=10)
            assert {one.id, other.id} == {"1", "3"}
            assert await outbox.give_back("3", "me", far) is True
            assert await outbox.give_back("1", "me", far + MICROSECOND) is True
            (found,) = await outbox.claim("me", LEASE, now=NOW, limit=10)
            assert (found.id, found.due_at, found.first_tried_at, found.tries) == ("1", NOW, NOW, 2)
            assert next(iter(await outbox.of("a"))) == found
            assert await outbox.give_back("1", "me", NOW + SECOND) is True
            assert await claim(store) == []
            assert await claim(store, now=NOW + SECOND) == ["1"]
            assert await claim(store, now=far) == ["3"]

    async def test_the_longest_due_notices_come_first(self) -> None:
        """No more than the limit, which may be none."""
        async with self.opened() as store:
            for late in (3, 1, 4, 0, 2):
                await notify(store, a_notice(str(late), f"login {late}", due_at=NOW - late * MICROSECOND))
            assert await claim(store, limit=0) == []
            assert await claim(store, limit=-1) == []
            assert await claim(store, limit=2) == ["4", "3"]
            assert await claim(store) == ["2", "1", "0"]
            assert await claim(store) == []

    async def test_a_claim_counts_a_try(self) -> None:
        """And writes down when the first was; all else is as it was."""
        async with self.opened() as store:
            await notify(store, a_notice("1"))
            outbox = outbox_of(store)
            for tries in (1, 2):
                now = NOW + tries * SECOND
                (notice,) = await outbox.claim("me", LEASE, now=now, limit=10)
                assert notice == a_notice("1", tries=tries, first_tried_at=NOW + SECOND, due_at=notice.due_at)
                assert await listed(store) == [notice]
                assert await outbox.give_back("1", "me", now) is True

    async def test_one_notice_of_a_login_is_out_at_a_time(self) -> None:
        """In the order in which they were written, and not by their due times; those of other logins beside it."""
        async with self.shared() as (store, other):
            await notify(store, a_notice("z"), a_notice("y", due_at=NOW - _DAY), a_notice("x", due_at=NOW - SECOND))
            await notify(store, a_notice("w", "b", due_at=NOW - SECOND))
            assert await claim(store) == ["w", "z"]
            assert await claim(other) == []
            assert await outbox_of(store).give_back("z", "me", NOW + _DAY) is True
            assert await claim(other) == []
            assert await claim(other, now=NOW + _DAY) == ["z"]
            assert await outbox_of(store).take("z", "me") is True
            assert await claim(store) == ["y"]

    async def test_a_dead_notice_holds_back_none(self) -> None:
        """And is not handed out."""
        async with self.opened() as store:
            await notify(store, a_notice("1"), a_notice("2"))
            assert await claim(store) == ["1"]
            assert await outbox_of(store).bury("1", "me") is True
            assert await claim(store) == ["2"]
            assert await claim(store, now=NOW + _DAY) == []

    async def test_no_notice_is_claimed_twice(self) -> None:
        """However many claims come at once, by any handle: one of each login."""
        async with self.shared() as (store, other):
            for login_id in "abcdef":
                await notify(store, *(a_notice(f"{login_id}{number}", login_id) for number in range(3)))
            claims = [claim((store, other)[n % 2], owner=str(n), limit=2) for n in range(20)]
            found = [notice_id for ids in await asyncio.gather(*claims) for notice_id in ids]
            assert sorted(found) == ["a0", "b0", "c0", "d0", "e0", "f0"]

    # Leases.

    async def test_the_lease_of_a_notice_ends_at_its_very_moment(self) -> None:
        """A microsecond before, no handler gets it; then it is tried again."""
        async with self.shared() as (store, other):
            await notify(store, a_notice("1"), a_notice("2"))
            assert await claim(store) == ["1"]
            await self.pass_time(store, LEASE - MICROSECOND)
            assert await claim(other, owner="other") == []
            await self.pass_time(store, MICROSECOND)
            (notice,) = await outbox_of(other).claim("other", LEASE, now=NOW, limit=10)
            assert (notice.id, notice.tries) == ("1", 2)

    async def test_only_its_owner_ends_the_lease_of_a_notice(self) -> None:
        """Late too, as long as no other has it; of what is not there nothing is ended."""
        async with self.opened() as store:
            await notify(store, a_notice("1"))
            assert await ended(store, "1", "me") == [False] * 3
            assert await claim(store) == ["1"]
            before = await listed(store)
            for owner in ("", "Me", "other"):
                assert await ended(store, "1", owner) == [False] * 3
            assert await ended(store, "2", "me") == [False] * 3
            await self.pass_time(store, LEASE)
            assert await listed(store) == before
            assert await claim(store, owner="other") == ["1"]
            assert await ended(store, "1", "me") == [False] * 3
            await self.pass_time(store, LEASE)
            assert await outbox_of(store).give_back("1", "other", NOW) is True
            assert await ended(store, "1", "other") == [False] * 3
            assert await claim(store) == ["1"]

    async def test_a_dead_notice_can_be_sent_again(self) -> None:
        """As a new one, behind the others of its login; one that waits, or is not there, is left alone."""
        async with self.opened() as store:
            outbox = outbox_of(store)
            await notify(store, a_notice("1"), a_notice("2"), a_notice("3"))
            assert await claim(store) == ["1"]
            assert await outbox.resend("1", NOW) is False
            assert await outbox.bury("1", "me") is True
            assert await outbox.resend("2", NOW - _DAY) is False
            assert await outbox.resend("none", NOW) is False
            assert await outbox.resend("1", NOW - SECOND) is True
            assert [it.id for it in await outbox.of("a")] == ["2", "3", "1"]
            assert (await outbox.of("a"))[2] == a_notice("1", due_at=NOW - SECOND)
            for notice_id in ("2", "3", "1"):
                assert await claim(store) == [notice_id]
                assert await outbox.take(notice_id, "me") is True

    # Lists, and what is forgotten.

    async def test_notices_are_listed_page_by_page(self) -> None:
        """In the order of their ids by code points; dead ones or not, and those of a time."""
        ids = ["", "\0", "A", "a", "aa", "z", "\uffff", "\U0001f600"]
        async with self.opened() as store:
            for number, notice_id in enumerate(reversed(ids)):
                await notify(store, a_notice(notice_id, f"login {number}", written_at=NOW + number * SECOND))
            assert len(await claim(store, limit=3)) == 3
            dead = [it.id for it in await listed(store) if it.tries]
            for notice_id in dead:
                await outbox_of(store).bury(notice_id, "me")
            found: list[str] = []
            while page := await listed(store, limit=3, after=found[-1] if found else None):
                found += [it.id for it in page]
            assert found == ids
            assert [it.id for it in await listed(store, is_dead=True)] == dead
            assert [it.id for it in await listed(store, is_dead=False)] == [it for it in ids if it not in dead]
            assert [it.id for it in await listed(store, since=NOW + 5 * SECOND)] == ids[:3]
            assert await listed(store, limit=0) == []

    async def test_notices_are_counted(self) -> None:
        """Those that wait, whether they are out or not, the oldest of them, and dead ones."""
        async with self.opened() as store:
            assert await outbox_of(store).counts() == NoticeCounts(0, 0, None)
            for number in range(4):
                await notify(store, a_notice(str(number), str(number), written_at=NOW + number * SECOND))
            assert await outbox_of(store).counts() == NoticeCounts(4, 0, NOW)
            await claim(store)
            assert await outbox_of(store).bury("0", "me") is True
            assert await outbox_of(store).counts() == NoticeCounts(3, 1, NOW + SECOND)

    async def test_notices_move_from_store_to_store(self) -> None:
        """With all that they say, in their order; those that are there are left alone, and a lease stays behind."""
        async with self.opened() as store, self.opened() as target:
            await notify(store, a_notice("2"), a_notice("1"), a_notice("3"))
            assert await claim(store) == ["2"]
            await outbox_of(store).bury("2", "me")
            assert await claim(store) == ["1"]
            notices = await outbox_of(store).of("a")
            assert await outbox_of(target).put(notices[1:2]) == 1
            assert await outbox_of(target).drop(["1", "none"]) == 1
            assert await outbox_of(target).put(notices) == 3
            assert await outbox_of(target).put([evolve(it, sealed=b"other") for it in notices]) == 0
            assert await outbox_of(target).put([]) == 0
            assert list(await outbox_of(target).of("a")) == list(notices)
            assert list(await outbox_of(target).of("none")) == []
            assert await outbox_of(store).drop([it.id for it in notices]) == 3
            assert await listed(store) == []
            assert await claim(target) == ["1"]

    async def test_old_notices_are_forgotten(self) -> None:
        """Dead ones and those that no handler came for, from their due time on; not those that are out."""
        async with self.opened() as store:
            for number in range(5):
                await notify(store, a_notice(str(number), str(number), due_at=NOW + (number - 4) * _DAY))
            assert await claim(store, limit=2) == ["0", "1"]
            assert await outbox_of(store).bury("0", "me") is True
            assert await outbox_of(store).purge(NOW - 4 * _DAY) == 0
            assert await outbox_of(store).purge(NOW - _DAY) == 2
            assert [it.id for it in await listed(store)] == ["1", "3", "4"]
            await self.pass_time(store, LEASE)
            assert await outbox_of(store).purge(NOW - _DAY) == 1
            assert [it.id for it in await listed(store)] == ["3", "4"]

    async def test_notices_are_counted_by_their_keys(self) -> None:
        """Beside the logins."""
        async with self.opened() as store:
            await notify(store, *(a_notice(str(number), sealed=b"\x01abc%d" % (number % 2)) for number in range(3)))
            assert dict(await store.key_usage()) == {"": 1, "61626330": 2, "61626331": 1}

    async def test_a_notice_can_be_sealed_anew(self) -> None:
        """Nothing else is changed by that, the lease and the order neither."""
        async with self.opened() as store:
            await notify(store, a_notice("1"), a_notice("2"))
            assert await claim(store) == ["1"]
            before = await outbox_of(store).of("a")
            assert await outbox_of(store).reseal("1", b"anew") is True
            assert await outbox_of(store).reseal("none", b"anew") is False
            assert list(await outbox_of(store).of("a")) == [evolve(before[0], sealed=b"anew"), before[1]]
            assert await claim(store) == []
            assert await outbox_of(store).take("1", "me") is True


def a_notice(notice_id: str, login_id: str = "a", **changes: Any) -> NoticeRow:
    """A notice that is due."""
    return evolve(NoticeRow(notice_id, login_id, NOW, NOW, b"sealed"), **changes)


def outbox_of(store: Store) -> Outbox:
    """The one that it must have."""
    assert store.outbox is not None, "this store has no outbox: leave OutboxConformance away"
    return store.outbox


async def notify(store: Store, *notices: NoticeRow) -> None:
    """Write `notices`, all of one login, with a login that is new, or that is there."""
    login_id = notices[0].login_id
    if not await store.insert(a_row(login_id), notices=notices):
        assert await store.swap(await kept(store, login_id), notices=notices) is True


async def claim(
    store: Store, *, owner: str = "me", lease: timedelta = LEASE, now: datetime = NOW, limit: int = 100
) -> list[str]:
    """The ids of what a claim gives, in order."""
    return [notice.id for notice in await outbox_of(store).claim(owner, lease, now=now, limit=limit)]


async def ended(store: Store, notice_id: str, owner: str) -> list[bool]:
    """What comes of each way to end a lease."""
    outbox, later = outbox_of(store), datetime(2999, 1, 1, tzinfo=UTC)
    return [
        await outbox.take(notice_id, owner),
        await outbox.give_back(notice_id, owner, later),
        await outbox.bury(notice_id, owner),
    ]


async def listed(store: Store, limit: int = 100, **filters: Any) -> Sequence[NoticeRow]:
    """The notices on one page."""
    return list(await outbox_of(store).page(NoticePage(limit, **filters)))

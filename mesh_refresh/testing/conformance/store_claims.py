"""What every store must do with claims: what is due, the longest due first, within limits, and no broker starved."""

from collections import Counter
from datetime import timedelta
from typing import Any

from attrs import evolve

from mesh_refresh.stores import BrokerPause, Store
from mesh_refresh.testing.conformance.store_kit import (
    MANY,
    MICROSECOND,
    NOW,
    ODD_TEXTS,
    SECOND,
    StoreKit,
    a_request,
    a_row,
    claimed,
    fill,
    fill_at_once,
    kept,
    take,
)

AHEAD = NOW + timedelta(minutes=2)


class ClaimCases(StoreKit):
    """Tests of `claim`, `pause` and `paused`."""

    async def test_a_row_is_due_from_its_very_moment_on(self) -> None:
        """Not a microsecond before, and never without a due time."""
        async with self.opened(a_row("due", due_at=NOW), a_row("soon", due_at=NOW + MICROSECOND)) as store:
            await fill(store, a_row("never", due_at=None))
            assert await claimed(store) == ["due"]
            assert await claimed(store, now=NOW + MICROSECOND) == ["soon"]
            assert await claimed(store, now=NOW + timedelta(days=1_000_000)) == []

    async def test_a_claimed_row_comes_back_as_it_is_now(self) -> None:
        """Revision and attempt raised, all else as it was, the due time too."""
        async with self.opened(a_row()) as store:
            (row,) = await store.claim(a_request())
            assert row == a_row(revision=2, attempt=1)
            assert await kept(store) == row
            assert await store.swap(evolve(row, sealed=b"new"), owner="me") is True
            (row,) = await store.claim(a_request())
            assert row == a_row(revision=4, attempt=2, sealed=b"new")

    async def test_the_longest_due_come_first(self) -> None:
        """Of all brokers together, and not in the order in which they came."""
        async with self.opened() as store:
            order = (3, 1, 4, 0, 5, 2)
            for late in order:
                await fill(store, a_row(str(late), due_at=NOW - late * MICROSECOND, broker=f"broker {late % 3}"))
            assert await claimed(store, limit=2) == ["5", "4"]
            assert await claimed(store, limit=3) == ["3", "2", "1"]
            assert await claimed(store) == ["0"]

    async def test_a_claim_takes_no_more_than_its_limit(self) -> None:
        """None at all for a limit of none; and nothing is claimed where nothing is."""
        async with self.opened() as store:
            assert list(await store.claim(a_request())) == []
            await fill(store, *(a_row(str(number)) for number in range(5)))
            assert await claimed(store, limit=0) == []
            assert len(await claimed(store, limit=3)) == 3
            assert len(await claimed(store, limit=3)) == 2
            assert await claimed(store, limit=3) == []

    async def test_a_claim_takes_no_more_of_a_broker_than_its_limit(self) -> None:
        """Its own limit, else the one for each, else the one for all."""
        async with self.opened() as store:
            for broker in ("a", "b", "c"):
                await fill(store, *(a_row(f"{broker}{number}", broker=broker) for number in range(6)))
            limits = {"a": 1, "b": 4, "other": 5}
            assert await brokers(store, limits=limits, limit_each=2) == {"a": 1, "b": 4, "c": 2}
            assert await brokers(store, limits={"a": 0}, limit_each=1) == {"b": 1, "c": 1}
            assert await brokers(store, limits={"a": 0, "b": 0}) == {"c": 3}
            assert await brokers(store, limits={"a": 4, "b": 4}, limit=3) == {"a": 3}

    async def test_a_broker_that_is_left_out_does_not_starve_the_others(self) -> None:
        """However many of its rows have been due for longer, by a limit or by a pause."""
        async with self.opened() as store:
            yesterday = NOW - timedelta(days=1)
            await fill_at_once(store, *(a_row(f"old {n}", broker="old", due_at=yesterday) for n in range(MANY)))
            await fill(store, *(a_row(str(number), broker="new") for number in range(4)))
            assert await brokers(store, limit=2, limits={"old": 0}) == {"new": 2}
            assert await brokers(store, limit=2, limits={"old": 1}) == {"old": 1, "new": 1}
            await store.pause("old")
            assert await brokers(store, limit=2) == {"new": 1}

    async def test_leased_rows_do_not_hide_those_behind_them(self) -> None:
        """Though they have been due for longer."""
        async with self.opened() as store:
            rows = [a_row(f"{n:04}", due_at=NOW - timedelta(seconds=MANY - n)) for n in range(MANY)]
            await fill_at_once(store, *rows)
            assert await claimed(store, limit=MANY - 1) == [row.login_id for row in rows[:-1]]
            assert await claimed(store, limit=1) == [rows[-1].login_id]

    async def test_a_paused_broker_is_left_out(self) -> None:
        """In every handle, until it is resumed; pausing and resuming twice is as once."""
        async with self.shared(a_row("a", broker="one"), a_row("b", broker="two")) as (store, other):
            for _ in range(2):
                await store.pause("one")
            assert set(await other.paused()) == {"one"}
            assert await claimed(other) == ["b"]
            for _ in range(2):
                await other.pause("one", paused=False)
            assert not await store.paused()
            assert await claimed(store) == ["a"]

    async def test_a_pause_says_why_and_since_when(self) -> None:
        """In every handle; a pause that is there gets the new note, and without a time it is since now."""
        async with self.shared() as (store, other):
            for text in ODD_TEXTS:
                await store.pause(f"of {text}", note=text, by=text, at=NOW + MICROSECOND)
            assert await other.paused() == {
                f"of {text}": BrokerPause(f"of {text}", text, text, NOW + MICROSECOND) for text in ODD_TEXTS
            }
            await other.pause("one", note="an outage", by="ann", at=NOW)
            await store.pause("one", by="bob", at=NOW + SECOND)
            assert (await other.paused())["one"] == BrokerPause("one", "", "bob", NOW + SECOND)
            await store.pause("two")
            two = (await store.paused())["two"]
            assert (two.note, two.by) == ("", "")
            assert two.at is not None
            assert two.at.utcoffset() == timedelta()
            await store.pause("one", paused=False)
            await store.pause("one", note="again", at=NOW)
            assert (await store.paused())["one"] == BrokerPause("one", "again", "", NOW)

    async def test_a_broker_that_is_resumed_is_stamped(self) -> None:
        """With a time that goes on, for every process, and also where it was not paused."""
        async with self.shared() as (store, other):
            await store.pause("one")
            assert "one" not in await other.resumed()
            await store.pause("one", paused=False)
            (first,) = (await other.resumed()).values()
            assert first.tzinfo is not None
            await self.pass_time(store, SECOND)
            await other.pause("one", paused=False)
            await other.pause("*", paused=False)
            stamps = await store.resumed()
            assert set(stamps) == {"one", "*"}
            assert stamps["one"] > first

    async def test_a_star_pauses_every_broker(self) -> None:
        """Those that come later too; resumed, it leaves the pauses of single brokers."""
        async with self.opened() as store:
            await store.pause("*")
            await store.pause("one")
            await fill(store, a_row("a", broker="one"), a_row("b", broker="two"), a_row("c", broker="*"))
            assert set(await store.paused()) == {"*", "one"}
            assert await claimed(store) == []
            await store.pause("*", paused=False)
            assert set(await store.paused()) == {"one"}
            assert sorted(await claimed(store)) == ["b", "c"]

    async def test_a_row_changed_in_the_future_is_due(self) -> None:
        """The wall clock was put back since. At the tolerance's very moment it is not, and without a due time never."""
        later = NOW + timedelta(days=1)
        async with self.opened(a_row("ahead", due_at=later, changed_at=AHEAD + MICROSECOND)) as store:
            await fill(store, a_row("not yet", due_at=later, changed_at=AHEAD))
            await fill(store, a_row("never", due_at=None, changed_at=AHEAD + SECOND))
            assert await claimed(store) == ["ahead"]
            assert await claimed(store) == []

    async def test_the_limit_holds_what_is_due_and_what_was_changed_in_the_future_together(self) -> None:
        """Over any number of brokers. A row under a lease takes no place."""
        later, ahead = NOW + timedelta(days=1), AHEAD + SECOND
        async with self.opened(a_row("due", broker="one")) as store:
            for name in ("two", "three"):
                rows = [
                    a_row(f"{name} {number}", broker=name, due_at=later + number * SECOND, changed_at=ahead)
                    for number in range(2)
                ]
                await fill(store, *rows)
            await take(store, "three 0", owner="other")
            await take(store, "two 0", owner="other")
            found = await claimed(store, limit=2)
            assert found[0] == "due"
            assert len(found) == 2
            assert sorted([*found[1:], *await claimed(store, limit=1)]) == ["three 1", "two 1"]

    async def test_a_limit_below_nothing_is_nothing(self) -> None:
        """As what is left of a limit may be."""
        async with self.opened(a_row("a", broker="one"), a_row("b", broker="two")) as store:
            assert await claimed(store, limit=-1) == []
            assert await claimed(store, limit_each=-1) == []
            assert await claimed(store, limits={"one": -1}) == ["b"]

    async def test_what_was_changed_in_the_future_keeps_order_and_limits(self) -> None:
        """It comes after what has been due for longer, once each, and pauses and limits count for it too."""
        async with self.opened() as store:
            for number in range(4):
                due_at = NOW + (number - 1) * SECOND
                await fill(store, a_row(f"a{number}", broker="a", due_at=due_at, changed_at=AHEAD + SECOND))
            await fill(store, a_row("b", broker="b", due_at=NOW - MICROSECOND))
            await fill(store, a_row("c", broker="c", due_at=NOW, changed_at=AHEAD + SECOND))
            await store.pause("c")
            assert await claimed(store, limits={"a": 0}, limit=1) == ["b"]
            assert await claimed(store, limits={"a": 1}) == ["a0"]
            assert await claimed(store, limit=2) == ["a1", "a2"]
            await store.pause("c", paused=False)
            assert await claimed(store) == ["c", "a3"]

    async def test_a_claim_in_many_brokers_takes_the_longest_due_of_all(self) -> None:
        """Whichever broker a store looks at first."""
        async with self.opened() as store:
            for number in range(60):
                await fill(store, a_row(str(number), broker=f"b{number * 7 % 20:02}", due_at=NOW - number * SECOND))
            assert await claimed(store, limit=10) == [str(number) for number in range(59, 49, -1)]
            assert await claimed(store, limit=10, limit_each=1) == [str(number) for number in range(49, 39, -1)]


async def brokers(store: Store, **changes: Any) -> Counter[str]:
    """How many rows of each broker a claim gives."""
    return Counter(row.broker for row in await store.claim(a_request(**changes)))

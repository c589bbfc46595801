"""Stores that are wrong, each in one thing that the contract says, and the test that finds it out."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unicodedata import normalize

from attrs import evolve, frozen

from mesh_refresh.clock import Clock
from mesh_refresh.stores import Busy, ClaimRequest, MemoryStore, NoticeRow, Page, Row
from mesh_refresh.stores.memory.store import _Kept

MICROSECOND, NOTHING = timedelta(microseconds=1), timedelta()


@frozen
class Wrong:
    """One wrong thing."""

    what: str
    check: str
    """The test that fails."""
    store: Callable[[Clock], MemoryStore]


def having(**verbs: Any) -> Callable[[Clock], MemoryStore]:
    """A store with other verbs."""
    made: Any = type("Having", (MemoryStore,), verbs)
    return lambda clock: made(clock=clock)


def inserting(change: Callable[[Row], Row]) -> Callable[[Clock], MemoryStore]:
    """A store that keeps something else than it is given as a new row."""

    async def insert(self: MemoryStore, row: Row, **more: Any) -> bool:
        return await MemoryStore.insert(self, change(row), **more)

    return having(insert=insert)


def writing(change: Callable[[Row, _Kept], Row]) -> Callable[[Clock], MemoryStore]:
    """A store that writes something else than it is given."""

    async def swap(
        self: MemoryStore, row: Row, *, owner: str | None = None, hold: timedelta = NOTHING, **more: Any
    ) -> bool:
        kept = self._kept.get(row.login_id)
        wrote = await MemoryStore.swap(self, row, owner=owner, hold=hold, **more)
        if wrote and kept is not None:
            kept.row = change(kept.row, kept)
        return wrote

    return having(swap=swap)


Swap = tuple[Row, str | None, timedelta]


def swapping(change: Callable[[Any, Row, str | None, timedelta], Swap]) -> Callable[[Clock], MemoryStore]:
    """A store that takes a swap for another one."""

    async def swap(
        self: MemoryStore, row: Row, *, owner: str | None = None, hold: timedelta = NOTHING, **more: Any
    ) -> bool:
        row, owner, hold = change(self._kept.get(row.login_id), row, owner, hold)
        return await MemoryStore.swap(self, row, owner=owner, hold=hold, **more)

    return having(swap=swap)


def keeping(name: str) -> Callable[[Clock], MemoryStore]:
    """A store that does not look at this field of a row that is written, or does not write it."""
    return swapping(
        lambda kept, row, owner, hold: (evolve(row, **{name: getattr(kept.row, name)}) if kept else row, owner, hold)
    )


def leasing(by: timedelta) -> Callable[[Clock], MemoryStore]:
    """A store whose leases are longer by so much."""

    def lease(self: MemoryStore, kept: _Kept, owner: str, lease: timedelta, now: int, *, sends: bool = True) -> Row:
        leased: Row = super(type(self), self)._lease(kept, owner, lease + by, now, sends=sends)  # type: ignore[misc]
        return leased

    return having(_lease=lease)


def requesting(change: Callable[[ClaimRequest], ClaimRequest]) -> Callable[[Clock], MemoryStore]:
    """A store that takes a claim request for another one."""

    async def claim(self: MemoryStore, request: ClaimRequest) -> Sequence[Row]:
        return await MemoryStore.claim(self, change(request))

    return having(claim=claim)


def giving(change: Callable[[Sequence[Row]], Sequence[Row]]) -> Callable[[Clock], MemoryStore]:
    """A store whose claims give something else than they leased."""

    async def claim(self: MemoryStore, request: ClaimRequest) -> Sequence[Row]:
        return change(await MemoryStore.claim(self, request))

    return having(claim=claim)


def paging(change: Callable[[Page], Page]) -> Callable[[Clock], MemoryStore]:
    """A store that takes a page for another one."""

    async def rows(self: MemoryStore, page: Page) -> Sequence[Row]:
        return await MemoryStore.rows(self, change(page))

    return having(rows=rows)


def counting(**changes: int) -> Callable[[Clock], MemoryStore]:
    """A store that counts wrong."""

    async def counts(self: MemoryStore, now: datetime) -> Any:
        found = await MemoryStore.counts(self, now)
        return [evolve(it, **{name: getattr(it, name) + by for name, by in changes.items()}) for it in found]

    return having(counts=counts)


async def _shifted(self: MemoryStore, now: datetime, hours: int = 24) -> list[int]:
    return await MemoryStore.due_by_hour(self, now - MICROSECOND, hours)


def reading(change: Callable[[Row], Row]) -> Callable[[Clock], MemoryStore]:
    """A store that reads something else than it keeps."""

    async def read(self: MemoryStore, login_id: str) -> Row | None:
        row = await MemoryStore.read(self, login_id)
        return row and change(row)

    return having(read=read)


def releasing(change: Callable[[_Kept], object]) -> Callable[[Clock], MemoryStore]:
    """A store that does this too to a row whose lease it has released."""

    async def release(self: MemoryStore, login_id: str, owner: str, hold: timedelta) -> bool:
        done = await MemoryStore.release(self, login_id, owner, hold)
        if done:
            change(self._kept[login_id])
        return done

    return having(release=release)


# Verbs that are no single step.


async def _slow_insert(self: MemoryStore, row: Row, **more: Any) -> bool:
    if row.login_id in self._kept:
        return False
    await asyncio.sleep(0)
    self._kept.pop(row.login_id, None)
    return await MemoryStore.insert(self, row, **more)


async def _half_insert(self: MemoryStore, row: Row, **more: Any) -> bool:
    made = await MemoryStore.insert(self, evolve(row, sealed=b""), **more)
    if made:
        await asyncio.sleep(0)
        kept = self._kept[row.login_id]
        kept.row = evolve(kept.row, sealed=row.sealed)
    return made


async def _slow_swap(
    self: MemoryStore, row: Row, *, owner: str | None = None, hold: timedelta = NOTHING, **more: Any
) -> bool:
    kept = self._kept.get(row.login_id)
    fits = kept is not None and (kept.row.epoch, kept.row.revision) == (row.epoch, row.revision)
    await asyncio.sleep(0)
    if not fits or kept is None:
        return False
    return await MemoryStore.swap(self, evolve(row, revision=kept.row.revision), owner=owner, hold=hold, **more)


async def _lease_first(
    self: MemoryStore, row: Row, *, owner: str | None = None, hold: timedelta = NOTHING, **more: Any
) -> bool:
    kept = self._kept.get(row.login_id)
    if kept is not None and owner is not None and kept.lease.owner == owner and kept.row.revision == row.revision:
        kept.lease.owner, kept.lease.until = None, None
        await asyncio.sleep(0)
    return await MemoryStore.swap(self, row, owner=owner, hold=hold, **more)


async def _slow_claim(self: MemoryStore, request: ClaimRequest) -> Sequence[Row]:
    now = self._now()
    due = [kept for kept in self._kept.values() if self._is_due(kept, request, now)]
    await asyncio.sleep(0)
    chosen = sorted(due, key=lambda it: (it.row.due_at, it.row.login_id))[: max(request.limit, 0)]
    return [self._lease(kept, request.owner, request.lease, now) for kept in chosen]


async def _slow_claim_one(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    kept, now = self._kept.get(login_id), self._now()
    if kept is None or kept.lease.is_taken(now):
        return await MemoryStore.claim_one(self, login_id, owner, lease, sends=sends)
    await asyncio.sleep(0)
    return self._lease(kept, owner, lease, now, sends=sends)


class Leaves(MemoryStore):
    """Does what waits in turn, and drops it at its closing."""

    closed = False

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = NOTHING,
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return not self.closed and await super().swap(row, owner=owner, hold=hold, notices=notices)

    async def aclose(self) -> None:
        self.closed = True


class ClosesOnce(MemoryStore):
    """Cannot be closed again."""

    closed = False

    async def aclose(self) -> None:
        assert not self.closed, "closed before"
        self.closed = True


# Verbs that do something else.


async def _first_400(self: MemoryStore, request: ClaimRequest) -> Sequence[Row]:
    kept, now = self._kept, self._now()
    due = [it for it in kept.values() if it.row.due_at is not None and it.row.due_at <= request.now]
    seen = sorted(due, key=lambda it: (it.row.due_at, it.row.login_id))[:400]
    taken: dict[str, int] = {}
    claimed: list[Row] = []
    for it in seen:
        broker = it.row.broker
        is_wanted = self._is_due(it, request, now) and not {broker, "*"} & self._paused.keys()
        if is_wanted and len(claimed) < request.limit and taken.get(broker, 0) < request.limit_of(broker):
            taken[broker] = taken.get(broker, 0) + 1
            claimed.append(self._lease(it, request.owner, request.lease, now))
    return claimed


async def _own_again(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    kept = self._kept.get(login_id)
    if kept is not None and kept.lease.owner == owner:
        kept.lease.until = None
    return await MemoryStore.claim_one(self, login_id, owner, lease, sends=sends)


async def _only_due(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    kept = self._kept.get(login_id)
    if kept is not None and (kept.row.due_at is None or self._paused):
        return Busy(NOTHING)
    return await MemoryStore.claim_one(self, login_id, owner, lease, sends=sends)


async def _forgets_open(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    found = await MemoryStore.claim_one(self, login_id, owner, lease, sends=sends)
    return evolve(found, open_attempt=False) if isinstance(found, Row) else found


async def _quiet_takes_open(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    found = await MemoryStore.claim_one(self, login_id, owner, lease)
    if isinstance(found, Row):
        self._kept[login_id].sends = sends
    return found


async def _quiet_is_open(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    found = await MemoryStore.claim_one(self, login_id, owner, lease, sends=sends)
    if isinstance(found, Row) and not sends:
        self._kept[login_id].sends = True
    return found


async def _quiet_by_name(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    return await MemoryStore.claim_one(self, login_id, owner, lease, sends=sends and not owner.startswith("~"))


async def _busy_for_ever(
    self: MemoryStore, login_id: str, owner: str, lease: timedelta, *, sends: bool = True
) -> Row | Busy | None:
    found = await MemoryStore.claim_one(self, login_id, owner, lease, sends=sends)
    return Busy(timedelta.max) if isinstance(found, Busy) else found


async def _makes_it(self: MemoryStore, login_id: str) -> Row | None:
    return await MemoryStore.read(self, login_id) or Row(
        login_id, "", frozenset(), None, None, datetime.max.replace(tzinfo=UTC), b""
    )


async def _taken_anew(self: MemoryStore, row: Row, **more: Any) -> bool:
    self._kept.pop(row.login_id, None)
    return await MemoryStore.insert(self, row, **more)


async def _all_are_new(self: MemoryStore, rows: Sequence[Row]) -> list[bool]:
    await MemoryStore.insert_many(self, rows)
    return [True for _ in rows]


async def _plain_or_not(self: MemoryStore) -> dict[str, int]:
    found = dict(await MemoryStore.key_usage(self))
    return {**found, "plain": found.get("plain", 0) + found.pop("", 0)}


async def _normalizes(self: MemoryStore, row: Row, **more: Any) -> bool:
    if normalize("NFC", row.login_id) in {normalize("NFC", it) for it in self._kept}:
        return False
    return await MemoryStore.insert(self, row, **more)


async def _deletes_free(self: MemoryStore, login_id: str, **more: Any) -> bool:
    kept = self._kept.get(login_id)
    is_free = kept is not None and not kept.lease.is_taken(self._now())
    return is_free and await MemoryStore.delete(self, login_id, **more)


async def _deletes_always(self: MemoryStore, login_id: str, **more: Any) -> bool:
    await MemoryStore.delete(self, login_id, **more)
    return True


async def _deletes_as_it_is(self: MemoryStore, login_id: str, **_: Any) -> bool:
    return await MemoryStore.delete(self, login_id)


async def _forgets_notices_first(self: MemoryStore, login_id: str, **more: Any) -> bool:
    self._outbox.forget(login_id)
    return await MemoryStore.delete(self, login_id, **more)


async def _keeps_lease(self: MemoryStore, row: Row, **more: Any) -> bool:
    made = await MemoryStore.insert(self, row, **more)
    graves: dict[str, _Kept] = self.__dict__.setdefault("graves", {})
    if made and row.login_id in graves:
        old = graves[row.login_id]
        self._kept[row.login_id].row = evolve(self._kept[row.login_id].row, revision=old.row.revision + 1)
    return made


async def _to_the_grave(self: MemoryStore, login_id: str, **more: Any) -> bool:
    if login_id in self._kept:
        self.__dict__.setdefault("graves", {})[login_id] = self._kept[login_id]
    return await MemoryStore.delete(self, login_id, **more)


async def _pauses_all(self: MemoryStore, broker: str, *, paused: bool = True, **why: Any) -> None:
    await MemoryStore.pause(self, broker, paused=paused, **why)
    if not paused and broker == "*":
        self._paused.clear()


async def _pauses_never(self: MemoryStore, broker: str, *, paused: bool = True, **why: Any) -> None:
    del self, broker, paused, why


async def _pauses_in_turn(self: MemoryStore, broker: str, *, paused: bool = True, **why: Any) -> None:
    await MemoryStore.pause(self, broker, paused=paused and broker not in self._paused, **why)


async def _keeps_the_first_pause(self: MemoryStore, broker: str, *, paused: bool = True, **why: Any) -> None:
    if not paused or broker not in self._paused:
        await MemoryStore.pause(self, broker, paused=paused, **why)


async def _stamps_once(self: MemoryStore, broker: str, *, paused: bool = True, **why: Any) -> None:
    first = self._resumed.get(broker)
    await MemoryStore.pause(self, broker, paused=paused, **why)
    if first is not None:
        self._resumed[broker] = first


async def _stamps_what_was_paused(self: MemoryStore, broker: str, *, paused: bool = True, **why: Any) -> None:
    if paused or broker in self._paused:
        await MemoryStore.pause(self, broker, paused=paused, **why)


async def _stamps_pauses(self: MemoryStore, broker: str, *, paused: bool = True, **why: Any) -> None:
    await MemoryStore.pause(self, broker, paused=paused, **why)
    self._resumed[broker] = self._clock.now()


async def _holds_less(self: MemoryStore, login_id: str, owner: str, hold: timedelta) -> bool:
    return await MemoryStore.release(self, login_id, owner, hold - MICROSECOND)


async def _releases_any(self: MemoryStore, login_id: str, owner: str, hold: timedelta) -> bool:
    kept = self._kept.get(login_id)
    return await MemoryStore.release(self, login_id, (kept and kept.lease.owner) or owner, hold)


async def _releases_in_any_case(self: MemoryStore, login_id: str, owner: str, hold: timedelta) -> bool:
    return await MemoryStore.release(self, login_id, owner.lower(), hold)


async def _releases_what_is_free(self: MemoryStore, login_id: str, owner: str, hold: timedelta) -> bool:
    kept = self._kept.get(login_id)
    return await MemoryStore.release(self, login_id, owner, hold) or (kept is not None and kept.lease.owner is None)


def _write(kept: _Kept) -> None:
    kept.row = evolve(kept.row, revision=kept.row.revision + 1)


def _leave_open(kept: _Kept) -> None:
    kept.lease.owner = kept.lease.owner or "me"


def _close_attempt(kept: _Kept) -> None:
    kept.lease.owner = None


async def _by_utf16(self: MemoryStore, page: Page) -> Sequence[Row]:
    found = await MemoryStore.rows(self, evolve(page, limit=1_000_000))
    return sorted(found, key=lambda row: row.login_id.encode("utf-16-be"))[: page.limit]


async def _after_too(self: MemoryStore, page: Page) -> Sequence[Row]:
    found = await MemoryStore.rows(self, evolve(page, after=None, limit=1_000_000))
    return [row for row in found if page.after is None or row.login_id >= page.after][: page.limit]


async def _all_of_the_states(self: MemoryStore, page: Page) -> Sequence[Row]:
    found = await MemoryStore.rows(self, evolve(page, limit=1_000_000))
    return [row for row in found if page.states is None or page.states <= row.states][: page.limit]


async def _hides_leased(self: MemoryStore, page: Page) -> Sequence[Row]:
    now = self._now()
    return [row for row in await MemoryStore.rows(self, page) if not self._kept[row.login_id].lease.is_taken(now)]


class Gathers(MemoryStore):
    """One verb that fails takes those beside it along."""

    spoilt = False

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        made = await super().insert(row, notices=notices)
        self.spoilt = self.spoilt or not made
        return made

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = NOTHING,
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        await asyncio.sleep(0)
        return not self.spoilt and await super().swap(row, owner=owner, hold=hold, notices=notices)


async def _by_wall(self: MemoryStore, request: ClaimRequest) -> Sequence[Row]:
    """Leases are told by the wall clock."""
    for kept in self._kept.values():
        if abs(request.now.year - 2026) > 1:
            kept.lease.until = None
    return await MemoryStore.claim(self, request)


def _no_due(self: MemoryStore, kept: _Kept, request: ClaimRequest, now: int) -> bool:
    row = kept.row
    due_at = row.due_at or row.changed_at
    return not kept.lease.is_taken(now) and row.broker not in self._paused and due_at <= request.now


def _not_ahead(self: MemoryStore, kept: _Kept, request: ClaimRequest, now: int) -> bool:
    due_at = kept.row.due_at
    is_due: bool = super(type(self), self)._is_due(kept, request, now)  # type: ignore[misc]
    return is_due and due_at is not None and due_at <= request.now


def _ahead_at_once(self: MemoryStore, kept: _Kept, request: ClaimRequest, now: int) -> bool:
    early = evolve(request, wall=request.now - timedelta(minutes=2))
    is_due: bool = super(type(self), self)._is_due(kept, early, now)  # type: ignore[misc]
    return is_due


class Shouts(MemoryStore):
    """Seals what it was given without saying what for."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        inner = self.cipher

        class Upper:
            def seal(self, text: str, context: str = "") -> bytes:
                return inner.seal(text.upper(), context)

            def open(self, sealed: bytes, context: str = "") -> str:
                return inner.open(sealed, context)

        self.cipher = Upper()


def _all_of_one_id(clock: Clock) -> MemoryStore:
    store = MemoryStore(clock=clock)
    store.store_id = "the id of each of them"
    return store


async def _with_revision(self: MemoryStore, row: Row, **more: Any) -> bool:
    made = await MemoryStore.insert(self, row, **more)
    if made:
        self._kept[row.login_id].row = row
    return made


def _without_hold(row: Row, kept: _Kept) -> Row:
    if kept.lease.owner is None and row.sealed == b"sealed" and row.revision > 3:
        kept.lease.until = None
    return row


async def _refuses_late(
    self: MemoryStore, row: Row, *, owner: str | None = None, hold: timedelta = NOTHING, **more: Any
) -> bool:
    kept = self._kept.get(row.login_id)
    if kept is not None and owner is not None and kept.lease.owner == owner and not kept.lease.is_taken(self._now()):
        return False
    return await MemoryStore.swap(self, row, owner=owner, hold=hold, **more)


WRONG: tuple[Wrong, ...] = (
    # Rows.
    Wrong("keeps the revision that it is given", "test_a_new_row_begins_with_revision_one_and_no_attempt",
          having(insert=_with_revision)),
    Wrong("takes an id twice", "test_a_login_id_is_taken_once", having(insert=_taken_anew)),
    Wrong("says that all of many were new", "test_many_rows_are_inserted_as_one_by_one",
          having(insert_many=_all_are_new)),
    Wrong("counts what no key sealed as plain", "test_sealed_values_are_counted_by_their_keys",
          having(key_usage=_plain_or_not)),
    Wrong("makes a row by reading", "test_there_is_nothing_to_do_with_a_login_that_is_not_there",
          having(read=_makes_it)),
    Wrong("deletes what is not there", "test_there_is_nothing_to_do_with_a_login_that_is_not_there",
          having(delete=_deletes_always)),
    Wrong("trims text", "test_all_text_comes_back_as_it_went_in",
          inserting(lambda it: evolve(it, epoch=it.epoch.strip()))),
    Wrong("takes two ids for one", "test_all_text_comes_back_as_it_went_in", having(insert=_normalizes)),
    Wrong("cuts text", "test_all_text_comes_back_as_it_went_in",
          inserting(lambda it: evolve(it, broker=it.broker[:255]))),
    Wrong("keeps one state", "test_states_come_back_as_a_set",
          inserting(lambda it: evolve(it, states=frozenset(sorted(it.states)[:1])))),
    Wrong("cuts what is sealed at a million bytes", "test_all_bytes_come_back_as_they_went_in",
          inserting(lambda it: evolve(it, sealed=it.sealed[:1_000_000]))),
    Wrong("cuts what is written at a million bytes", "test_all_bytes_come_back_as_they_went_in",
          writing(lambda it, _: evolve(it, sealed=it.sealed[:1_000_000]))),
    Wrong("cuts off parts of a second", "test_times_come_back_to_the_microsecond_in_utc",
          inserting(lambda it: evolve(it, changed_at=it.changed_at.replace(microsecond=0)))),
    Wrong("keeps an expiry", "test_times_may_be_missing",
          writing(lambda it, kept: evolve(it, expires_at=it.expires_at or kept.row.changed_at))),
    Wrong("does not write the state", "test_a_swap_writes_the_row_and_raises_the_revision",
          keeping("states")),
    Wrong("does not write the change time", "test_a_swap_writes_the_row_and_raises_the_revision",
          keeping("changed_at")),
    Wrong("writes the attempt", "test_a_swap_writes_the_row_and_raises_the_revision",
          writing(lambda it, _: evolve(it, attempt=it.attempt + 98))),
    Wrong("does not raise the revision", "test_a_swap_writes_the_row_and_raises_the_revision",
          writing(lambda it, _: evolve(it, revision=it.revision - 1))),
    Wrong("writes on any revision", "test_a_swap_needs_the_last_revision",
          keeping("revision")),
    Wrong("writes on any epoch", "test_a_swap_needs_the_epoch",
          keeping("epoch")),
    Wrong("goes on where a deleted login ended", "test_a_login_made_anew_is_another",
          having(insert=_keeps_lease, delete=_to_the_grave)),
    Wrong("deletes no leased login", "test_a_login_is_forgotten_under_a_lease_too", having(delete=_deletes_free)),
    Wrong("deletes what was written since", "test_a_login_is_forgotten_as_it_was_seen",
          having(delete=_deletes_as_it_is)),
    Wrong("forgets notices of what stays", "test_a_login_takes_its_notices_along",
          having(delete=_forgets_notices_first)),
    Wrong("reads an old row", "test_every_handle_sees_what_is_written",
          reading(lambda it: evolve(it, revision=1, attempt=0))),
    # Leases.
    Wrong("gives a row to its owner again", "test_a_lease_keeps_every_owner_off", having(claim_one=_own_again)),
    Wrong("leases for another time", "test_a_claim_leases_as_claim_one_does",
          requesting(lambda it: evolve(it, lease=it.lease * 2))),
    Wrong("ends a lease early", "test_a_lease_ends_at_its_very_moment",
          leasing(-MICROSECOND)),
    Wrong("ends a lease late", "test_a_claim_may_take_a_row_at_the_very_end_of_its_lease",
          leasing(MICROSECOND)),
    Wrong("opens the attempt of who sends nothing", "test_an_owner_that_sends_nothing_leaves_no_open_attempt",
          having(claim_one=_quiet_is_open)),
    Wrong("gives an open attempt to who sends nothing", "test_an_owner_that_sends_nothing_gets_no_open_attempt",
          having(claim_one=_quiet_takes_open)),
    Wrong("goes by the owner's name", "test_a_lease_says_itself_whether_something_is_sent",
          having(claim_one=_quiet_by_name)),
    Wrong("ends leases by the wall clock", "test_the_wall_clock_ends_no_lease", having(claim=_by_wall)),
    Wrong("gives no lease back", "test_a_lease_that_was_given_back_is_over",
          swapping(lambda _, row, __, hold: (row, None, hold))),
    Wrong("does not hold", "test_a_lease_can_be_given_back_with_a_hold",
          swapping(lambda _, row, owner, __: (row, owner, NOTHING))),
    Wrong("holds from the lease's end", "test_a_hold_begins_when_the_lease_is_given_back",
          swapping(lambda _, row, owner, hold: (row, owner, hold and hold + timedelta(seconds=40)))),
    Wrong("ends a lease without an owner", "test_a_swap_without_an_owner_leaves_the_lease",
          swapping(lambda kept, row, owner, hold: (row, owner or (kept and kept.lease.owner), hold))),
    Wrong("ends a hold without an owner", "test_a_swap_without_an_owner_leaves_the_hold",
          writing(_without_hold)),
    Wrong("ends anybody's lease", "test_the_lease_of_another_owner_stays",
          swapping(lambda kept, row, owner, hold: (row, owner if owner is None else kept and kept.lease.owner, hold))),
    Wrong("refuses who comes late", "test_a_late_owner_still_gives_back",
          having(swap=_refuses_late)),
    Wrong("lets who comes late end the next lease", "test_a_late_owner_does_not_end_the_next_lease",
          swapping(lambda kept, row, owner, hold: (row, owner if owner is None else kept and kept.lease.owner, hold))),
    Wrong("ends the hold of what it releases early", "test_a_lease_can_be_released_and_nothing_else_is_changed",
          having(release=_holds_less)),
    Wrong("raises the revision of what it releases", "test_a_lease_can_be_released_and_nothing_else_is_changed",
          releasing(_write)),
    Wrong("opens the attempt of what it releases", "test_a_lease_can_be_released_and_nothing_else_is_changed",
          releasing(_leave_open)),
    Wrong("closes the attempt of what it releases", "test_what_is_released_keeps_an_open_attempt_open",
          releasing(_close_attempt)),
    Wrong("releases anybody's lease", "test_only_its_owner_releases_a_lease", having(release=_releases_any)),
    Wrong("takes two owners for one", "test_only_its_owner_releases_a_lease", having(release=_releases_in_any_case)),
    Wrong("releases what is free", "test_only_its_owner_releases_a_lease", having(release=_releases_what_is_free)),
    Wrong("tells of no open attempt", "test_an_open_attempt_is_told_once", having(claim_one=_forgets_open)),
    Wrong("leases by id only what is due", "test_a_row_is_leased_by_id_due_or_not_paused_or_not",
          having(claim_one=_only_due)),
    Wrong("is busy for ever", "test_leases_of_different_rows_are_apart", having(claim_one=_busy_for_ever)),
    # Claims.
    Wrong("claims a moment late", "test_a_row_is_due_from_its_very_moment_on",
          requesting(lambda it: evolve(it, now=it.now - MICROSECOND))),
    Wrong("claims what is never due", "test_a_row_is_due_from_its_very_moment_on", having(_is_due=_no_due)),
    Wrong("gives rows as they were", "test_a_claimed_row_comes_back_as_it_is_now",
          giving(lambda rows: [evolve(row, revision=row.revision - 1, attempt=row.attempt - 1) for row in rows])),
    Wrong("puts the due time off", "test_a_claimed_row_comes_back_as_it_is_now",
          giving(lambda rows: [evolve(row, due_at=None) for row in rows])),
    Wrong("gives the shortest due first", "test_the_longest_due_come_first", giving(lambda rows: list(reversed(rows)))),
    Wrong("takes one too many", "test_a_claim_takes_no_more_than_its_limit",
          requesting(lambda it: evolve(it, limit=it.limit + 1))),
    Wrong("knows no limit of a broker", "test_a_claim_takes_no_more_of_a_broker_than_its_limit",
          requesting(lambda it: evolve(it, limits={}))),
    Wrong("knows no limit for each", "test_a_claim_takes_no_more_of_a_broker_than_its_limit",
          requesting(lambda it: evolve(it, limit_each=None))),
    Wrong("starves what is behind the 400 longest due", "test_a_broker_that_is_left_out_does_not_starve_the_others",
          having(claim=_first_400)),
    Wrong("stops at 400 leased rows", "test_leased_rows_do_not_hide_those_behind_them", having(claim=_first_400)),
    Wrong("pauses nothing", "test_a_paused_broker_is_left_out", having(pause=_pauses_never)),
    Wrong("pauses in turn", "test_a_paused_broker_is_left_out", having(pause=_pauses_in_turn)),
    Wrong("keeps the first note", "test_a_pause_says_why_and_since_when", having(pause=_keeps_the_first_pause)),
    Wrong("stamps a broker at its pause", "test_a_broker_that_is_resumed_is_stamped", having(pause=_stamps_pauses)),
    Wrong("stamps a broker once", "test_a_broker_that_is_resumed_is_stamped", having(pause=_stamps_once)),
    Wrong("stamps only what was paused", "test_a_broker_that_is_resumed_is_stamped",
          having(pause=_stamps_what_was_paused)),
    Wrong("resumes all with the star", "test_a_star_pauses_every_broker", having(pause=_pauses_all)),
    Wrong("leaves out what was changed in the future", "test_a_row_changed_in_the_future_is_due",
          having(_is_due=_not_ahead)),
    Wrong("takes what is no more than a moment ahead", "test_a_row_changed_in_the_future_is_due",
          having(_is_due=_ahead_at_once)),
    Wrong("leaves the future out beside the due",
          "test_the_limit_holds_what_is_due_and_what_was_changed_in_the_future_together",
          having(_is_due=_not_ahead)),
    Wrong("takes a limit below nothing for none", "test_a_limit_below_nothing_is_nothing",
          requesting(lambda it: evolve(it, limit_each=None if (it.limit_each or 0) < 0 else it.limit_each))),
    Wrong("forgets limits for the future", "test_what_was_changed_in_the_future_keeps_order_and_limits",
          requesting(lambda it: evolve(it, limits={}))),
    Wrong("takes each broker in turn", "test_a_claim_in_many_brokers_takes_the_longest_due_of_all",
          giving(lambda rows: sorted(rows, key=lambda row: row.broker))),
    # Pages and counts.
    Wrong("sorts as UTF-16 does", "test_rows_come_in_the_order_of_the_code_points", having(rows=_by_utf16)),
    Wrong("begins a page with its id", "test_a_page_begins_after_an_id", having(rows=_after_too)),
    Wrong("lists no leased rows", "test_rows_come_as_they_are", having(rows=_hides_leased)),
    Wrong("does not filter by state", "test_pages_can_be_filtered", paging(lambda it: evolve(it, states=None))),
    Wrong("wants all of the states", "test_a_page_has_rows_with_one_of_the_states", having(rows=_all_of_the_states)),
    Wrong("does not filter by broker", "test_pages_can_be_filtered", paging(lambda it: evolve(it, broker=None))),
    Wrong("leaves the very moment out", "test_pages_can_be_filtered",
          paging(lambda it: evolve(it, changed_since=it.changed_since and it.changed_since + MICROSECOND))),
    Wrong("counts one too many", "test_rows_are_counted_by_broker_and_states", counting(expired=1)),
    Wrong("counts due ones as to come", "test_what_falls_due_is_counted_by_the_hour", having(due_by_hour=_shifted)),
    Wrong("counts a hold as a lease", "test_leases_are_counted_while_they_last", counting(leased=1)),
    # Many at once, and endings.
    Wrong("claims in two steps", "test_no_row_is_claimed_twice", having(claim=_slow_claim)),
    Wrong("claims one in two steps", "test_one_of_many_gets_the_row", having(claim_one=_slow_claim_one)),
    Wrong("inserts in two steps", "test_one_of_many_writes_on_a_revision", having(insert=_slow_insert)),
    Wrong("swaps in two steps", "test_one_of_many_writes_on_a_revision", having(swap=_slow_swap)),
    Wrong("fails with what is beside it", "test_a_verb_that_fails_harms_none_beside_it",
          lambda clock: Gathers(clock=clock)),
    Wrong("gives a lease back before the row is written", "test_a_cancelled_caller_breaks_nothing",
          having(swap=_lease_first)),
    Wrong("leaves a row without its secret", "test_a_cancelled_insert_is_whole_or_nothing",
          having(insert=_half_insert)),
    Wrong("drops swaps that wait when it is closed", "test_closing_finishes_the_verbs_before_it",
          lambda clock: Leaves(clock=clock)),
    Wrong("cannot be closed twice", "test_closing_finishes_the_verbs_before_it",
          lambda clock: ClosesOnce(clock=clock)),
    Wrong("has one id for all stores", "test_a_store_answers_a_ping_and_has_an_id", _all_of_one_id),
    Wrong("seals something else", "test_the_cipher_seals_and_opens", lambda clock: Shouts(clock=clock)),
)  # fmt: skip

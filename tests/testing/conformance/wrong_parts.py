"""Wrong outboxes and registries: see wrong_stores."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from mesh_refresh.clock import Clock
from mesh_refresh.stores import MemoryStore, NoticePage, NoticeRow, ProcessReport, Row, StoredFigures
from mesh_refresh.stores.key_ids import key_id_of
from mesh_refresh.stores.memory.outbox import MemoryOutbox, _KeptNotice
from mesh_refresh.stores.memory.registry import MemoryRegistry
from tests.testing.conformance.wrong_stores import MICROSECOND, Wrong, having


def noticing(**verbs: Any) -> Callable[[Clock], MemoryStore]:
    """A store whose outbox has other verbs."""
    made: Any = type("Noticing", (MemoryOutbox,), verbs)
    return lambda clock: _with(clock, _outbox=made(clock))


def registering(**verbs: Any) -> Callable[[Clock], MemoryStore]:
    """A store whose registry has other verbs."""
    made: Any = type("Registering", (MemoryRegistry,), verbs)
    return lambda clock: _with(clock, _registry=made(clock))


def _with(clock: Clock, **parts: Any) -> MemoryStore:
    store = MemoryStore(clock=clock)
    for name, part in parts.items():
        setattr(store, name, part)
    return store


# With the login.


async def _always_notifies(self: MemoryStore, row: Row, *, notices: Sequence[NoticeRow] = (), **more: Any) -> bool:
    self._outbox.write(notices)
    return await MemoryStore.swap(self, row, **more)


async def _notifies_one(self: MemoryStore, row: Row, *, notices: Sequence[NoticeRow] = (), **more: Any) -> bool:
    return await MemoryStore.swap(self, row, **more, notices=notices[:1] if "2" not in row.login_id else ())


def _keeps_tries(self: MemoryOutbox, notices: Iterable[NoticeRow]) -> None:
    for row in notices:
        self._add(row)


def _writes_again(self: MemoryOutbox, notices: Iterable[NoticeRow]) -> None:
    for row in notices:
        self._kept.pop(row.id, None)
        self._add(evolve(row, tries=0, first_tried_at=None, is_dead=False))


def _forgets_free_ones(self: MemoryOutbox, login_id: str) -> None:
    for notice_id, kept in list(self._kept.items()):
        if kept.row.login_id == login_id and kept.lease.owner is None:
            del self._kept[notice_id]


# Claims.


def claiming(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Clock], MemoryStore]:
    """A store whose outbox takes a claim for another one."""

    async def claim(self: MemoryOutbox, owner: str, lease: timedelta, **more: Any) -> Sequence[NoticeRow]:
        asked = change({"owner": owner, "lease": lease, **more})
        return await MemoryOutbox.claim(self, **asked)

    return noticing(claim=claim)


async def _leaves_the_due_time(
    self: MemoryOutbox, owner: str, lease: timedelta, *, now: datetime, limit: int
) -> Sequence[NoticeRow]:
    before = {notice_id: kept.row for notice_id, kept in self._kept.items()}
    claimed = await MemoryOutbox.claim(self, owner, lease, now=now, limit=limit)
    for row in claimed:
        self._kept[row.id].row = evolve(row, due_at=before[row.id].due_at)
    return [self._kept[row.id].row for row in claimed]


async def _shortest_first(self: MemoryOutbox, owner: str, lease: timedelta, **more: Any) -> Sequence[NoticeRow]:
    return list(reversed(await MemoryOutbox.claim(self, owner, lease, **more)))


async def _counts_what_comes_back(self: MemoryOutbox, notice_id: str, owner: str, due_at: datetime) -> bool:
    kept = self._kept.get(notice_id)
    if kept is not None:
        kept.row = evolve(kept.row, tries=kept.row.tries + 1)
    return await MemoryOutbox.give_back(self, notice_id, owner, due_at)


def _all_of_a_login(self: MemoryOutbox) -> Iterable[_KeptNotice]:
    return [kept for kept in self._kept.values() if not kept.row.is_dead]


def _dead_ones_too(self: MemoryOutbox) -> Iterable[_KeptNotice]:
    first: dict[str, _KeptNotice] = {}
    for kept in self._kept.values():
        first.setdefault(kept.row.login_id, kept)
    return [kept for kept in first.values() if not kept.row.is_dead]


async def _in_two_steps(self: MemoryOutbox, owner: str, lease: timedelta, **more: Any) -> Sequence[NoticeRow]:
    free = [kept for kept in self._first_of_each_login() if kept.lease.owner is None]
    await asyncio.sleep(0)
    for kept in free:
        kept.lease.end()
    return await MemoryOutbox.claim(self, owner, lease, **more)


# Leases.


def _any_owner(self: MemoryOutbox, notice_id: str, owner: str) -> _KeptNotice | None:
    kept = self._kept.get(notice_id)
    return kept if kept is not None and kept.lease.owner is not None and owner else None


async def _resends_all(self: MemoryOutbox, notice_id: str, due_at: datetime) -> bool:
    kept = self._kept.get(notice_id)
    if kept is not None:
        kept.row = evolve(kept.row, is_dead=True)
    return await MemoryOutbox.resend(self, notice_id, due_at)


async def _resends_in_place(self: MemoryOutbox, notice_id: str, due_at: datetime) -> bool:
    kept = self._kept.get(notice_id)
    if kept is None or not kept.row.is_dead:
        return False
    kept.row = evolve(kept.row, due_at=due_at, tries=0, first_tried_at=None, is_dead=False)
    return True


# Lists, and what is forgotten.


async def _unfiltered(self: MemoryOutbox, page: NoticePage) -> Sequence[NoticeRow]:
    return await MemoryOutbox.page(self, evolve(page, is_dead=None))


async def _counts_free_ones(self: MemoryOutbox) -> Any:
    found = await MemoryOutbox.counts(self)
    return evolve(found, waiting=found.waiting - sum(kept.lease.owner is not None for kept in self._kept.values()))


async def _puts_as_new(self: MemoryOutbox, notices: Sequence[NoticeRow]) -> int:
    return sum([self._add(evolve(row, tries=0, is_dead=False)) for row in notices])


async def _purges_all(self: MemoryOutbox, before: datetime) -> int:
    return await self.drop([it for it, kept in self._kept.items() if kept.row.due_at < before])


async def _of_logins_alone(self: MemoryStore) -> dict[str, int]:
    return {key_id_of(kept.row.sealed): 1 for kept in self._kept.values()}


async def _ends_lease(self: MemoryOutbox, notice_id: str, sealed: bytes) -> bool:
    kept = self._kept.get(notice_id)
    if kept is not None:
        kept.lease.end()
    return await MemoryOutbox.reseal(self, notice_id, sealed)


# The registry.


async def _keeps_the_first(self: MemoryRegistry, report: ProcessReport) -> None:
    self._reports.setdefault(report.process, report)


async def _purges_the_moment(self: MemoryRegistry, before: datetime) -> int:
    return await MemoryRegistry.purge_reports(self, before + MICROSECOND)


async def _renews_no_duty(self: MemoryRegistry, name: str, owner: str, lease: timedelta) -> bool:
    return (
        await MemoryRegistry.claim_duty(self, name, owner, lease)
        and self._duties[name].owner is not None
        and (self.__dict__.setdefault("first", {}).setdefault(name, owner) != owner or lease <= timedelta(seconds=60))
    )


async def _releases_any(self: MemoryRegistry, name: str, owner: str) -> bool:
    duty = self._duties.get(name)
    return duty is not None and await MemoryRegistry.release_duty(self, name, duty.owner or owner)


async def _duty_in_two_steps(self: MemoryRegistry, name: str, owner: str, lease: timedelta) -> bool:
    had = name in self._duties
    await asyncio.sleep(0)
    return await MemoryRegistry.claim_duty(self, name, owner, lease) or not had


async def _keeps_the_first_figures(self: MemoryRegistry, figures: StoredFigures) -> None:
    self._figures = self._figures or figures


WRONG_PARTS: tuple[Wrong, ...] = (
    Wrong("writes notices without the row", "test_notices_are_written_with_the_row_or_not_at_all",
          having(swap=_always_notifies)),
    Wrong("keeps the tries that a new notice says", "test_a_notice_comes_back_as_it_went_in",
          noticing(write=_keeps_tries)),
    Wrong("writes an id again", "test_an_id_that_is_there_is_left_alone", noticing(write=_writes_again)),
    Wrong("forgets notices of swaps at once", "test_many_swaps_at_once_write_their_notices",
          having(swap=_notifies_one)),
    Wrong("leaves notices that are out", "test_a_login_takes_its_notices_along", noticing(forget=_forgets_free_ones)),
    Wrong("hands out a moment late", "test_a_notice_is_due_from_its_very_moment_on",
          claiming(lambda it: {**it, "now": it["now"] - MICROSECOND})),
    Wrong("leaves times in the future", "test_a_notice_that_a_wrong_clock_has_given_back_is_due",
          noticing(claim=_leaves_the_due_time)),
    Wrong("hands out the shortest due first", "test_the_longest_due_notices_come_first",
          noticing(claim=_shortest_first)),
    Wrong("counts a try when it comes back", "test_a_claim_counts_a_try", noticing(give_back=_counts_what_comes_back)),
    Wrong("hands out all of a login", "test_one_notice_of_a_login_is_out_at_a_time",
          noticing(_first_of_each_login=_all_of_a_login)),
    Wrong("holds back what is behind a dead one", "test_a_dead_notice_holds_back_none",
          noticing(_first_of_each_login=_dead_ones_too)),
    Wrong("claims notices in two steps", "test_no_notice_is_claimed_twice", noticing(claim=_in_two_steps)),
    Wrong("leases notices for longer", "test_the_lease_of_a_notice_ends_at_its_very_moment",
          claiming(lambda it: {**it, "lease": it["lease"] + MICROSECOND})),
    Wrong("takes anybody for the owner", "test_only_its_owner_ends_the_lease_of_a_notice",
          noticing(_leased=_any_owner)),
    Wrong("resends what waits", "test_a_dead_notice_can_be_sent_again", noticing(resend=_resends_all)),
    Wrong("resends in the old place", "test_a_dead_notice_can_be_sent_again", noticing(resend=_resends_in_place)),
    Wrong("lists dead ones always", "test_notices_are_listed_page_by_page", noticing(page=_unfiltered)),
    Wrong("counts what is out as gone", "test_notices_are_counted", noticing(counts=_counts_free_ones)),
    Wrong("moves notices as new ones", "test_notices_move_from_store_to_store", noticing(put=_puts_as_new)),
    Wrong("forgets what is out", "test_old_notices_are_forgotten", noticing(purge=_purges_all)),
    Wrong("counts no notices by key", "test_notices_are_counted_by_their_keys", having(key_usage=_of_logins_alone)),
    Wrong("ends the lease of what it seals", "test_a_notice_can_be_sealed_anew", noticing(reseal=_ends_lease)),
    Wrong("keeps the first report", "test_each_process_has_its_last_report", registering(put_report=_keeps_the_first)),
    Wrong("forgets at the very moment", "test_processes_that_are_silent_are_forgotten",
          registering(purge_reports=_purges_the_moment)),
    Wrong("renews no duty", "test_a_duty_has_one_owner", registering(claim_duty=_renews_no_duty)),
    Wrong("releases anybody's duty", "test_a_duty_can_be_given_back", registering(release_duty=_releases_any)),
    Wrong("gives a duty in two steps", "test_one_of_many_gets_the_duty", registering(claim_duty=_duty_in_two_steps)),
    Wrong("keeps the first figures", "test_the_last_figures_are_kept",
          registering(put_figures=_keeps_the_first_figures)),
)  # fmt: skip

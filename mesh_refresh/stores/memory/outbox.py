"""The outbox of MemoryStore."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import Factory, define, evolve

from mesh_refresh.clock import Clock
from mesh_refresh.stores.memory.leases import MemoryLease, microseconds_of
from mesh_refresh.stores.outbox import NoticeCounts, NoticePage, NoticeRow, Outbox, far_from
from mesh_refresh.stores.row import ahead_of


@define(eq=False)
class _KeptNotice:
    row: NoticeRow
    lease: MemoryLease = Factory(MemoryLease)


class MemoryOutbox(Outbox):
    """Notices in the order in which they were written: a dictionary keeps it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _KeptNotice] = {}

    def write(self, notices: Iterable[NoticeRow]) -> None:
        """New ones, with the login that they are about."""
        for row in notices:
            self._add(evolve(row, tries=0, first_tried_at=None, is_dead=False))

    def forget(self, login_id: str) -> None:
        """Those of a login that is deleted."""
        for notice_id in [notice_id for notice_id, kept in self._kept.items() if kept.row.login_id == login_id]:
            del self._kept[notice_id]

    async def claim(self, owner: str, lease: timedelta, *, now: datetime, limit: int) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        at = microseconds_of(self._clock)
        due = [it for it in self._first_of_each_login() if _is_due(it.row, now) and not it.lease.is_taken(at)]
        due.sort(key=lambda kept: kept.row.due_at)
        for kept in due[: max(0, limit)]:
            kept.lease.take(owner, lease, at)
            kept.row = evolve(
                kept.row,
                due_at=min(kept.row.due_at, now),
                tries=kept.row.tries + 1,
                first_tried_at=min(kept.row.first_tried_at or now, now),
            )
        return [kept.row for kept in due[: max(0, limit)]]

    async def take(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        return self._leased(notice_id, owner) is not None and self._kept.pop(notice_id) is not None

    async def give_back(self, notice_id: str, owner: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        return self._end(notice_id, owner, due_at=due_at)

    async def bury(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        return self._end(notice_id, owner, is_dead=True)

    async def resend(self, notice_id: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        kept = self._kept.get(notice_id)
        if kept is None or not kept.row.is_dead:
            return False
        del self._kept[notice_id]
        return self._add(evolve(kept.row, due_at=due_at, tries=0, first_tried_at=None, is_dead=False))

    async def page(self, page: NoticePage) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        rows = (self._kept[notice_id].row for notice_id in sorted(self._kept))
        return [row for row in rows if _is_wanted(row, page)][: max(0, page.limit)]

    async def of(self, login_id: str) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        return [kept.row for kept in self._kept.values() if kept.row.login_id == login_id]

    async def counts(self) -> NoticeCounts:
        """See `Outbox`."""
        waiting = [kept.row.written_at for kept in self._kept.values() if not kept.row.is_dead]
        return NoticeCounts(len(waiting), len(self._kept) - len(waiting), min(waiting, default=None))

    async def put(self, notices: Sequence[NoticeRow]) -> int:
        """See `Outbox`."""
        return sum([self._add(row) for row in notices])

    async def drop(self, notice_ids: Sequence[str]) -> int:
        """See `Outbox`."""
        return sum(self._kept.pop(notice_id, None) is not None for notice_id in notice_ids)

    async def purge(self, before: datetime) -> int:
        """See `Outbox`."""
        at = microseconds_of(self._clock)
        old = [it for it, kept in self._kept.items() if kept.row.due_at < before and not kept.lease.is_taken(at)]
        return await self.drop(old)

    async def reseal(self, notice_id: str, sealed: bytes) -> bool:
        """See `Outbox`."""
        kept = self._kept.get(notice_id)
        if kept is not None:
            kept.row = evolve(kept.row, sealed=sealed)
        return kept is not None

    def _add(self, row: NoticeRow) -> bool:
        is_new = row.id not in self._kept
        if is_new:
            self._kept[row.id] = _KeptNotice(row)
        return is_new

    def _first_of_each_login(self) -> Iterable[_KeptNotice]:
        first: dict[str, _KeptNotice] = {}
        for kept in self._kept.values():
            if not kept.row.is_dead:
                first.setdefault(kept.row.login_id, kept)
        return first.values()

    def _leased(self, notice_id: str, owner: str) -> _KeptNotice | None:
        kept = self._kept.get(notice_id)
        return kept if kept is not None and kept.lease.owner == owner else None

    def _end(self, notice_id: str, owner: str, **changes: Any) -> bool:
        kept = self._leased(notice_id, owner)
        if kept is not None:
            kept.lease.end()
            kept.row = evolve(kept.row, **changes)
        return kept is not None


def _is_due(row: NoticeRow, now: datetime) -> bool:
    is_ahead = row.tries == 0 and row.written_at > ahead_of(now)
    return row.due_at <= now or is_ahead or row.due_at > far_from(now)


def _is_wanted(row: NoticeRow, page: NoticePage) -> bool:
    return (
        (page.after is None or row.id > page.after)
        and (page.is_dead is None or row.is_dead is page.is_dead)
        and (page.since is None or row.written_at >= page.since)
    )

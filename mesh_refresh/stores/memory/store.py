"""MemoryStore: the shortest store that keeps the whole contract."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from attrs import Factory, define, evolve

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.stores.checks import check_notices
from mesh_refresh.stores.cipher import PlainText
from mesh_refresh.stores.key_check import new_store_id
from mesh_refresh.stores.memory.leases import MemoryLease, microseconds_of
from mesh_refresh.stores.memory.outbox import MemoryOutbox
from mesh_refresh.stores.memory.registry import MemoryRegistry
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import BrokerPause, Busy, ClaimRequest, Count, Page, Row
from mesh_refresh.stores.sealing import Sealing
from mesh_refresh.stores.store import ALL_BROKERS, Store

_MICROSECOND = timedelta(microseconds=1)


@define(eq=False)
class _Kept:
    row: Row
    lease: MemoryLease = Factory(MemoryLease)
    sends: bool = True
    """Whether the owner of the last lease may send something under it."""
    open_before: bool = False
    """Whether the last lease found an open attempt."""

    @property
    def is_open(self) -> bool:
        """Whether something may have been sent under the lease, which was not given back."""
        return self.lease.owner is not None and self.sends


class MemoryStore(Store):
    """Keeps logins in this process, as long as it runs. Leases are told by `clock`."""

    cancellation_safe = True

    def __init__(self, *, cipher: Sealing | None = None, clock: Clock | None = None) -> None:
        self.cipher = cipher or PlainText()
        self.store_id = new_store_id()
        self.made_up_cipher = cipher is None
        """The caller did not say that tokens may be in plain text: so no spool may write them to a disk."""
        self._clock = clock or SystemClock()
        self._kept: dict[str, _Kept] = {}
        self._paused: dict[str, BrokerPause] = {}
        self._resumed: dict[str, datetime] = {}
        self._outbox, self._registry = MemoryOutbox(self._clock), MemoryRegistry(self._clock)

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._kept)} logins>"

    @property
    def outbox(self) -> MemoryOutbox:
        """See `Store`."""
        return self._outbox

    @property
    def registry(self) -> MemoryRegistry:
        """See `Store`."""
        return self._registry

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        """See `Store`."""
        check_notices(notices, row.login_id)
        if row.login_id in self._kept:
            return False
        self._kept[row.login_id] = _Kept(evolve(row, revision=1, attempt=0, open_attempt=False))
        self._outbox.write(notices)
        return True

    async def read(self, login_id: str) -> Row | None:
        """See `Store`."""
        kept = self._kept.get(login_id)
        return None if kept is None else kept.row

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        """See `Store`."""
        check_notices(notices, row.login_id)
        kept = self._kept_as(row.login_id, row)
        if kept is None:
            return False
        kept.row = evolve(row, revision=row.revision + 1, attempt=kept.row.attempt, open_attempt=False)
        if owner is not None and kept.lease.owner == owner:
            kept.lease.hold(hold, self._now())
        self._outbox.write(notices)
        return True

    async def claim(self, request: ClaimRequest) -> Sequence[Row]:
        """See `Store`."""
        if ALL_BROKERS in self._paused:
            return []
        now = self._now()
        due = sorted((kept for kept in self._kept.values() if self._is_due(kept, request, now)), key=_order)
        taken: Counter[str] = Counter()
        claimed: list[Row] = []
        for kept in due:
            if len(claimed) == request.limit:
                break
            if taken[kept.row.broker] < request.limit_of(kept.row.broker):
                taken[kept.row.broker] += 1
                claimed.append(self._lease(kept, request.owner, request.lease, now))
        return claimed

    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        """See `Store`."""
        kept, now = self._kept.get(login_id), self._now()
        if kept is None:
            return None
        if left := kept.lease.left(now):
            return Busy(left)
        if kept.is_open and not sends:
            return Busy(timedelta())
        return self._lease(kept, owner, lease, now, sends=sends)

    async def release(self, login_id: str, owner: str, hold: timedelta) -> bool:
        """See `Store`."""
        kept = self._kept.get(login_id)
        if kept is None or kept.lease.owner != owner:
            return False
        kept.lease.hold(hold, self._now())
        if kept.open_before:
            kept.lease.owner = owner  # as the lease before, which ran out with an attempt open
        return True

    async def delete(self, login_id: str, *, seen: Row | None = None) -> bool:
        """See `Store`."""
        if seen is not None and self._kept_as(login_id, seen) is None:
            return False
        self._outbox.forget(login_id)
        return self._kept.pop(login_id, None) is not None

    async def rows(self, page: Page) -> Sequence[Row]:
        """See `Store`."""
        found = [self._kept[login_id].row for login_id in sorted(self._kept) if _wanted(self._kept[login_id].row, page)]
        return found[: page.limit]

    async def counts(self, now: datetime) -> Sequence[Count]:
        """See `Store`."""
        at = self._now()
        groups: dict[tuple[str, frozenset[str]], list[_Kept]] = {}
        for kept in self._kept.values():
            groups.setdefault((kept.row.broker, kept.row.states), []).append(kept)
        return [
            Count(
                broker,
                states,
                len(group),
                sum(kept.row.expires_at is not None and kept.row.expires_at <= now for kept in group),
                sum(kept.row.due_at is not None and kept.row.due_at <= now for kept in group),
                min((kept.row.due_at for kept in group if kept.row.due_at is not None), default=None),
                sum(kept.lease.owner is not None and kept.lease.is_taken(at) for kept in group),
            )
            for (broker, states), group in groups.items()
        ]

    async def due_by_hour(self, now: datetime, hours: int = 24) -> list[int]:
        """See `Store`."""
        due = sorted(kept.row.due_at for kept in self._kept.values() if kept.row.due_at is not None)
        until = [bisect_right(due, now + timedelta(hours=hour)) for hour in range(hours + 1)]
        return [last - first for first, last in pairwise(until)]

    async def pause(
        self, broker: str, *, paused: bool = True, note: str = "", by: str = "", at: datetime | None = None
    ) -> None:
        """See `Store`."""
        if paused:
            self._paused[broker] = BrokerPause(broker, note, by, at or self._clock.now())
        else:
            self._paused.pop(broker, None)
            last = self._resumed.get(broker)
            self._resumed[broker] = self._clock.now() if last is None else max(self._clock.now(), last + _MICROSECOND)

    async def paused(self) -> dict[str, BrokerPause]:
        """See `Store`."""
        return dict(self._paused)

    async def resumed(self) -> dict[str, datetime]:
        """See `Store`."""
        return dict(self._resumed)

    async def aclose(self) -> None:
        """See `Store`. Another user of this object goes on with what is in it."""

    def _now(self) -> int:
        return microseconds_of(self._clock)

    def _kept_as(self, login_id: str, row: Row) -> "_Kept | None":
        """What is kept of the login, where that has the epoch and the revision of `row`."""
        kept = self._kept.get(login_id)
        return kept if kept is not None and (kept.row.epoch, kept.row.revision) == (row.epoch, row.revision) else None

    def _is_due(self, kept: _Kept, request: ClaimRequest, now: int) -> bool:
        row = kept.row
        if row.due_at is None or kept.lease.is_taken(now) or row.broker in self._paused:
            return False
        return row.due_at <= request.now or row.changed_at > request.ahead

    def _lease(self, kept: _Kept, owner: str, lease: timedelta, now: int, *, sends: bool = True) -> Row:
        was_open = kept.is_open
        kept.lease.take(owner, lease, now)
        kept.sends, kept.open_before = sends, was_open
        kept.row = evolve(kept.row, revision=kept.row.revision + 1, attempt=kept.row.attempt + 1)
        return evolve(kept.row, open_attempt=was_open)


def _order(kept: _Kept) -> tuple[datetime, str]:
    due_at = kept.row.due_at
    assert due_at is not None  # noqa: S101 - only due rows are put in order
    return due_at, kept.row.login_id


def _wanted(row: Row, page: Page) -> bool:
    return (
        (page.after is None or row.login_id > page.after)
        and (page.states is None or not row.states.isdisjoint(page.states))
        and (page.broker is None or row.broker == page.broker)
        and (page.changed_since is None or row.changed_at >= page.changed_since)
    )

"""The outbox of a store: notices that wait until a handler has taken them. An optional part of the contract.

Why it is as it is: docs/decisions/the-contract-of-stores.md.
"""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from attrs import field, frozen

from mesh_refresh.masking import masked_size
from mesh_refresh.stores.row import CLOCK_TOLERANCE, later

LONGEST_WAIT = timedelta(days=1)
"""No notice that is given back is due later than this."""


@frozen
class NoticeRow:
    """One notice, as a store sees it. What it says is in `sealed`, which the store cannot open."""

    id: str
    """The same at each try. One that is in the outbox already is not written again."""
    login_id: str
    due_at: datetime
    """No claim hands it out before, by the wall clock."""
    written_at: datetime
    """When the change was written that made it, by the wall clock."""
    sealed: bytes = field(repr=masked_size)
    tries: int = 0
    """How often it was claimed. The outbox counts."""
    first_tried_at: datetime | None = None
    """When it was claimed first, by the wall clock of who claimed it."""
    is_dead: bool = False
    """It is not handed out any more, and holds back no other notice."""


@frozen
class NoticePage:
    """What part of the notices is wanted, in the order of their ids."""

    limit: int
    after: str | None = None
    """Only ids greater than this (by Unicode code points)."""
    is_dead: bool | None = None
    """Only dead ones, or only those that are not."""
    since: datetime | None = None
    """Only notices that were written then or later."""


@frozen
class NoticeCounts:
    """How many notices there are."""

    waiting: int
    """Those that are not dead, whether a handler is at work on them or not."""
    dead: int
    oldest: datetime | None
    """The least `written_at` of those that wait."""


def far_from(wall: datetime) -> datetime:
    """What is due after this, by the wall clock, was given back before that clock was put back to `wall`."""
    return later(wall, LONGEST_WAIT + CLOCK_TOLERANCE)


class Outbox(Protocol):
    """Notices are written by `Store.insert` and `Store.swap`, in one transaction with the login that they are about.

    Every verb is one atomic step, and durable when it returns, as the verbs of `Store` are; they raise what those
    raise. **A lease** of a notice is as one of a row: told by the store's clock, and free again at its very end.

    The notices of a login have the order in which they were written.
    """

    @abstractmethod
    async def claim(self, owner: str, lease: timedelta, *, now: datetime, limit: int) -> Sequence[NoticeRow]:
        """Lease notices to `owner`, the longest due first, and count a try of each.

        Of each login at most one is out at a time: the first in its order that is not dead, where that is due `now`
        and under no lease. The wall clock may have been put back since it was written, or was given back: due are also
        one that was never tried and was written more than `CLOCK_TOLERANCE` after `now`, and one that is due more than
        a day and `CLOCK_TOLERANCE` after `now`: no keeper lets one wait so long. A claim brings a later `due_at` and
        `first_tried_at` to `now`. They come back as they are after the claim.
        """
        ...

    @abstractmethod
    async def take(self, notice_id: str, owner: str) -> bool:
        """It was handled: forget it. False, and nothing changed, where `owner` has no lease of it (any more)."""
        ...

    @abstractmethod
    async def give_back(self, notice_id: str, owner: str, due_at: datetime) -> bool:
        """It was not handled: end the lease, and hand it out again from `due_at` on. False as by `take`."""
        ...

    @abstractmethod
    async def bury(self, notice_id: str, owner: str) -> bool:
        """It is given up: end the lease, and keep it as a dead one. False as by `take`."""
        ...

    @abstractmethod
    async def resend(self, notice_id: str, due_at: datetime) -> bool:
        """A dead one is due at `due_at`, with no tries, behind the other notices of its login.

        False, and nothing changed, where there is no such notice, or it is not dead.
        """
        ...

    @abstractmethod
    async def page(self, page: NoticePage) -> Sequence[NoticeRow]:
        """Notices in the order of their ids, by code points."""
        ...

    @abstractmethod
    async def of(self, login_id: str) -> Sequence[NoticeRow]:
        """Every notice of a login, dead ones too, in their order."""
        ...

    @abstractmethod
    async def counts(self) -> NoticeCounts:
        """How many there are."""
        ...

    @abstractmethod
    async def put(self, notices: Sequence[NoticeRow]) -> int:
        """Write `notices` in this order, with all that they say; those whose ids are there are left alone.

        For a copy that brings them from another store. Gives how many were new.
        """
        ...

    @abstractmethod
    async def drop(self, notice_ids: Sequence[str]) -> int:
        """Forget these, whether they are under a lease or not. Gives how many there were."""
        ...

    @abstractmethod
    async def purge(self, before: datetime) -> int:
        """Forget those that have been due since `before`, dead or not, and are under no lease. Gives how many."""
        ...

    @abstractmethod
    async def reseal(self, notice_id: str, sealed: bytes) -> bool:
        """Write `sealed` and nothing else. False where there is no such notice."""
        ...

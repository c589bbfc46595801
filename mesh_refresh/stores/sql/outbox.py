"""The outbox of a store that keeps its rows by SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mesh_refresh.stores.outbox import NoticeCounts, NoticePage, NoticeRow, Outbox
from mesh_refresh.stores.sql.statements import SqlStatements

PURGED = 1_000
"""So many are forgotten in one transaction: a write waits for no more than these."""


class SqlOutbox(Outbox):
    """See `Outbox`. Every query names the columns in the order of `NoticeRow`."""

    def __init__(self, statements: SqlStatements) -> None:
        self._statements = statements

    async def take(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        return await self._changed("take_notice", notice_id, owner)

    async def give_back(self, notice_id: str, owner: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        return await self._changed("give_back_notice", notice_id, owner, due_at)

    async def bury(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        return await self._changed("bury_notice", notice_id, owner)

    async def resend(self, notice_id: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        return await self._changed("resend_notice", notice_id, due_at)

    async def page(self, page: NoticePage) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        asked = (max(0, page.limit), page.after, page.is_dead, page.since)
        return [NoticeRow(*columns) for columns in await self._statements.look("page_of_notices", *asked, long=True)]

    async def of(self, login_id: str) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        return [NoticeRow(*columns) for columns in await self._statements.look("notices_of", login_id)]

    async def counts(self) -> NoticeCounts:
        """See `Outbox`."""
        (found,) = await self._statements.look("count_notices", long=True)
        return NoticeCounts(*found)

    async def purge(self, before: datetime) -> int:
        """See `Outbox`."""
        total = 0
        for is_dead in (False, True):
            while forgotten := await self._purge_some(before, is_dead=is_dead):
                total += forgotten
        return total

    async def reseal(self, notice_id: str, sealed: bytes) -> bool:
        """See `Outbox`."""
        return await self._changed("reseal_notice", notice_id, sealed)

    async def _purge_some(self, before: datetime, *, is_dead: bool) -> int:
        """Forget `PURGED` of them."""
        raise NotImplementedError

    async def _changed(self, name: str, notice_id: str, *values: Any) -> bool:
        """Whether the statement `name` changed this notice."""
        return await self._statements.write(name, notice_id, *values, key=("notice", notice_id)) == 1

"""The outbox of PostgresStore: a table beside that of the logins, written in the statements that write those."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_notices, check_text, check_time
from mesh_refresh.stores.outbox import NoticeCounts, NoticePage, NoticeRow, Outbox, far_from
from mesh_refresh.stores.postgres.jobs import Statements
from mesh_refresh.stores.postgres.values import moment, read, span, written
from mesh_refresh.stores.row import ahead_of

_PURGED = 1_000
"""So many are forgotten in one transaction."""


class PostgresOutbox(Outbox):
    """See `Outbox`."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def claim(self, owner: str, lease: timedelta, *, now: datetime, limit: int) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_text(owner)
        check_time(now)
        values = (written(owner), span(lease), now, ahead_of(now), max(0, limit), far_from(now))
        found = await self._statements.write("due_notices", *values)
        found.sort(key=itemgetter("due_at", "number"))  # as they are handed out
        return [_notice(values[:-1]) for values in map(tuple, found)]

    async def take(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        check_text(notice_id, owner)
        return await self._changed("take_notice", notice_id, written(owner))

    async def give_back(self, notice_id: str, owner: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        check_text(notice_id, owner)
        check_time(due_at)
        return await self._changed("give_back_notice", notice_id, written(owner), due_at)

    async def bury(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        check_text(notice_id, owner)
        return await self._changed("bury_notice", notice_id, written(owner))

    async def resend(self, notice_id: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        check_text(notice_id)
        check_time(due_at)
        return await self._changed("resend_notice", notice_id, due_at)

    async def page(self, page: NoticePage) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_text(page.after)
        check_time(page.since)
        after = None if page.after is None else written(page.after)
        found = await self._statements.look("page_of_notices", max(0, page.limit), after, page.is_dead, page.since)
        return [_notice(values) for values in found]

    async def of(self, login_id: str) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_text(login_id)
        return [_notice(values) for values in await self._statements.look("notices_of", written(login_id))]

    async def counts(self) -> NoticeCounts:
        """See `Outbox`."""
        ((waiting, dead, oldest),) = await self._statements.look("count_notices")
        return NoticeCounts(waiting, dead, moment(oldest))

    async def put(self, notices: Sequence[NoticeRow]) -> int:
        """See `Outbox`."""
        values = (
            *notice_columns(notices),
            [it.tries for it in notices],
            [it.first_tried_at for it in notices],
            [it.is_dead for it in notices],
        )
        return len(await self._statements.write("put_notices", *values))

    async def drop(self, notice_ids: Sequence[str]) -> int:
        """See `Outbox`."""
        check_text(*notice_ids)
        return len(await self._statements.write("drop_notices", [written(it) for it in notice_ids]))

    async def purge(self, before: datetime) -> int:
        """See `Outbox`."""
        check_time(before)
        total = 0
        for is_dead in (False, True):
            while forgotten := len(await self._statements.write("purge_notices", before, is_dead, _PURGED)):
                total += forgotten
        return total

    async def reseal(self, notice_id: str, sealed: bytes) -> bool:
        """See `Outbox`."""
        check_text(notice_id)
        return await self._changed("reseal_notice", notice_id, MaskedBytes(sealed))

    async def _changed(self, name: str, notice_id: str, *values: Any) -> bool:
        """Whether the statement `name` changed this notice."""
        key = ("notice", notice_id)
        return bool(await self._statements.write(name, written(notice_id), *values, key=key))


def notice_columns(notices: Sequence[NoticeRow]) -> tuple[list[Any], ...]:
    """What is written of new ones, a list for each column. Raises `InvalidRequest` for what cannot be kept."""
    check_notices(notices)
    return (
        [written(it.id) for it in notices],
        [written(it.login_id) for it in notices],
        [it.due_at for it in notices],
        [it.written_at for it in notices],
        [MaskedBytes(it.sealed) for it in notices],
    )


def _notice(values: Sequence[Any]) -> NoticeRow:
    """The notice of the columns that every query names in this order."""
    notice_id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead = values
    return NoticeRow(
        read(notice_id),
        read(login_id),
        moment(due_at),
        moment(written_at),
        sealed,
        tries,
        moment(first_tried_at),
        is_dead,
    )

"""The outbox of PostgresStore: a table beside that of the logins, in the same database and in the same transactions."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from attrs import fields

from mesh_refresh.stores.checks import check_notices, check_time
from mesh_refresh.stores.outbox import NoticeRow, far_from
from mesh_refresh.stores.postgres.jobs import Statements
from mesh_refresh.stores.row import ahead_of
from mesh_refresh.stores.sql.outbox import PURGED, SqlOutbox

_COLUMNS = tuple(column.name for column in fields(NoticeRow))
_NEW = _COLUMNS[:5]
"""Those of a notice that was never tried."""


class PostgresOutbox(SqlOutbox):
    """See `Outbox`."""

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements)
        self._rows = statements.rows

    async def claim(self, owner: str, lease: timedelta, *, now: datetime, limit: int) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_time(now)
        found = await self._rows("due_notices", owner, lease, now, ahead_of(now), max(0, limit), far_from(now))
        in_order = sorted(found, key=itemgetter(_COLUMNS.index("due_at"), -1))  # as they are handed out
        return [NoticeRow(*columns) for *columns, _ in in_order]

    async def put(self, notices: Sequence[NoticeRow]) -> int:
        """See `Outbox`."""
        check_notices(notices)
        return await self._statements.write("put_notices", *notice_columns(notices, _COLUMNS))

    async def drop(self, notice_ids: Sequence[str]) -> int:
        """See `Outbox`."""
        return await self._statements.write("drop_notices", list(notice_ids))

    async def _purge_some(self, before: datetime, *, is_dead: bool) -> int:
        return await self._statements.write("purge_notices", before, is_dead, PURGED)


def notice_columns(notices: Sequence[NoticeRow], names: Sequence[str] = _NEW) -> list[list[Any]]:
    """The values of `notices`, a list for each column; unless others are named, those of new ones."""
    return [[getattr(notice, name) for notice in notices] for name in names]

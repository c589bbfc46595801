"""The outbox of SqliteStore: a table beside that of the logins, in the same file and in the same transactions."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from mesh_refresh.stores.checks import check_notices, check_text
from mesh_refresh.stores.outbox import NoticeRow, far_from
from mesh_refresh.stores.row import ahead_of
from mesh_refresh.stores.sql.outbox import PURGED, SqlOutbox
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.queries import queries
from mesh_refresh.stores.sqlite.statements import RunVerb, SqliteStatements
from mesh_refresh.stores.sqlite.values import given_back, microseconds, notices_as_kept
from mesh_refresh.stores.sqlite.verbs import write_notices

_SQL = queries("outbox.sql")


class SqliteOutbox(SqlOutbox):
    """See `Outbox`."""

    def __init__(self, run: RunVerb, scan: RunVerb) -> None:
        super().__init__(SqliteStatements(run, scan, _SQL))
        self._run = run

    async def claim(self, owner: str, lease: timedelta, *, now: datetime, limit: int) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_text(owner)
        limit = max(0, limit)
        times = {
            "now": microseconds(now),
            "ahead": microseconds(ahead_of(now)),
            "far": microseconds(far_from(now)),
        }

        def work(session: SqliteSession) -> list[NoticeRow]:
            execute, at = session.connection.execute, session.clock.now()
            length, found = session.clock.lease(lease, at), list[tuple[Any, ...]]()
            for which in ("due", "ahead", "far"):
                if len(found) < limit:
                    left = {"limit": limit - len(found), "at": at, "boot": session.clock.boot}
                    found += given_back(execute(_SQL[which], times | left))
            for number, *_ in found:
                execute(_SQL["lease"], (owner, length.boot, length.since, length.until, times["now"], number))
            return [NoticeRow(*columns) for _, *columns in found]

        return await self._run(work)

    async def put(self, notices: Sequence[NoticeRow]) -> int:
        """See `Outbox`."""
        check_notices(notices)
        values = notices_as_kept(notices)
        return await self._run(lambda session: write_notices(session, values))

    async def drop(self, notice_ids: Sequence[str]) -> int:
        """See `Outbox`."""
        check_text(*notice_ids)

        def work(session: SqliteSession) -> int:
            return sum(session.connection.execute(_SQL["drop"], (it,)).rowcount for it in notice_ids)

        return await self._run(work)

    async def _purge_some(self, before: datetime, *, is_dead: bool) -> int:
        asked = {"before": microseconds(before), "is_dead": is_dead, "limit": PURGED}

        def work(session: SqliteSession) -> int:
            wanted = {**asked, "at": session.clock.now(), "boot": session.clock.boot}
            return session.connection.execute(_SQL["purge"], wanted).rowcount

        return await self._run(work)

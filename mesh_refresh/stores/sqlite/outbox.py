"""The outbox of SqliteStore: a table beside that of the logins, in the same file and in the same transactions."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_notices, check_text
from mesh_refresh.stores.outbox import NoticeCounts, NoticePage, NoticeRow, Outbox, far_from
from mesh_refresh.stores.row import ahead_of
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.queries import queries
from mesh_refresh.stores.sqlite.statements import RunVerb, SqliteStatements
from mesh_refresh.stores.sqlite.values import EVER, microseconds, moment, notices_as_kept, perhaps_moment
from mesh_refresh.stores.sqlite.verbs import write_notices

_SQL = queries("outbox.sql")
_PURGED = 1_000
"""So many are forgotten in one transaction: a write waits for no more than these."""


class SqliteOutbox(Outbox):
    """See `Outbox`."""

    def __init__(self, run: RunVerb, scan: RunVerb) -> None:
        self._run = run
        self._statements, self._scans = SqliteStatements(run, _SQL), SqliteStatements(scan, _SQL)

    async def claim(self, owner: str, lease: timedelta, *, now: datetime, limit: int) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_text(owner)
        asked = {
            "now": microseconds(now),
            "ahead": microseconds(ahead_of(now)),
            "far": microseconds(far_from(now)),
            "limit": max(0, limit),
        }

        def work(session: SqliteSession) -> list[NoticeRow]:
            at = session.clock.now()
            length = session.clock.lease(lease, at)
            wanted = {**asked, "at": at, "boot": session.clock.boot}
            found = session.connection.execute(_SQL["due"], wanted).fetchall()
            for more in ("ahead", "far"):
                if len(found) < asked["limit"]:
                    wanted["limit"] = asked["limit"] - len(found)
                    found += session.connection.execute(_SQL[more], wanted).fetchall()
            for number, *_ in found:
                values = (owner, length.boot, length.since, length.until, asked["now"], number)
                session.connection.execute(_SQL["lease"], values)
            return [_notice(values) for _, *values in found]

        return await self._run(work, writes=True)

    async def take(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        return await self._changed("take", notice_id, owner)

    async def give_back(self, notice_id: str, owner: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        return await self._changed("give_back", notice_id, owner, before=(microseconds(due_at),))

    async def bury(self, notice_id: str, owner: str) -> bool:
        """See `Outbox`."""
        return await self._changed("bury", notice_id, owner)

    async def resend(self, notice_id: str, due_at: datetime) -> bool:
        """See `Outbox`."""
        return await self._changed("resend", notice_id, before=(microseconds(due_at),))

    async def page(self, page: NoticePage) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_text(page.after)
        asked = {
            "start": page.after or "",
            "after": page.after,
            "is_dead": page.is_dead,
            "since": EVER if page.since is None else microseconds(page.since),
            "limit": max(0, page.limit),
        }
        return [_notice(values) for values in await self._scans.look("page", asked)]

    async def of(self, login_id: str) -> Sequence[NoticeRow]:
        """See `Outbox`."""
        check_text(login_id)
        return [_notice(values) for values in await self._statements.look("of", (login_id,))]

    async def counts(self) -> NoticeCounts:
        """See `Outbox`."""
        ((waiting, dead, oldest),) = await self._scans.look("counts")
        return NoticeCounts(waiting, dead, perhaps_moment(oldest))

    async def put(self, notices: Sequence[NoticeRow]) -> int:
        """See `Outbox`."""
        check_notices(notices)
        values = notices_as_kept(notices, anew=False)
        return await self._run(lambda session: write_notices(session, values), writes=True)

    async def drop(self, notice_ids: Sequence[str]) -> int:
        """See `Outbox`."""
        check_text(*notice_ids)

        def work(session: SqliteSession) -> int:
            return sum(session.connection.execute(_SQL["drop"], (it,)).rowcount for it in notice_ids)

        return await self._run(work, writes=True)

    async def purge(self, before: datetime) -> int:
        """See `Outbox`."""
        asked, total = {"before": microseconds(before), "limit": _PURGED}, 0

        def work(session: SqliteSession, *, is_dead: bool) -> int:
            wanted = {**asked, "is_dead": is_dead, "at": session.clock.now(), "boot": session.clock.boot}
            return session.connection.execute(_SQL["purge"], wanted).rowcount

        for is_dead in (False, True):
            while forgotten := await self._run(partial(work, is_dead=is_dead), writes=True):
                total += forgotten
        return total

    async def reseal(self, notice_id: str, sealed: bytes) -> bool:
        """See `Outbox`."""
        return await self._changed("reseal", notice_id, before=(MaskedBytes(sealed),))

    async def _changed(self, name: str, *which: str, before: tuple[Any, ...] = ()) -> bool:
        """Whether the statement `name` changed one."""
        check_text(*which)
        return await self._statements.write(name, *before, *which) == 1


def _notice(values: Sequence[Any]) -> NoticeRow:
    """The notice of the columns that every query names in this order."""
    notice_id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead = values
    return NoticeRow(
        notice_id,
        login_id,
        moment(due_at),
        moment(written_at),
        sealed,
        tries,
        perhaps_moment(first_tried_at),
        bool(is_dead),
    )

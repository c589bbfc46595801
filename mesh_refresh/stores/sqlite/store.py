"""SqliteStore: a fleet in one file, the store that a service begins with."""

import os
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self, TypeVar

from attrs import astuple

from mesh_refresh.clock import Clock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores.checks import check_cipher, check_notices, check_text
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import Busy, ClaimRequest, Count, Page, Row
from mesh_refresh.stores.sealing import Sealing
from mesh_refresh.stores.sql.registry import SqlRegistry
from mesh_refresh.stores.sql.store import SqlStore
from mesh_refresh.stores.sqlite import claiming, scanning, verbs
from mesh_refresh.stores.sqlite.connection.failures import closed
from mesh_refresh.stores.sqlite.connection.leases import LeaseClock
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.connection.thread import SessionThread
from mesh_refresh.stores.sqlite.outbox import SqliteOutbox
from mesh_refresh.stores.sqlite.queries import queries
from mesh_refresh.stores.sqlite.statements import SqliteStatements
from mesh_refresh.stores.sqlite.values import Notices, microseconds, notices_as_kept
from mesh_refresh.stores.sqlite.verbs import Swap

T = TypeVar("T")

_BUSY = timedelta(seconds=5)
_AT_ONCE = 1_024
"""Rows of one `insert_many` in one transaction: more would hold up what else is written."""


class SqliteStore(SqlStore):
    """Keeps logins in one file, which any number of processes of one machine may share::

        async with SqliteStore.open("fleet.db", cipher=Cipher([key])) as store: ...

    A verb returns when what it wrote is on the disk; verbs that wait at the same time share one transaction. The file
    must lie on a local disk, and has ``-wal`` and ``-shm`` files beside it that belong to it: move or back it up only
    while no process has it open, or with SQLite's own tools. Use one store from one event loop at a time.
    """

    cancellation_safe = True

    def __init__(
        self,
        path: str,
        cipher: Sealing,
        clock: LeaseClock,
        busy_timeout: timedelta,
        *,
        create: bool = True,
        read_only: bool = False,
    ) -> None:
        self.cipher = cipher
        self.store_id = ""
        self._path = path
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._create, self._read_only = create and not read_only, read_only
        self._writer: SessionThread | None = None
        self._scanner: SessionThread | None = None
        self._closed = False
        self._statements = SqliteStatements(self._run, self._scan, verbs.SQL)
        self._outbox, self._registry = (
            SqliteOutbox(self._run, self._scan),
            SqlRegistry(SqliteStatements(self._run, self._scan, queries("registry.sql"))),
        )

    @classmethod
    def open(
        cls,
        path: "str | os.PathLike[str]",
        *,
        cipher: Sealing,
        clock: Clock | None = None,
        busy_timeout: timedelta = _BUSY,
        create: bool = True,
        read_only: bool = False,
    ) -> Self:
        """The store in the file `path`, opened by ``async with`` or by ``await``.

        Opening makes the file where there is none (mode 0600), unless `create` is false: then it raises `StoreRefused`,
        so that a mistyped path makes no empty store. It brings the file to this version's schema, and raises
        `WrongKey` where it was written with a key that `cipher` has not, `StoreUnavailable` where it cannot be opened
        now, and `StoreDamaged` where it is no store or was written by a newer version. With `read_only` it makes no
        file and upgrades none: an older version raises `StoreRefused`, and so does every verb that writes.

        `busy_timeout` is how long to wait for another process that writes. Leases are told by the machine's clock since
        its start; `clock` replaces it in tests.
        """
        if not isinstance(busy_timeout, timedelta) or busy_timeout < timedelta():
            raise InvalidRequest("busy_timeout must be a timedelta, and not less than nothing.")
        check_cipher("SqliteStore", cipher)
        return cls(_absolute(path), cipher, LeaseClock(clock), busy_timeout, create=create, read_only=read_only)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        """See `Store`."""
        times, told = verbs.checked(row), _as_kept(row, notices)
        return await self._run(lambda session: verbs.insert(session, row, times, told))

    async def insert_many(self, rows: Sequence[Row]) -> Sequence[bool]:
        """See `Store`."""
        given = [(row, verbs.checked(row)) for row in rows]
        found: list[bool] = []
        for start in range(0, len(given), _AT_ONCE):
            found += await self._run(partial(verbs.insert_many, given=given[start : start + _AT_ONCE]))
        return found

    async def read(self, login_id: str) -> Row | None:
        """See `Store`."""
        check_text(login_id)
        return await self._run(lambda session: verbs.read(session, login_id), writes=False)

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        """See `Store`."""
        times, told = verbs.checked(row), _as_kept(row, notices)
        check_text(owner)
        return await self._run(Swap(row, times, owner, hold, told))

    async def claim(self, request: ClaimRequest) -> Sequence[Row]:
        """See `Store`."""
        check_text(request.owner)
        times = {"now": microseconds(request.now), "ahead": microseconds(request.ahead)}
        return await self._run(lambda session: claiming.claim(session, request, times))

    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        """See `Store`."""
        check_text(login_id, owner)
        return await self._run(lambda session: claiming.claim_one(session, login_id, owner, lease, sends=sends))

    async def delete(self, login_id: str, *, seen: Row | None = None) -> bool:
        """See `Store`."""
        check_text(login_id)
        return await self._run(lambda session: verbs.delete(session, login_id, seen))

    async def rows(self, page: Page) -> Sequence[Row]:
        """See `Store`."""
        asked = scanning.asked_for(page)
        return await self._scan(lambda session: scanning.rows(session, page, asked))

    async def counts(self, now: datetime) -> Sequence[Count]:
        """See `Store`."""
        microseconds(now)
        return await self._scan(lambda session: scanning.counts(session, now))

    async def find_damage(self) -> Sequence[str]:
        """What SQLite's integrity check finds, in its words; empty: the file is sound. It reads the whole file."""
        return await self._scan(scanning.damage)

    async def due_by_hour(self, now: datetime, hours: int = 24) -> Sequence[int]:
        """See `Store`."""
        start = microseconds(now)
        return await self._scan(lambda session: scanning.due_by_hour(session, start, hours))

    async def pause(
        self, broker: str, *, paused: bool = True, note: str = "", by: str = "", at: datetime | None = None
    ) -> None:
        """See `Store`."""
        if paused:
            await self._statements.write("pause", broker, note, by, at or datetime.now(UTC))
            return
        check_text(broker)
        await self._run(lambda session: verbs.resume(session, broker))

    async def aclose(self) -> None:
        """See `Store`."""
        self._closed = True
        for thread in (self._scanner, self._writer):
            if thread is not None:
                await thread.aclose()

    async def _opened(self) -> Self:
        if self._writer is None and not self._closed:
            session, cipher = SqliteSession(self._path, self._clock, self._busy_timeout), self.cipher
            create_file, read_only = self._create, self._read_only
            self._writer = self._new_thread(session, "mesh_refresh store")
            try:
                await self._writer.run(
                    lambda session: session.open(create_file=create_file, read_only=read_only), writes=False
                )
                self.store_id = await self._run(lambda session: verbs.check_key(session, cipher), writes=not read_only)
            except BaseException:
                await self.aclose()
                raise
        self._thread()
        return self

    async def _run(self, verb: Callable[[SqliteSession], T], *, writes: bool = True) -> T:
        return await self._thread().run(verb, writes=writes)

    async def _scan(self, verb: Callable[[SqliteSession], T], *, writes: bool = False) -> T:
        """For verbs that only read, and may take long."""
        assert not writes  # noqa: S101 - the session of scans only reads
        self._thread()
        if self._scanner is None:
            session = SqliteSession(self._path, self._clock, self._busy_timeout)
            self._scanner = self._new_thread(session, "mesh_refresh store, scans")
        return await self._scanner.run(lambda session: verb(session.to_read()), writes=False)

    def _thread(self) -> SessionThread:
        if self._writer is None or self._closed:
            raise closed(self._path)
        return self._writer

    def _new_thread(self, session: SqliteSession, name: str) -> SessionThread:
        thread = SessionThread(session, name)
        # Runs when the store is garbage-collected, and when the process ends without having closed it.
        weakref.finalize(self, thread.end)
        return thread


def _as_kept(row: Row, notices: Sequence[NoticeRow]) -> Notices:
    """`notices` that were never tried, and are not dead."""
    check_notices(notices, row.login_id)
    return notices_as_kept([NoticeRow(*astuple(it)[:5]) for it in notices])


def _absolute(path: "str | os.PathLike[str]") -> str:
    """The path with links followed: SQLite names the files beside the store after the file that a link leads to."""
    found = os.fspath(path)
    if not isinstance(found, str) or not found or "\0" in found:
        raise InvalidRequest("The path of a store must be a non-empty string, or a Path.")
    check_text(found)
    return os.path.realpath(found)

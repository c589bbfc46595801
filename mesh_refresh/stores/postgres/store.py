"""PostgresStore: a fleet in PostgreSQL, which coordinates the workers of many machines."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores import key_check
from mesh_refresh.stores.checks import check_cipher, check_notices, check_row, check_text, check_time
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.postgres import claiming, scanning
from mesh_refresh.stores.postgres.connection.addresses import PATIENCE, Target, target
from mesh_refresh.stores.postgres.connection.failures import closed, failure
from mesh_refresh.stores.postgres.connection.listener import NotificationListener, channel_of
from mesh_refresh.stores.postgres.connection.pool import ConnectionPool, in_transaction
from mesh_refresh.stores.postgres.floors import Floors
from mesh_refresh.stores.postgres.groups import Group
from mesh_refresh.stores.postgres.jobs import Statements, VerbRunner
from mesh_refresh.stores.postgres.outbox import PostgresOutbox, notice_columns
from mesh_refresh.stores.postgres.queries import Queries
from mesh_refresh.stores.postgres.schema import migrate as migrating
from mesh_refresh.stores.postgres.values import columns, kept, read, row, span, written
from mesh_refresh.stores.row import Busy, ClaimRequest, Count, Page, Row
from mesh_refresh.stores.sealing import Sealing
from mesh_refresh.stores.sql.registry import SqlRegistry
from mesh_refresh.stores.sql.store import SqlStore
from mesh_refresh.stores.states import states_of, text_of
from mesh_refresh.tasks import all_of

_log = logging.getLogger("mesh_refresh.stores")

_NONE = timedelta()


_How = tuple[str | None, timedelta]
"""Whose lease a swap gives back, and the hold that it leaves."""
_Write = tuple[Row, tuple[NoticeRow, ...]]
"""A row, and the notices that are written with it."""


class PostgresStore(SqlStore):
    """Keeps logins in PostgreSQL 14 or newer, for any number of processes on any number of machines::

        async with PostgresStore.open("postgresql://user@host/database", cipher=Cipher([key])) as store: ...

    A verb returns when what it wrote is committed; verbs that wait at the same time share one statement. Leases are
    told by the server's clock. A connection that is lost is made anew by the next verb, and the verb that lost it
    raises `StoreUnavailable`. Use one store from one event loop at a time. Needs the extra ``postgres``.
    """

    cancellation_safe = True

    def __init__(self, to: Target, cipher: Sealing, *, connections: int, migrate: bool, partitions: int) -> None:
        self.cipher = cipher
        self.store_id = ""
        self._to = to
        self._connections = connections
        self._migrate, self._partitions = migrate, partitions
        queries = Queries(to.schema)
        self._sql: dict[str, str] = {}
        for file in ("logins.sql", "claims.sql", "scans.sql", "outbox.sql", "registry.sql"):
            self._sql |= queries.of(file)
        self._jobs: VerbRunner | None = None
        self._ears: NotificationListener | None = None
        self._floors = Floors()
        self._waking = False
        self._closed = False
        self._statements = Statements(self._open_jobs, lambda: self._sql)
        self._outbox, self._registry = PostgresOutbox(self._statements), SqlRegistry(self._statements)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        cipher: Sealing,
        schema: str | None = None,
        migrate: bool = False,
        partitions: int = 0,
        connections: int = 4,
        timeout: timedelta = PATIENCE,
        transaction_pooling: bool | None = None,
    ) -> Self:
        """The store in the database at `url`, opened by ``async with`` or by ``await``.

        `schema` is where its tables are (else what ``?schema=`` in the URL says, else ``mesh_refresh``). `migrate`
        makes and updates them, for which the role needs more rights than for the work; `partitions` splits the table of
        logins into so many when it is made, and is refused where it is there with others. `connections` are the most
        that are opened, beside one that listens. `timeout` is how long a connection or an answer may take.
        `transaction_pooling` (or, in the URL, ``?transaction_pooling=yes``) is for a proxy that gives each transaction
        another connection, such as PgBouncer: then no statement is prepared, and no notification is heard.

        Opening raises `WrongKey` where the store was written with a key that `cipher` has not, `StoreUnavailable` where
        the server cannot be reached, `StoreRefused` where it refuses the login, is too old, or has no tables, and
        `StoreDamaged` where they are of a newer version.
        """
        url = MaskedStr(url if isinstance(url, str) else "")  # a traceback may be rendered with its locals
        to = target(url, schema, timeout, pooled=transaction_pooling)
        del url
        check_cipher("PostgresStore", cipher)
        if connections < 1:
            raise InvalidRequest("PostgresStore needs at least one connection.")
        return cls(to, cipher, connections=connections, migrate=migrate, partitions=partitions)

    @staticmethod
    async def migrate(
        url: str, *, schema: str | None = None, partitions: int = 0, timeout: timedelta = PATIENCE
    ) -> int:
        """Make the tables, or bring them to this version, which is given back; no key is needed.

        Raises as `open` does, and `InvalidRequest` where the tables are there with other `partitions` than are asked
        for. Others may do the same at the same time.
        """
        url = MaskedStr(url if isinstance(url, str) else "")  # a traceback may be rendered with its locals
        done = await migrating.migrate_at(url, schema=schema, partitions=partitions, timeout=timeout)
        return done.version

    def __repr__(self) -> str:
        return f"<PostgresStore {self._to.shown}>"

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        """See `Store`."""
        check_row(row)
        text_of(row.states)
        check_notices(notices, row.login_id)
        self._open_jobs()
        return await self._inserts.ask(row.login_id, (row, tuple(notices)), None)

    async def insert_many(self, rows: Sequence[Row]) -> Sequence[bool]:
        """See `Store`. What waits at the same time is one statement."""
        return await all_of(map(self.insert, rows))

    async def read(self, login_id: str) -> Row | None:
        """See `Store`."""
        name = kept(login_id)
        self._open_jobs()
        return await self._reads.ask(name, name, None)

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = _NONE,
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        """See `Store`."""
        check_row(row)
        text_of(row.states)
        check_notices(notices, row.login_id)
        check_text(owner)
        self._open_jobs()
        return await self._swaps.ask(row.login_id, (row, tuple(notices)), (owner, hold))

    async def claim(self, request: ClaimRequest) -> Sequence[Row]:
        """See `Store`."""
        check_text(request.owner)
        check_time(request.now, request.wall)
        if request.limit <= 0:
            return []
        jobs, sql, since = self._open_jobs(), self._sql, self._floors.begin(request.now)

        async def both_looks() -> list[Row]:
            rows = await jobs.links.run(lambda connection: claiming.claim(connection, sql["claim"], request, since))
            left = claiming.rest(request, rows)
            self._floors.claimed(rows, left)
            if len(rows) >= request.limit:
                return rows
            try:
                return rows + await jobs.links.run(lambda it: claiming.claim_ahead(it, sql["claim_ahead"], left))
            except Exception:
                if not rows:
                    raise
                return rows  # they are claimed; the next claim will say it

        return await jobs.whole(both_looks)

    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        """See `Store`."""
        sql, asked = self._sql["claim_one"], [*map(kept, (login_id, owner, lease, sends))]
        return await self._open_jobs().write(login_id, lambda link: claiming.claim_one(link, sql, asked))

    async def delete(self, login_id: str, *, seen: Row | None = None) -> bool:
        """See `Store`."""
        sql, name = self._sql, kept(login_id)
        as_seen = (None, None) if seen is None else (kept(seen.epoch), seen.revision)

        async def work(connection: Any) -> bool:
            # First the login: a swap that writes notices has its row locked until they are committed.
            is_gone = await connection.fetchval(sql["delete"], name, *as_seen) is not None
            if is_gone or seen is None:
                await connection.execute(sql["forget_notices"], name)
            return is_gone

        return await self._open_jobs().write(login_id, lambda connection: in_transaction(connection, work))

    async def rows(self, page: Page) -> Sequence[Row]:
        """See `Store`."""
        sql, values = scanning.page_query(self._sql, page)

        async def work(connection: Any) -> list[Row]:
            return [row(it) for it in await connection.fetch(sql, *values)]

        return await self._open_jobs().look(work, long=True)

    async def counts(self, now: datetime) -> Sequence[Count]:
        """See `Store`. It reads the whole table, for as long as that takes."""
        found = await self._statements.look("counts", now, long=True)
        return [Count(broker, states_of(states), *numbers) for broker, states, *numbers in found]

    async def find_damage(self) -> Sequence[str]:
        """What the server itself has noticed: indexes that are not valid, pages whose checksums were wrong."""
        return [text for (text,) in await self._statements.look("damage", self._to.schema, long=True)]

    async def due_by_hour(self, now: datetime, hours: int = 24) -> Sequence[int]:
        """See `Store`. It reads the index of due times from end to end."""
        numbers = dict(await self._statements.look("due_by_hour", now, hours, long=True))
        return [numbers.get(hour, 0) for hour in range(hours)]

    async def pause(
        self, broker: str, *, paused: bool = True, note: str = "", by: str = "", at: datetime | None = None
    ) -> None:
        """See `Store`."""
        if paused:
            await self._statements.write("pause", broker, note, by, at, key=("pause", broker))
            return
        await self._statements.write("resume", broker, key=("pause", broker))
        self._floors.start_over(soon=False)
        self._wake()

    def watch(self, wake: Callable[[], object]) -> Callable[[], None]:
        """See `Store`. Behind a transaction-pooling proxy no notification can be heard."""
        self._open_jobs()
        if self._ears is None:
            return super().watch(wake)

        def heard() -> None:
            self._floors.start_over()
            wake()

        return self._ears.add(heard)

    async def aclose(self) -> None:
        """See `Store`."""
        self._closed = True
        if self._ears is not None:
            await self._ears.aclose()
        if self._jobs is not None:
            await self._jobs.aclose()

    # Opening.

    async def _opened(self) -> Self:
        if self._jobs is None and not self._closed:
            self._jobs = jobs = VerbRunner(ConnectionPool(self._to, self._connections), self._to.shown, self._check)
            self._inserts = Group(jobs, self._insert)
            self._reads = Group(jobs, self._read)
            self._swaps = Group(jobs, self._swap, self._swap_free)
            try:
                await self._prepare(jobs)
            except BaseException:
                await self.aclose()
                raise
            self._ears = None if self._to.pooled else NotificationListener(self._to)
        self._open_jobs()
        return self

    async def _check(self, connection: Any) -> None:
        await migrating.check_version(connection, self._to)

    async def _prepare(self, jobs: VerbRunner) -> None:
        if self._migrate:
            await migrating.migrate(self._to, self._partitions)
        else:
            await jobs.write(None, self._check)
        found = await self._statements.look("seal")
        if not found:
            await self._statements.write("first_seal", key_check.sealed_check(self.cipher, key_check.new_store_id()))
            found = await self._statements.look("seal")
        self.store_id = key_check.check(self.cipher, found[0][0] if found else b"")

    def _open_jobs(self) -> VerbRunner:
        if self._jobs is None or self._closed:
            raise closed(self._to.shown)
        return self._jobs

    # Statements for many rows.

    async def _insert(self, connection: Any, items: Sequence[_Write], _: None) -> list[bool]:
        rows, told = [row for row, _ in items], _told(items)
        found = await connection.fetch(self._sql["insert_told" if told else "insert"], *columns(rows), *told)
        made = {read(login_id) for (login_id,) in found}
        self._floors.wrote(rows)
        if any(it.login_id in made and _is_due(it) for it in rows):
            self._wake()
        return [it.login_id in made for it in rows]

    async def _read(self, connection: Any, login_ids: Sequence[str], _: None) -> list[Row | None]:
        found = {it["login_id"]: row(it) for it in await connection.fetch(self._sql["read"], login_ids)}
        return [found.get(login_id) for login_id in login_ids]

    async def _swap(self, connection: Any, items: Sequence[_Write], how: _How) -> list[bool]:
        rows, told = [row for row, _ in items], _told(items)
        found = await connection.fetch(self._sql["swap_told" if told else "swap"], *_swapped(rows, how), *told)
        self._floors.wrote(rows)
        if len(found) == len(rows) and how[0] is not None:
            return [True] * len(rows)  # nearly always
        done = {read(login_id) for (login_id,) in found}
        self._wake_for(rows, done, how)
        return [row.login_id in done for row in rows]

    async def _swap_free(self, connection: Any, items: Sequence[_Write], how: _How) -> list[bool | None]:
        """The same, with None for rows that another program has locked."""
        rows, told = [row for row, _ in items], _told(items)
        sql = self._sql["swap_free_told" if told else "swap_free"]
        found = await connection.fetch(sql, *_swapped(rows, how), *told)
        self._floors.wrote(rows)
        ends = {read(login_id): None if is_locked else done for login_id, is_locked, done in found}
        self._wake_for(rows, {login_id for login_id, done in ends.items() if done}, how)
        return [ends.get(row.login_id, False) for row in rows]

    def _wake_for(self, rows: Sequence[Row], done: set[str], how: _How) -> None:
        """Wake keepers for rows that became due. A caller that gave a lease back looks for itself."""
        if how[0] is None and any(row.login_id in done and _is_due(row) for row in rows):
            self._wake()

    def _wake(self) -> None:
        """Wake the keepers that listen, in this process too. No caller waits for that, and one wake stands for many."""
        if self._jobs is not None and not self._waking:
            self._waking = True
            self._jobs.start(self._tell(self._jobs))

    async def _tell(self, jobs: VerbRunner) -> None:
        channel = channel_of(self._to.schema)

        async def work(connection: Any) -> None:
            self._waking = False  # what is written from here on needs another one
            await connection.execute(self._sql["wake"], channel)

        try:
            await jobs.links.run(work)
        except Exception as error:  # noqa: BLE001 - they find it at their next poll
            _log.info("keepers could not be woken: %s", failure(error, self._to.shown))
        finally:
            self._waking = False


def _swapped(rows: Sequence[Row], how: _How) -> tuple[Any, ...]:
    """The parameters of a swap."""
    owner, hold = how
    return (
        *columns(rows),
        [row.revision for row in rows],
        None if owner is None else written(owner),
        span(hold) if hold > _NONE else None,
    )


def _told(items: Sequence[_Write]) -> list[Any]:
    """The parameters for the notices; empty where there are none, as nearly always."""
    found = [notice for _, notices in items for notice in notices]
    return [*map(kept, notice_columns(found))] if found else []


def _is_due(it: Row) -> bool:
    return it.due_at is not None and it.due_at <= it.changed_at

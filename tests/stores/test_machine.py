"""Every store does what MemoryStore does, whatever is asked of it in whatever order."""

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from mesh_refresh.stores import ClaimRequest, Count, MemoryStore, NoticePage, NoticeRow, Outbox, Page, Row, Store
from mesh_refresh.stores.postgres.floors import Floors
from mesh_refresh.testing.conformance.store_outbox import outbox_of
from tests.examples import bounded
from tests.stores.handles import Handles, SqliteHandles
from tests.stores.postgres.postgres_handles import OpenPostgres, PostgresHandles

pytestmark = pytest.mark.once

_START = datetime(2026, 1, 1, tzinfo=UTC)
_IDS = ("", "a", "b", "c\0", "\N{GRINNING FACE}")
_BROKERS = ("one", "two", "*")
_STATES = ("active", "managed", "mfa_required")

ids = st.sampled_from(_IDS)
brokers = st.sampled_from(_BROKERS)
states = st.frozensets(st.sampled_from(_STATES))
owners = st.sampled_from(("first keeper", "second keeper"))
handles = st.integers(0, 1)
spans = st.sampled_from([timedelta(microseconds=n) for n in (0, 1, 999_999, 1_000_000, 9_999_999, 10_000_000)])
moments = st.builds(lambda minutes: _START + timedelta(minutes=minutes), st.integers(-5, 5))
limits = st.integers(0, 4)
requests = st.builds(
    ClaimRequest,
    owners,
    spans,
    moments,
    limits,
    st.none() | limits,
    st.dictionaries(brokers, limits, max_size=2),
)
pages = st.builds(
    Page,
    limits,
    st.none() | ids,
    st.none() | states,
    st.none() | brokers,
    st.none() | moments,
)


lateness = st.sampled_from((0, 0, 0, 1, 2, 5))
notice_ids = st.sampled_from(("1", "2", "3", "4"))
notice_pages = st.builds(NoticePage, limits, st.none() | notice_ids, st.none() | st.booleans())


@st.composite
def notices_of(draw: st.DrawFn, login_id: str) -> list[NoticeRow]:
    """A few of them. No two of one id are about different logins, and none is due at the time of another."""
    ids_ = [it for it in draw(st.lists(notice_ids, max_size=2)) if int(it) % 5 == _IDS.index(login_id)]
    at = draw(moments)
    return [NoticeRow(it, login_id, at + timedelta(microseconds=int(it)), draw(moments), b"sealed") for it in ids_]


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A row; no two have one due time, because the contract does not say which of those comes first."""
    login_id, due_at = draw(ids), draw(st.none() | moments)
    return Row(
        login_id,
        draw(brokers),
        draw(states),
        due_at and due_at + timedelta(microseconds=_IDS.index(login_id)),
        draw(st.none() | moments),
        draw(moments),
        draw(st.binary(max_size=3)),
        draw(st.sampled_from(("epoch", "other"))),
    )


class StoreMachine(RuleBasedStateMachine):
    """Two handles on one store, and a MemoryStore beside them."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._made = self.made(Path(self._folder.name))
        self._stores = self._runner.run(self._open())
        self._model = MemoryStore(clock=self._made.clock)
        self._known: list[Row] = []

    def made(self, folder: Path) -> Handles:
        """How its stores are made."""
        raise NotImplementedError

    async def _open(self) -> list[Store]:
        store = await self._made.make()
        return [store, await self._made.another(store)]

    def teardown(self) -> None:
        for store in self._stores:
            self._runner.run(store.aclose())
        self._runner.close()
        self._folder.cleanup()

    def _ask(self, handle: int, verb: Callable[[Store], Awaitable[Any]]) -> Any:
        async def both() -> tuple[Any, Any]:
            return await verb(self._stores[handle]), await verb(self._model)

        found, expected = self._runner.run(both())
        if isinstance(expected, list):
            found = list(found)
        assert found == expected
        return found

    @rule(handle=handles, row=rows(), data=st.data())
    def insert(self, handle: int, row: Row, data: st.DataObject) -> None:
        notices = data.draw(notices_of(row.login_id))
        self._ask(handle, lambda store: store.insert(row, notices=notices))

    @rule(handle=handles, login_id=ids)
    def read(self, handle: int, login_id: str) -> None:
        row = self._ask(handle, lambda store: store.read(login_id))
        self._known += [row] if row else []

    @rule(
        handle=handles,
        new=rows(),
        owner=st.none() | owners,
        hold=spans,
        late=st.sampled_from((0, 0, 0, 1, 2, 5)),
        data=st.data(),
    )
    def swap(
        self, handle: int, new: Row, *, owner: str | None, hold: timedelta, late: int, data: st.DataObject
    ) -> None:
        if late >= len(self._known):
            return
        old = self._known[-1 - late]
        row = evolve(new, login_id=old.login_id, epoch=old.epoch, revision=old.revision, attempt=late)
        if row.due_at is not None:
            row = evolve(row, due_at=row.due_at.replace(microsecond=_IDS.index(row.login_id)))
        notices = data.draw(notices_of(row.login_id))
        self._ask(handle, lambda store: store.swap(row, owner=owner, hold=hold, notices=notices))
        self._ask(handle, _counts)

    @rule(handle=handles, request=requests)
    def claim(self, handle: int, request: ClaimRequest) -> None:
        self._known += self._ask(handle, lambda store: store.claim(request))

    @rule(handle=handles, login_id=ids, owner=owners, lease=spans, sends=st.booleans())
    def claim_one(self, handle: int, login_id: str, owner: str, lease: timedelta, sends: bool) -> None:
        row = self._ask(handle, lambda store: store.claim_one(login_id, owner, lease, sends=sends))
        self._known += [row] if isinstance(row, Row) else []

    @rule(handle=handles, login_id=ids, late=st.none() | st.integers(0, 3))
    def delete(self, handle: int, login_id: str, late: int | None) -> None:
        seen = None if late is None or late >= len(self._known) else self._known[-1 - late]
        self._ask(handle, lambda store: store.delete(login_id if seen is None else seen.login_id, seen=seen))

    @rule(handle=handles, broker=brokers, paused=st.booleans(), note=st.sampled_from(("", "why")), at=moments)
    def pause(self, handle: int, broker: str, paused: bool, note: str, at: datetime) -> None:
        self._ask(handle, lambda store: store.pause(broker, paused=paused, note=note, by="me", at=at))
        self._ask(1 - handle, lambda store: store.paused())

    @rule(handle=handles, page=pages)
    def rows(self, handle: int, page: Page) -> None:
        self._ask(handle, lambda store: store.rows(page))

    @rule(handle=handles, now=moments)
    def counts(self, handle: int, now: datetime) -> None:
        self._ask(handle, lambda store: _counts(store, now))

    @rule(handle=handles, owner=owners, lease=spans, now=moments, limit=limits)
    def claim_notices(self, handle: int, owner: str, lease: timedelta, now: datetime, limit: int) -> None:
        self._ask(handle, lambda store: outbox_of(store).claim(owner, lease, now=now, limit=limit))

    @rule(handle=handles, notice_id=notice_ids, owner=owners, at=moments, how=st.integers(0, 5))
    def end_notice(self, handle: int, notice_id: str, owner: str, at: datetime, how: int) -> None:
        """As the owner of the lease or by hand; none of them is due at the time of another."""
        at += timedelta(microseconds=int(notice_id))
        ways: list[Callable[[Outbox], Awaitable[Any]]] = [
            lambda outbox: outbox.take(notice_id, owner),
            lambda outbox: outbox.give_back(notice_id, owner, at),
            lambda outbox: outbox.bury(notice_id, owner),
            lambda outbox: outbox.resend(notice_id, at),
            lambda outbox: outbox.drop([notice_id]),
            lambda outbox: outbox.purge(at),
        ]
        self._ask(handle, lambda store: ways[how](outbox_of(store)))

    @rule(
        handle=handles,
        login_id=ids,
        page=st.builds(NoticePage, limits, st.none() | notice_ids, st.none() | st.booleans()),
    )
    def notices(self, handle: int, login_id: str, page: NoticePage) -> None:
        self._ask(handle, lambda store: outbox_of(store).page(page))
        self._ask(1 - handle, lambda store: outbox_of(store).of(login_id))
        self._ask(handle, lambda store: outbox_of(store).counts())

    @rule(by=spans)
    def pass_time(self, by: timedelta) -> None:
        self._runner.run(self._made.pass_time(by))


async def _counts(store: Store, now: datetime = _START) -> list[Count]:
    """In one order: the contract says none."""
    return sorted(await store.counts(now), key=lambda it: (it.broker, sorted(it.states)))


class SqliteMachine(StoreMachine):
    def made(self, folder: Path) -> Handles:
        return SqliteHandles(folder)


def test_sqlite_does_what_memory_does() -> None:
    run_state_machine_as_test(SqliteMachine, settings=bounded(60, stateful_step_count=60))


def test_postgres_does_what_memory_does(postgres: str) -> None:
    class FromTheStart(PostgresHandles):
        def _open(self, **options: Any) -> OpenPostgres:
            store = super()._open(**options)
            # Every claim begins at the start: else it may miss for a minute what the other handle wrote overdue.
            store.floors = Floors(itertools.count(step=60.0).__next__)
            return store

    class PostgresMachine(StoreMachine):
        def made(self, folder: Path) -> Handles:
            return FromTheStart(postgres)

    run_state_machine_as_test(PostgresMachine, settings=bounded(25, stateful_step_count=60))

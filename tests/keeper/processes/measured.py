"""The client and the store of a keeper process, watched from outside: what it does is told, and timed."""

import inspect
import time
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from attrs import evolve

from mesh_refresh import MeshClient, MfaRequired, Refreshed, Tokens
from mesh_refresh.messages import HttpReply, HttpRequest
from mesh_refresh.stores import Cipher, ClaimRequest, NoticeRow, Row, Store
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.transport import AiohttpTransport
from tests.keeper.processes.traps import Snare, tell

WORKER = "X-Worker"
"""The header by which the fake sees which process sent a request."""
EXCHANGE = "X-Exchange"
"""The header that tells which of them it was."""

_arrived: ContextVar[list[float] | None] = ContextVar("processes_arrived", default=None)
"""When the reply of the exchange at hand was read. A list, because the exchange runs in a task with a copy of this."""

_settling = 0
"""How many new pairs are on their way into the store."""


class NotingClient(MeshClient):
    """Begins the measurement of each exchange."""

    async def refresh(self, tokens: Tokens, **options: Any) -> Refreshed | MfaRequired:
        _arrived.set([])
        return await super().refresh(tokens, **options)

    async def submit_mfa(self, pending: MfaRequired, code: str, **options: Any) -> Refreshed | MfaRequired:
        _arrived.set([])
        return await super().submit_mfa(pending, code, **options)


class NotingTransport(AiohttpTransport):
    """Signs each request, and notes when its reply is there."""

    def __init__(self, name: str, snare: Snare) -> None:
        super().__init__()
        self._name, self._snare = name, snare
        self._number = 0

    async def send(self, request: HttpRequest) -> HttpReply:
        look = request.before_send

        async def before_send() -> None:
            self._snare.at("connected")
            looked = look()
            if inspect.isawaitable(looked):
                await looked
            self._snare.at("bytes")

        self._number += 1
        mine = {WORKER: self._name, EXCHANGE: f"{self._name} {self._number}"}
        signed = type(request.headers)({**request.headers, **mine})  # type: ignore[call-arg]
        try:
            reply = await super().send(evolve(request, headers=signed, before_send=before_send))
        except BaseException:
            tell("unanswered", exchange=mine[EXCHANGE])
            raise
        noted = _arrived.get()
        if noted is not None:
            noted.append(time.monotonic())
        self._snare.at("reply")
        return reply


class Noting(Store):
    """Tells of claims, and of what came of an exchange once that is committed. Stands before a real store."""

    snare: Snare

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        self.snare.at("insert")
        return await super().insert(row, notices=notices)  # type: ignore[safe-super]

    async def insert_many(self, rows: Sequence[Row]) -> Sequence[bool]:
        self.snare.at("insert")
        return await super().insert_many(rows)

    async def claim(self, request: ClaimRequest) -> Sequence[Row]:
        rows = await super().claim(request)  # type: ignore[safe-super]
        if rows:
            open_ones = [row.login_id for row in rows if row.open_attempt]
            tell("claimed", logins=[row.login_id for row in rows], open=open_ones)
            self.snare.at("claimed")
        return rows

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        global _settling  # noqa: PLW0603 - read by another thread
        noted = _arrived.get()
        if not noted:
            done = await super().swap(row, owner=owner, hold=hold, notices=notices)  # type: ignore[safe-super]
            tell("written", login=row.login_id, done=done)
            return done
        self.snare.at("settle")
        _settling += 1
        try:
            done = await super().swap(row, owner=owner, hold=hold, notices=notices)  # type: ignore[safe-super]
        finally:
            _settling -= 1
        if done:
            tell("committed", login=row.login_id, window=time.monotonic() - noted[0])
            noted.clear()
            self.snare.at("committed")
        return done


class NotingSqlite(Noting, SqliteStore):
    """A file."""


class NotingPostgres(Noting, PostgresStore):
    """A database."""


def noting_store(where: str, cipher: Cipher, *, patience: timedelta, snare: Snare) -> Store:
    """The store at `where`, still to be opened."""
    made: Noting
    if is_url(where):
        made = NotingPostgres.open(where, cipher=cipher, timeout=patience)
    else:
        made = NotingSqlite.open(where, cipher=cipher, busy_timeout=patience)
    made.snare = snare
    return made


def is_url(where: str) -> bool:
    """Whether it is no path."""
    return "://" in where


def watch_commits(snare: Snare) -> None:
    """Let commits with a new pair in them be a point for a trap."""
    commit = SqliteSession.commit

    def watched(self: SqliteSession) -> None:
        if _settling:
            snare.at("commit")
        commit(self)

    SqliteSession.commit = watched  # type: ignore[method-assign]

"""The store's verbs on rows. Their caller begins and commits the transaction."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_row
from mesh_refresh.stores.key_check import check, new_store_id, sealed_check
from mesh_refresh.stores.row import Row
from mesh_refresh.stores.sealing import Sealing
from mesh_refresh.stores.sqlite.connection.leases import LeaseClock
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.queries import MOST, for_each_size, queries, size_for
from mesh_refresh.stores.sqlite.values import Notices, Times, microseconds, perhaps_microseconds, row
from mesh_refresh.stores.states import text_of

SQL = queries("logins.sql")
_READ = SQL["read"]
_PLACES = "(?, ?, ?, ?, ?, ?, ?, 1, 0, ?)"
_INSERT = SQL["insert"].format(rows=_PLACES)
_INSERT_MOST = SQL["insert"].format(rows=", ".join([_PLACES] * MOST))
_TAKEN = SQL["taken"].format(ids=", ".join("?" * MOST))
_SWAPS = queries("swaps.sql")
_FREE = (None, None, None)

_WIDTH = 13
_MANY = for_each_size(lambda size: _SWAPS["swap_many"].format(rows=", ".join([f"({', '.join('?' * _WIDTH)})"] * size)))
CAN_DO_MANY = sqlite3.sqlite_version_info >= (3, 33)
"""Whether this SQLite knows ``UPDATE ... FROM``."""


def checked(it: Row) -> Times:
    """The times of a row as they are kept. Raises `InvalidRequest` for a row that cannot be kept."""
    check_row(it)
    text_of(it.states)
    return perhaps_microseconds(it.due_at), perhaps_microseconds(it.expires_at), microseconds(it.changed_at)


def _values(it: Row, times: Times) -> tuple[Any, ...]:
    """The columns of a new row."""
    return it.login_id, it.broker, text_of(it.states), *times, it.epoch, MaskedBytes(it.sealed)


def insert(session: SqliteSession, it: Row, times: Times, notices: Notices = ()) -> bool:
    """See `Store.insert`."""
    is_new = session.connection.execute(_INSERT, _values(it, times)).rowcount == 1
    if is_new:
        write_notices(session, notices)
    return is_new


def insert_many(session: SqliteSession, given: Sequence[tuple[Row, Times]]) -> list[bool]:
    """See `Store.insert_many`. Rows that are all new, as they nearly always are, take one statement for `MOST`."""
    found: list[bool] = []
    for start in range(0, len(given), MOST):
        some = given[start : start + MOST]
        ids = [row.login_id for row, _ in some]
        if len(set(ids)) < MOST or session.connection.execute(_TAKEN, ids).fetchone():
            found += [insert(session, row, times) for row, times in some]
        else:
            session.connection.execute(_INSERT_MOST, [value for row, times in some for value in _values(row, times)])
            found += [True] * MOST
    return found


def read(session: SqliteSession, login_id: str) -> Row | None:
    """See `Store.read`."""
    found = session.connection.execute(_READ, (login_id,)).fetchone()
    return None if found is None else row(found)


@frozen
class Swap:
    """One swap. Calling it does it by itself. See `Store.swap`."""

    row: Row
    times: Times
    owner: str | None
    hold: timedelta
    notices: Notices = ()

    def __call__(self, session: SqliteSession) -> bool:
        execute, it = session.connection.execute, self.row
        found = execute(_SWAPS["find"], (it.login_id,)).fetchone()
        if found is None or found[1:3] != (it.epoch, it.revision):
            return False
        number, _, _, broker, states, leased_to = found
        execute(_SWAPS["write"], (*self.times, MaskedBytes(it.sealed), number))
        if (broker, states) != (it.broker, text_of(it.states)):
            execute(_SWAPS["rename"], (it.broker, text_of(it.states), number))
        if self.owner is not None and leased_to == self.owner:
            execute(_SWAPS["give_back"], (*self.kept(session.clock), number))
        write_notices(session, self.notices)
        return True

    def kept(self, clock: LeaseClock) -> tuple[Any, ...]:
        """The columns of a lease that is given back: a hold, or nothing."""
        if self.hold <= timedelta():
            return _FREE
        held = clock.lease(self.hold, clock.now())
        return held.boot, held.since, held.until


def swap_many(session: SqliteSession, swaps: Sequence[Swap]) -> bool:
    """Do all of `swaps`, none of which changes broker or states. False where fewer rows were written: undo those then.

    Of two for one login, no more than one is written.
    """
    return all(_at_once(session, swaps[start : start + MOST]) for start in range(0, len(swaps), MOST))


def _at_once(session: SqliteSession, swaps: Sequence[Swap]) -> bool:
    size = size_for(len(swaps))
    values: list[Any] = []
    for swap in swaps:
        it = swap.row
        values += (
            it.login_id,
            it.epoch,
            it.revision,
            it.broker,
            text_of(it.states),
            *swap.times,
            MaskedBytes(it.sealed),
        )
        values.append(swap.owner)
        values += swap.kept(session.clock)
    values += [None] * (_WIDTH * (size - len(swaps)))
    if session.connection.execute(_MANY[size], values).rowcount != len(swaps):
        return False
    for swap in swaps:
        write_notices(session, swap.notices)
    return True


def delete(session: SqliteSession, login_id: str, seen: Row | None) -> bool:
    """See `Store.delete`."""
    as_seen = (None, None) if seen is None else (seen.epoch, seen.revision)
    is_gone = session.connection.execute(SQL["delete"], (login_id, *as_seen)).rowcount == 1
    if is_gone or seen is None:
        session.connection.execute(SQL["forget_notices"], (login_id,))
    return is_gone


def resume(session: SqliteSession, broker: str) -> None:
    """See `Store.pause`."""
    session.connection.execute(SQL["resume"], (broker,))
    session.connection.execute(SQL["stamp_resumed"], (broker, microseconds(datetime.now(UTC))))


def write_notices(session: SqliteSession, notices: Notices) -> int:
    """Insert what is not there; how many were new."""
    return sum(session.connection.execute(SQL["write_notice"], values).rowcount for values in notices)


def check_key(session: SqliteSession, cipher: Sealing) -> str:
    """The store's id, which the first process to open the store draws and writes down in the key check.

    Raises `WrongKey` where the store was written with another key.
    """
    found = session.connection.execute(SQL["seal"]).fetchone()
    if found is not None:
        return check(cipher, found[0])
    sealed = MaskedBytes(sealed_check(cipher, store_id := new_store_id()))
    session.connection.execute(SQL["put_seal"], (sealed,))
    return store_id

"""Swaps. Those that follow one another in a group are written by one statement."""

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from attrs import frozen

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.row import Row
from mesh_refresh.stores.sqlite.connection.leases import LeaseClock
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.queries import MOST, for_each_size, queries, size_for
from mesh_refresh.stores.sqlite.values import Notices, Times
from mesh_refresh.stores.sqlite.verbs import write_notices
from mesh_refresh.stores.states import text_of

_SQL = queries("swaps.sql")
_FREE = (None, None, None)

_WIDTH = 13
_MANY = for_each_size(lambda size: _SQL["swap_many"].format(rows=", ".join([f"({', '.join('?' * _WIDTH)})"] * size)))
CAN_DO_MANY = sqlite3.sqlite_version_info >= (3, 33)
"""Whether this SQLite knows ``UPDATE ... FROM``."""


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
        found = execute(_SQL["find"], (it.login_id,)).fetchone()
        if found is None or found[1:3] != (it.epoch, it.revision):
            return False
        number, _, _, broker, states, leased_to = found
        execute(_SQL["write"], (*self.times, MaskedBytes(it.sealed), number))
        if (broker, states) != (it.broker, text_of(it.states)):
            execute(_SQL["rename"], (it.broker, text_of(it.states), number))
        if self.owner is not None and leased_to == self.owner:
            execute(_SQL["give_back"], (*self.kept(session.clock), number))
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

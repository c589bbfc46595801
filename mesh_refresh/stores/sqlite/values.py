"""Turns rows and notices into SQLite's values, and back."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import astuple

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_text, check_time
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import Row
from mesh_refresh.stores.sqlite.connection.leases import LeaseClock
from mesh_refresh.stores.states import states_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
EVER = -(2**63)
"""Earlier than every time."""

Times = tuple[int | None, int | None, int]
"""When a row is due, when its first access token ends, and when it was changed."""
Notices = Sequence[tuple[Any, ...]]
"""The columns of some notices."""


def row(values: Sequence[Any], *, open_attempt: bool = False) -> Row:
    """The row of the columns that every query names in this order."""
    login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed = values
    return Row(
        login_id,
        broker,
        states_of(states),
        None if due_at is None else _EPOCH + timedelta(microseconds=due_at),
        None if expires_at is None else _EPOCH + timedelta(microseconds=expires_at),
        _EPOCH + timedelta(microseconds=changed_at),
        sealed,
        epoch,
        revision,
        attempt,
        open_attempt,
    )


def notices_as_kept(notices: Iterable[NoticeRow]) -> Notices:
    """`notices` as they are kept. Raises `InvalidRequest` for what cannot be."""
    return [tuple(map(kept, astuple(it))) for it in notices]


def kept(value: Any) -> Any:
    """A value as it is kept. Raises `InvalidRequest` for what cannot be. A length of time stays: see `with_leases`."""
    match value:
        case str():
            check_text(value)
        case bytes():
            return MaskedBytes(value)
        case datetime():
            return microseconds(value)
        case _:
            pass
    return value


def with_leases(values: Iterable[Any], clock: LeaseClock) -> Iterator[Any]:
    """`values`, with the columns of a lease from now on in place of each length of time."""
    for value in values:
        if isinstance(value, timedelta):
            yield from astuple(clock.lease(value, clock.now()))
        else:
            yield value


def given_back(cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
    """The rows, with what was given to `kept`. The names of the columns tell what is a time, or a yes or no."""
    turns = [_turn(name) for name, *_ in cursor.description]
    return [tuple([turn(value) for turn, value in zip(turns, values, strict=True)]) for values in cursor]


def _turn(column: str) -> Callable[[Any], Any]:
    if column == "at" or column.endswith("_at"):
        return moment
    return bool if column.startswith("is_") else lambda value: value


def moment(value: int | None) -> datetime | None:
    """The time of so many microseconds, where there is one."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)


def microseconds(time: datetime) -> int:
    """Microseconds since 1970. Raises `InvalidRequest` for a time without a zone."""
    check_time(time)
    return (time - _EPOCH) // _MICROSECOND


def perhaps_microseconds(time: datetime | None) -> int | None:
    """As `microseconds`, for a time that there may be."""
    return None if time is None else microseconds(time)

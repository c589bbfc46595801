"""A row as SQLite's values, and back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mesh_refresh.stores.checks import check_time
from mesh_refresh.stores.row import Row
from mesh_refresh.stores.states import states_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Times = tuple[int | None, int | None, int]
"""When a row is due, when its first access token ends, and when it was changed."""


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


def moment(value: int | None) -> datetime | None:
    """The time of so many microseconds."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)


def microseconds(time: datetime) -> int:
    """Microseconds since 1970. Raises `InvalidRequest` for a time without a zone."""
    check_time(time)
    return (time - _EPOCH) // _MICROSECOND


def perhaps_microseconds(time: datetime | None) -> int | None:
    """As `microseconds`, for a time that there may be."""
    return None if time is None else microseconds(time)

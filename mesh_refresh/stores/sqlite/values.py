"""Turns rows and notices into SQLite's values, and back."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_time
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import Row
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


def notices_as_kept(notices: Iterable[NoticeRow], *, anew: bool) -> Notices:
    """`notices` as they are kept; `anew`: never tried, and not dead. Raises `InvalidRequest` for what cannot be."""
    return [
        (
            it.id,
            it.login_id,
            microseconds(it.due_at),
            microseconds(it.written_at),
            0 if anew else it.tries,
            None if anew else perhaps_microseconds(it.first_tried_at),
            not anew and it.is_dead,
            MaskedBytes(it.sealed),
        )
        for it in notices
    ]


def moment(value: int) -> datetime:
    """The time of so many microseconds."""
    return _EPOCH + timedelta(microseconds=value)


def perhaps_moment(value: int | None) -> datetime | None:
    """As `moment`, for a time that there may be."""
    return None if value is None else moment(value)


def microseconds(time: datetime) -> int:
    """Microseconds since 1970. Raises `InvalidRequest` for a time without a zone."""
    check_time(time)
    return (time - _EPOCH) // _MICROSECOND


def perhaps_microseconds(time: datetime | None) -> int | None:
    """As `microseconds`, for a time that there may be."""
    return None if time is None else microseconds(time)

"""Turns rows into PostgreSQL's values, and back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.checks import check_text, check_time
from mesh_refresh.stores.row import Row
from mesh_refresh.stores.states import states_of, text_of

_LONGEST = timedelta(days=365_000)
"""PostgreSQL's times end after this; no lease is so long."""

# PostgreSQL's text cannot hold the character zero. It and the next one are written as two characters each, in a way
# that two texts compare as they did.
_ZERO, _ONE, _ESCAPED_ZERO, _ESCAPED_ONE = "\0", "\1", "\1\1", "\1\2"


def written(text: str) -> str:
    """`text` as it is kept."""
    if _ZERO not in text and _ONE not in text:
        return text
    return text.replace(_ONE, _ESCAPED_ONE).replace(_ZERO, _ESCAPED_ZERO)


def read(text: str) -> str:
    """What was given to `written`."""
    if _ONE not in text:
        return text
    # From the left, the pairs are found as they were written.
    return _ZERO.join(piece.replace(_ESCAPED_ONE, _ONE) for piece in text.split(_ESCAPED_ZERO))


def moment(time: datetime | None) -> Any:
    """A time that was read: the first and the last that Python has are infinite there, and come without a zone."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def span(length: timedelta) -> float:
    """A lease or a hold that PostgreSQL can add to its clock, in seconds: its days have 23 or 25 hours at times."""
    return min(length, _LONGEST).total_seconds()


def kept(value: Any) -> Any:
    """A parameter of a statement as it is kept. Raises `InvalidRequest` for what cannot be."""
    match value:
        case str():
            check_text(value)
            return written(value)
        case bytes():
            return MaskedBytes(value)
        case datetime():
            check_time(value)
        case timedelta():
            return span(value)
        case list():
            return list(map(kept, value))
        case _:
            pass
    return value


def given_back(value: Any) -> Any:
    """What was given to `kept`. A length of time comes back as a number of seconds."""
    match value:
        case str():
            return read(value)
        case bytes():
            return MaskedBytes(value)
        case datetime():
            return moment(value)
        case _:
            return value


def row(values: Sequence[Any]) -> Row:
    """The row of the columns that every query names in this order."""
    login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, was_open = values
    return Row(
        read(login_id),
        read(broker),
        states_of(states),
        moment(due_at),
        moment(expires_at),
        moment(changed_at),
        sealed,
        read(epoch),
        revision,
        attempt,
        was_open,
    )


def columns(rows: Sequence[Row]) -> tuple[list[Any], ...]:
    """What is written of `rows`, a list for each column."""
    return (
        [written(it.login_id) for it in rows],
        [written(it.broker) for it in rows],
        [text_of(it.states) for it in rows],
        [it.due_at for it in rows],
        [it.expires_at for it in rows],
        [it.changed_at for it in rows],
        [written(it.epoch) for it in rows],
        [MaskedBytes(it.sealed) for it in rows],
    )

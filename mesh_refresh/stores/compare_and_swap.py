"""Read, decide, write, and again where something else was written in between: the one loop of that kind."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import Row

_Seen = TypeVar("_Seen")
_T = TypeVar("_T")


class RowWriter(Protocol):
    """What the loop writes to: a `Store`, or something that stands before one."""

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        """See `Store`."""
        ...

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        """See `Store`."""
        ...


@frozen
class RowWrite(Generic[_T]):
    """This is to be written, and `result` to be given where it was."""

    row: Row
    """With the epoch and the revision of what was read."""
    result: _T
    is_new: bool = False
    """It is to be inserted: there was no row."""
    owner: str | None = None
    hold: timedelta = timedelta()
    notices: Sequence[NoticeRow] = ()


@frozen
class NoWrite(Generic[_T]):
    """Nothing is to be written."""

    result: _T


async def compare_and_swap(
    store: RowWriter,
    read: Callable[[], Awaitable[_Seen | None]],
    decide: Callable[[_Seen | None], RowWrite[_T] | NoWrite[_T]],
    *,
    seen: _Seen | None = None,
) -> _T:
    """Write what `decide` makes of what `read` gives (None: there is no row), and give its result.

    Where the row was written by another since it was read, it is read and decided anew, as often as that happens.
    `decide` is pure, and may be called any number of times; `read` may do I/O of other kinds too. `seen` is what was
    read already: then `read` is called only after a write that failed. Raises what the three of them raise.
    """
    while True:
        decided = decide(await read() if seen is None else seen)
        if isinstance(decided, NoWrite) or await _written(store, decided):
            return decided.result
        seen = None


async def _written(store: RowWriter, it: RowWrite[_T]) -> bool:
    if it.is_new:
        return await store.insert(it.row, notices=it.notices)
    return await store.swap(it.row, owner=it.owner, hold=it.hold, notices=it.notices)

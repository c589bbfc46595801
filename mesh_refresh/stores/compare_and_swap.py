"""Read, decide, write, and again where something else was written in between: the one loop of that kind."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar

from attrs import frozen

from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import Row
from mesh_refresh.stores.store import Store

_Seen = TypeVar("_Seen")
_T = TypeVar("_T")


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


async def written(store: Store, it: RowWrite[Any]) -> bool:
    """Whether `store` took it."""
    if it.is_new:
        return await store.insert(it.row, notices=it.notices)
    return await store.swap(it.row, owner=it.owner, hold=it.hold, notices=it.notices)


async def compare_and_swap(
    store: Store,
    read: Callable[[], Awaitable[_Seen | None]],
    decide: Callable[[_Seen | None], RowWrite[_T] | NoWrite[_T]],
    *,
    seen: _Seen | None = None,
    write: Callable[[Store, RowWrite[Any]], Awaitable[bool]] = written,
) -> _T:
    """Write what `decide` makes of what `read` gives (None: there is no row), and give its result.

    Where the row was written by another since it was read, it is read and decided anew, as often as that happens.
    `decide` is pure, and may be called any number of times; `read` may do I/O of other kinds too. `seen` is what was
    read already: then `read` is called only after a write that failed. `write` calls `written`. Raises what they raise.
    """
    while True:
        decided = decide(await read() if seen is None else seen)
        if isinstance(decided, NoWrite) or await write(store, decided):
            return decided.result
        seen = None

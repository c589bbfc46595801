"""Adding logins to the store: inserted, or swapped with what the store has."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.keeper.arguments import as_pair, check_login
from mesh_refresh.keeper.errors import LoginExists
from mesh_refresh.keeper.rules.add import Added, Terms, new_login, with_tokens
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.writing import rows_of
from mesh_refresh.stores import NoticeRow, Row, StoreDamaged, WrongKey, row_of
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap
from mesh_refresh.tokens import Tokens

_Pair = tuple[str, tuple[Tokens, ...]]
OnError = Callable[[str, MeshRefreshError], object]
"""Is called with a login id, and why that login cannot be added."""


async def add_login(
    runtime: Runtime, login_id: str, tokens: tuple[Tokens, ...], terms: Terms, *, only_new: bool = False
) -> Added:
    """See `Keeper.add` and `Keeper.add_many`."""
    check_login(login_id, tokens)
    store = runtime.store
    notices: Sequence[NoticeRow] = ()

    def decide(row: Row | None) -> RowWrite[Added] | NoWrite[Added]:
        nonlocal notices
        context, notices = runtime.context(), ()
        if row is None:
            login, added = new_login(login_id, context.new_id(), tokens, context, terms)
            return RowWrite(row_of(store.cipher, login, context.now), added, is_new=True)
        if only_new:
            raise LoginExists
        stored = runtime.open_row(row)
        check_login(login_id, tokens, str(stored.broker))
        login, added = with_tokens(stored, tokens, context, terms)
        if not added.changed:
            return NoWrite(added)
        _, row, notices = rows_of(store, stored, login, context.now, by_add=True)
        return RowWrite(row, added, notices=notices)

    added = await compare_and_swap(store, partial(store.read, login_id), decide)
    if notices:
        runtime.notice_written.set()
    runtime.wake(login_id)
    return added


async def add_logins(
    runtime: Runtime,
    logins: Iterable[tuple[str, Tokens | Iterable[Tokens]]],
    terms: Terms,
    at_a_time: int,
    on_error: OnError | None = None,
) -> int:
    """`add_login` for each of `logins`, so many at a time. Gives how many were changed."""
    changed, waiting = 0, list[_Pair]()
    for login in logins:
        found = as_pair(login)
        if isinstance(found, str):
            del logins, login  # a traceback may be rendered with its locals
            raise InvalidRequest(found)
        waiting.append(found)
        if len(waiting) == at_a_time:
            changed += await _add_together(runtime, waiting, terms, on_error)
            waiting = []
    return changed + await _add_together(runtime, waiting, terms, on_error)


async def _add_together(runtime: Runtime, logins: list[_Pair], terms: Terms, on_error: OnError | None) -> int:
    """All are inserted as one group, as new logins: nearly all are. The others are added one by one after that."""
    rows = {place: row for place, login in enumerate(logins) if (row := _new_row(runtime, login, terms)) is not None}
    is_new = dict(zip(rows, await runtime.store.insert_many([*rows.values()]), strict=True))
    rest = []
    for place, (login_id, tokens) in enumerate(logins):
        if is_new.get(place):
            runtime.wake(login_id)
        else:
            rest.append((login_id, tokens))
    adding = (add_login(runtime, login_id, tokens, terms) for login_id, tokens in rest)
    changed = sum(is_new.values())
    for (login_id, _), end in zip(rest, await asyncio.gather(*adding, return_exceptions=True), strict=True):
        if isinstance(end, Added):
            changed += end.changed
        elif on_error is not None and isinstance(end, InvalidRequest | WrongKey | StoreDamaged):
            on_error(login_id, end)
        else:
            raise end
    return changed


def _new_row(runtime: Runtime, login: _Pair, terms: Terms) -> Row | None:
    """The row of a login that is not known. None: these tokens cannot be one, and `add_login` says why."""
    context = runtime.context()
    try:
        check_login(*login)
        made, _ = new_login(login[0], context.new_id(), login[1], context, terms)
        return row_of(runtime.store.cipher, made, context.now)
    except InvalidRequest:
        return None

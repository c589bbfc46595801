"""Adding logins to the store: inserted, or swapped with what the store has."""

from collections.abc import Iterable, Sequence
from functools import partial

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.arguments import as_pair, check_login
from mesh_refresh.keeper.errors import LoginExists
from mesh_refresh.keeper.rules.add import Added, Terms, new_login, with_tokens
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.writing import rows_of
from mesh_refresh.stores import NoticeRow, Row, row_of
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap
from mesh_refresh.tasks import all_of
from mesh_refresh.tokens import Tokens


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
    runtime: Runtime, logins: Iterable[tuple[str, Tokens | Iterable[Tokens]]], terms: Terms, at_a_time: int
) -> int:
    """`add_login` for each of `logins`, so many at a time. Gives how many were changed."""
    changed, waiting = 0, list[tuple[str, tuple[Tokens, ...]]]()
    for login in logins:
        found = as_pair(login)
        if isinstance(found, str):
            del logins, login  # a traceback may be rendered with its locals
            raise InvalidRequest(found)
        waiting.append(found)
        if len(waiting) == at_a_time:
            changed += await _add_together(runtime, waiting, terms)
            waiting = []
    return changed + await _add_together(runtime, waiting, terms)


async def _add_together(runtime: Runtime, logins: list[tuple[str, tuple[Tokens, ...]]], terms: Terms) -> int:
    adding = (add_login(runtime, login_id, tokens, terms) for login_id, tokens in logins)
    return sum(added.changed for added in await all_of(adding))

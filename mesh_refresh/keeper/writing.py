"""What is written of a login that has changed: its row, and the notices that go with it."""

from datetime import datetime

from mesh_refresh.keeper.notices import seal_notice
from mesh_refresh.keeper.rules.notices import with_notices
from mesh_refresh.logins import Login
from mesh_refresh.stores import NoticeRow, Row, Store, row_of


def rows_of(
    store: Store, before: Login | None, after: Login, now: datetime, *, by_add: bool = False
) -> tuple[Login, Row, tuple[NoticeRow, ...]]:
    """`after` as it must be written to `store`, its row, and its notices: see `with_notices`.

    A store without an outbox is given no notices, and nothing is noted as told.
    """
    if store.outbox is None:
        return after, row_of(store.cipher, after, now), ()
    login, notices = with_notices(before, after, now, by_add=by_add)
    sealed = tuple([seal_notice(store.cipher, notice) for notice in notices])
    return login, row_of(store.cipher, login, now), sealed

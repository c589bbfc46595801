"""Logins read page by page. A row that does not open hides no other one."""

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from attrs import evolve, field, frozen

from mesh_refresh.enums import named_broker
from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.logins import AccountState, Login
from mesh_refresh.stores import Page, Row, Store, StoreDamaged, StoreError, WrongKey
from mesh_refresh.stores.sealing import open_row

_log = logging.getLogger("mesh_refresh.keeper")


@frozen
class UnopenedRow:
    """A row that does not open with the configured keys, or is damaged: only its unencrypted columns are known."""

    row: Row
    error: StoreError = field(eq=False)

    @property
    def login_id(self) -> str:
        """The login of the row."""
        return self.row.login_id


async def read_page(store: Store, page: Page) -> Sequence[Login | UnopenedRow]:
    """The logins of `page`, with an `UnopenedRow` for each row that does not open. Raises the store's `StoreError`."""
    return [_read(store, row) for row in await store.rows(page)]


async def read_logins(store: Store, page: Page, limit: int | None) -> AsyncIterator[Login]:
    """The logins of `page` and of those behind it, at most `limit`. One that does not open is logged and left out."""
    left = limit
    while left is None or left > 0:
        page = evolve(page, limit=page.limit if left is None else min(left, page.limit))
        read = await read_page(store, page)
        for it in read:
            if isinstance(it, UnopenedRow):
                _log.error("a login cannot be read", extra={"login_id": it.login_id, **without_secrets(it.error)})
                continue
            left = None if left is None else left - 1
            yield it
        if len(read) < page.limit:
            return
        page = evolve(page, after=read[-1].login_id)


def page_of(
    size: int,
    *,
    state: AccountState | str | None = None,
    broker: str | None = None,
    changed_since: datetime | None = None,
    after: str | None = None,
) -> Page:
    """What `Keeper.logins` is asked for, as a store is asked for it."""
    states = None if state is None else frozenset({AccountState(state)})
    return Page(size, after, states, None if broker is None else str(named_broker(broker)), changed_since)


def _read(store: Store, row: Row) -> Login | UnopenedRow:
    try:
        return open_row(store.cipher, row)
    except (WrongKey, StoreDamaged) as error:
        return UnopenedRow(row, error)

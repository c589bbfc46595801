"""Logins read page by page. A row that does not open hides no other one."""

from collections.abc import Sequence
from datetime import datetime

from attrs import field, frozen

from mesh_refresh.logins import AccountState, Login
from mesh_refresh.stores import Page, Row, Store, StoreDamaged, StoreError, WrongKey
from mesh_refresh.stores.sealing import open_row


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
    return Page(size, after, states, None if broker is None else str(broker), changed_since)


def _read(store: Store, row: Row) -> Login | UnopenedRow:
    try:
        return open_row(store.cipher, row)
    except (WrongKey, StoreDamaged) as error:
        return UnopenedRow(row, error)

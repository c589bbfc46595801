"""Logins read page by page, also beside rows that do not open."""

from collections.abc import Sequence
from datetime import datetime

from attrs import field, frozen

from mesh_refresh.logins import AccountState, Login
from mesh_refresh.stores import Page, Row, Store, StoreDamaged, StoreError, WrongKey
from mesh_refresh.stores.sealing import opened


@frozen
class UnopenedRow:
    """A row that no key at hand opens, or whose content cannot be read: what the store shows of it is all there is."""

    row: Row
    error: StoreError = field(eq=False)

    @property
    def login_id(self) -> str:
        """Whose it is."""
        return self.row.login_id


async def read_page(store: Store, page: Page) -> Sequence[Login | UnopenedRow]:
    """The rows of `page`. One of them that does not open hides none of the others. Raises the store's `StoreError`."""
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
        return opened(store.cipher, row)
    except (WrongKey, StoreDamaged) as error:
        return UnopenedRow(row, error)

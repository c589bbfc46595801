"""Rotating keys: every row is sealed anew with the cipher's first key, while the store is in use."""

import asyncio

from attrs import evolve

from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.row import Page, Row
from mesh_refresh.stores.sealing import context_of
from mesh_refresh.stores.store import Store

_BATCH = 100


async def reseal(store: Store) -> int:
    """Open and seal every row of `store`, in the order of the ids; gives how many.

    A row that is written meanwhile is read and tried again; leases, holds and times stay. Stopped and begun again, it
    does no harm. Raises `WrongKey` at the first row that no key at hand opens; those before it are done.
    """
    number, after = 0, None
    while rows := await store.rows(Page(_BATCH, after=after)):
        number += sum(await asyncio.gather(*(_reseal(store, row) for row in rows)))
        after = rows[-1].login_id
    return number


async def _reseal(store: Store, row: Row | None) -> bool:
    """False where the row is gone."""
    while row is not None:
        text = MaskedStr(store.cipher.open(row.sealed, context_of(row.login_id)))
        if await store.swap(evolve(row, sealed=store.cipher.seal(text, context_of(row.login_id)))):
            return True
        row = await store.read(row.login_id)
    return False

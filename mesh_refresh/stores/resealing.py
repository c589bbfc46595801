"""Rotating keys: every row is sealed anew with the cipher's first key, while the store is in use."""

import asyncio

from attrs import evolve

from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.errors import StoreDamaged, WrongKey
from mesh_refresh.stores.row import Page, Resealed, Row
from mesh_refresh.stores.sealing import context_of
from mesh_refresh.stores.store import Store

_BATCH = 100


async def reseal(store: Store) -> Resealed:
    """Open and seal every row of `store`, in the order of the ids.

    A row that is written meanwhile is read and tried again; leases, holds and times stay. A row that no key at hand
    opens is named and left as it is. Stopped and begun again, it does no harm.
    """
    done, after = Resealed(), None
    while rows := await store.rows(Page(_BATCH, after=after)):
        ends = await asyncio.gather(*(_reseal(store, row) for row in rows), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        unopened = [row.login_id for row, end in zip(rows, ends, strict=True) if end is None]
        done = Resealed(done.number + ends.count(True), done.unopened.having(unopened))
        after = rows[-1].login_id
    return done


async def _reseal(store: Store, row: Row | None) -> bool | None:
    """False where the row is gone, None where no key opens it."""
    while row is not None:
        try:
            text = MaskedStr(store.cipher.open(row.sealed, context_of(row.login_id)))
        except (WrongKey, StoreDamaged):
            return None
        if await store.swap(evolve(row, sealed=store.cipher.seal(text, context_of(row.login_id)))):
            return True
        row = await store.read(row.login_id)
    return False

"""Rotates keys: seals every login and every notice anew with the cipher's first key, while the store is in use."""

from functools import partial

from attrs import evolve

from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap
from mesh_refresh.stores.errors import StoreDamaged, WrongKey
from mesh_refresh.stores.outbox import NoticePage, NoticeRow, Outbox
from mesh_refresh.stores.row import Page, Resealed, Row
from mesh_refresh.stores.sealing import Sealing, context_of, sealed_for
from mesh_refresh.stores.store import Store
from mesh_refresh.tasks import all_of

_BATCH = 100


async def reseal(store: Store) -> Resealed:
    """Open and seal every row of `store` and of its outbox, in the order of the ids.

    A row that is written meanwhile is read and sealed again. Leases, holds and times stay. A value that no key of the
    cipher opens is named and left as it is. Reseal may be stopped and begun again. Raises what the store raises.
    """
    done, after = Resealed(), None
    while rows := await store.rows(Page(_BATCH, after=after)):
        ends = await all_of(_reseal(store, row) for row in rows)
        unopened = [row.login_id for row, end in zip(rows, ends, strict=True) if end is None]
        done = evolve(done, number=done.number + ends.count(True), unopened=done.unopened.having(unopened))
        after = rows[-1].login_id
    return done if store.outbox is None else await _reseal_notices(store.outbox, store.cipher, done)


async def _reseal_notices(outbox: Outbox, cipher: Sealing, done: Resealed) -> Resealed:
    after, seen = None, set(done.unopened.first)
    while notices := await outbox.page(NoticePage(_BATCH, after=after)):
        ends = await all_of(_reseal_notice(outbox, cipher, notice) for notice in notices)
        unopened = {notice.login_id for notice, end in zip(notices, ends, strict=True) if end is None} - seen
        seen |= unopened
        done = evolve(done, notices=done.notices + ends.count(True), unopened=done.unopened.having(sorted(unopened)))
        after = notices[-1].id
    return done


async def _reseal(store: Store, row: Row) -> bool | None:
    """Seal a row. False where it is gone, None where no key opens it."""
    context = context_of(row.login_id)

    def decide(stored: Row | None) -> RowWrite[bool | None] | NoWrite[bool | None]:
        if stored is None:
            return NoWrite(result=False)
        try:
            text = MaskedStr(store.cipher.open(stored.sealed, context))
        except (WrongKey, StoreDamaged):
            return NoWrite(result=None)
        return RowWrite(evolve(stored, sealed=store.cipher.seal(text, context)), result=True)

    return await compare_and_swap(store, partial(store.read, row.login_id), decide, seen=row)


async def _reseal_notice(outbox: Outbox, cipher: Sealing, notice: NoticeRow) -> bool | None:
    """Seal a notice. Its sealed part never changes otherwise, so there is nothing to compare."""
    try:
        anew = sealed_for(cipher, notice, cipher)
    except (WrongKey, StoreDamaged):
        return None
    return await outbox.reseal(notice.id, anew.sealed)

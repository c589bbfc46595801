"""The loop that writes what was decided on what is stored, whatever is written in between."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from attrs import evolve

from mesh_refresh.stores import MemoryStore, NoticeRow, Row, StoreUnavailable
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap
from mesh_refresh.testing.conformance.store_kit import LEASE, a_row, busy, fill, kept, take
from mesh_refresh.testing.conformance.store_outbox import a_notice, listed


class Busied(MemoryStore):
    """Another process writes the login before each of our first writes."""

    def __init__(self, *others: bytes | None) -> None:
        super().__init__()
        self.others = list(others)
        self.reads = 0

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        await self._other()
        return await super().insert(row, notices=notices)

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        await self._other()
        return await super().swap(row, owner=owner, hold=hold, notices=notices)

    async def read(self, login_id: str) -> Row | None:
        self.reads += 1
        return await super().read(login_id)

    async def _other(self) -> None:
        if not self.others:
            return
        sealed = self.others.pop(0)
        row = self._kept.get("a")
        if sealed is None:
            await super().delete("a")
        elif row is None:
            await super().insert(a_row(sealed=sealed))
        else:
            await super().swap(evolve(row.row, sealed=sealed))


def more(row: Row | None) -> RowWrite[str] | NoWrite[str]:
    """What is stored, and our own letter behind it."""
    if row is None:
        return RowWrite(a_row(sealed=b"new"), "inserted", is_new=True, notices=[a_notice("1")])
    if row.sealed.endswith(b"!"):
        return NoWrite("there already")
    new = evolve(row, sealed=row.sealed + b"!")
    return RowWrite(new, "swapped", owner="me", hold=2 * LEASE, notices=[a_notice("2")])


async def test_it_decides_anew_on_what_was_written_in_between() -> None:
    """As often as that happens; what the others wrote is kept."""
    store = Busied(b"x", b"y", b"z")
    assert await compare_and_swap(store, lambda: store.read("a"), more) == "swapped"
    assert (await kept(store)).sealed == b"z!"
    assert [it.id for it in await listed(store)] == ["2"]


@pytest.mark.parametrize(
    ("others", "result", "sealed"),
    [((), "inserted", b"new"), ((b"x", None), "inserted", b"new"), ((b"x!",), "there already", b"x!")],
)
async def test_it_inserts_swaps_or_leaves_as_is_decided(
    others: tuple[bytes | None, ...], result: str, sealed: bytes
) -> None:
    store = Busied(*others)
    assert await compare_and_swap(store, lambda: store.read("a"), more) == result
    assert (await kept(store)).sealed == sealed
    assert [it.id for it in await listed(store)] == (["1"] if result == "inserted" else [])


async def test_what_was_read_before_is_not_read_again() -> None:
    """But after a write that failed; the lease is given back with its hold."""
    store = Busied()
    await fill(store, a_row())
    row = await take(store)
    assert await compare_and_swap(store, lambda: store.read("a"), more, seen=row) == "swapped"
    assert store.reads == 0
    assert LEASE < await busy(store, owner="other") <= 2 * LEASE
    store.others = [b"x"]
    assert await compare_and_swap(store, lambda: store.read("a"), more, seen=evolve(row, revision=3)) == "swapped"
    assert store.reads == 1


async def test_what_the_store_raises_comes_through() -> None:
    async def gone() -> Row | None:
        raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        await compare_and_swap(MemoryStore(), gone, more)

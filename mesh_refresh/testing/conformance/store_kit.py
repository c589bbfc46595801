"""What the store's conformance tests are made of."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from attrs import evolve

from mesh_refresh.stores import Busy, ClaimRequest, Page, Row, Store

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
ACTIVE = frozenset({"active"})

ODD_TEXTS = (
    "",
    " blanks \t\r\n",
    "nul\0within",
    "\0",
    "quotes ' \" ` ; --",
    "%_*?[a-z]\\",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}\N{VARIATION SELECTOR-16}",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{HEBREW LETTER ALEF}",
    "\ufeff\uffff\U0010ffff",
    "123",
    "0123",
    "1e3",
    "NULL",
    "long" * 2_000,
)
"""Texts that some stores change, cut off or confuse."""
MANY = 1_500
"""Rows that stand before the one that is wanted: more than a store may look through in one step."""
LARGEST = 17 << 20
"""Bytes of a sealed login that keeps a body of the largest size that is read."""


class StoreKit:
    """How a store is made, and short names for what the tests do with one."""

    # Stands for `asyncio_mode = auto`. pytest is there whenever these tests run, and is no requirement of the package.
    pytestmark: ClassVar[list[Any]] = [sys.modules["pytest"].mark.asyncio] if "pytest" in sys.modules else []

    async def make_store(self) -> Store:
        """A new store with nothing in it, open. The tests close it."""
        raise NotImplementedError("Give your test class a make_store that returns an empty store.")

    async def another(self, store: Store) -> Store:
        """A second handle on what `store` keeps, as another process would have; `store` itself where there is none."""
        return store

    async def pass_time(self, store: Store, by: timedelta) -> None:
        """Let `by` pass on the clock by which `store` tells leases, to the microsecond."""
        raise NotImplementedError("Give your test class a pass_time that moves your store's clock of leases.")

    @asynccontextmanager
    async def opened(self, *rows: Row) -> AsyncGenerator[Store]:
        """A new store with `rows`, closed afterwards."""
        async with await self.make_store() as store:
            await fill(store, *rows)
            yield store

    @asynccontextmanager
    async def shared(self, *rows: Row) -> AsyncGenerator[tuple[Store, Store]]:
        """A new store with `rows` by two handles, both closed afterwards."""
        async with self.opened(*rows) as store, await self.another(store) as other:
            yield store, other

    async def becomes_free(self, store: Store, after: timedelta) -> None:
        """Pass `after`: the row, busy until then, is free at this very moment."""
        await self.pass_time(store, after - MICROSECOND)
        assert await busy(store) == MICROSECOND
        await self.pass_time(store, MICROSECOND)


def a_row(login_id: str = "a", **changes: Any) -> Row:
    """A row that is due."""
    row = Row(login_id, "coinbase", ACTIVE, NOW - SECOND, NOW + SECOND, NOW, b"sealed", f"epoch of {login_id}")
    return evolve(row, **changes)


def a_request(**changes: Any) -> ClaimRequest:
    """A claim request for everything that is due."""
    return evolve(ClaimRequest("me", LEASE, NOW, 1_000), **changes)


async def fill(store: Store, *rows: Row) -> None:
    """Insert `rows`."""
    for row in rows:
        assert await store.insert(row) is True


async def fill_at_once(store: Store, *rows: Row) -> None:
    """Insert many `rows`."""
    assert all(await asyncio.gather(*map(store.insert, rows)))


async def claimed(store: Store, **changes: Any) -> list[str]:
    """The ids of what a claim gives, in order."""
    return [row.login_id for row in await store.claim(a_request(**changes))]


async def take(
    store: Store, login_id: str = "a", owner: str = "me", lease: timedelta = LEASE, *, sends: bool = True
) -> Row:
    """Lease a row that is free."""
    row = await store.claim_one(login_id, owner, lease, sends=sends)
    assert isinstance(row, Row), f"{login_id!r} was to be free, not {row!r}"
    return row


async def busy(store: Store, login_id: str = "a", owner: str = "me", *, sends: bool = True) -> timedelta:
    """For how long a row that is not free is not."""
    found = await store.claim_one(login_id, owner, LEASE, sends=sends)
    assert isinstance(found, Busy), f"{login_id!r} was to be Busy, not {found!r}"
    assert await claimed(store, now=NOW + timedelta(days=1_000)) == []
    return found.left


async def kept(store: Store, login_id: str = "a") -> Row:
    """A row that is there."""
    row = await store.read(login_id)
    assert row is not None
    return row


async def paged(store: Store, limit: int = 1_000, **filters: Any) -> list[str]:
    """The ids on one page."""
    return [row.login_id for row in await store.rows(Page(limit, **filters))]

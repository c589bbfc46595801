"""A fleet of logins in a SQLite file, to any size, of which some are due."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from mesh_refresh import Tokens
from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.rules.add import new_login
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.stores import Cipher, Row, Store, row_of
from mesh_refresh.stores.sqlite import SqliteStore
from tests.benchmarks.cores import apart

_AT_A_TIME = 2_000


@frozen
class Fleet:
    """Where it is."""

    path: Path
    key: str
    size: int = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SqliteStore]:
        """Its store."""
        async with SqliteStore.open(self.path, cipher=Cipher([self.key])) as store:
            yield store


def name_of(login: int) -> str:
    """The id of a login."""
    return f"login-{login:08}"


def some_tokens(login: int, now: datetime, *, due: bool) -> Tokens:
    """Tokens that were never sent before."""
    begun = now - timedelta(hours=1) if due else now
    return Tokens(
        "coinbase",
        f"benchmark-old-{login}-{now.timestamp()}",
        access_token=f"benchmark-access-{login}-" + "a" * 300,
        obtained_at=begun,
        expires_at=begun + (timedelta(hours=1) if due else timedelta(days=30)),
    )


def grown(fleet: Fleet, size: int) -> Fleet:
    """The same fleet with logins added, none of them due, until it has `size`. One that is larger stays as it is."""
    return evolve(fleet, size=apart(_fill, fleet, size))


def _fill(fleet: Fleet, size: int) -> int:
    return asyncio.run(_filled(fleet, size))


async def _filled(fleet: Fleet, size: int) -> int:
    async with fleet.opened() as store:
        already = sum([count.logins for count in await store.counts(datetime.now(UTC))])
        await insert(store, range(already, size), due=False)
        return max(already, size)


async def insert(store: Store, logins: range, *, due: bool) -> None:
    """Put these logins into any store."""
    for begin in range(logins.start, logins.stop, _AT_A_TIME):
        rows = _rows(store, range(begin, min(begin + _AT_A_TIME, logins.stop)), due=due)
        await asyncio.gather(*(store.insert(row) for row in rows))


async def make_due(store: Store, many: int) -> None:
    """Put the first `many` logins back to due, as an hour's passing would."""
    for begin in range(0, many, _AT_A_TIME):
        rows = _rows(store, range(begin, min(begin + _AT_A_TIME, many)), due=True)
        stored = await asyncio.gather(*(store.read(row.login_id) for row in rows))
        swaps = [
            store.swap(evolve(row, epoch=old.epoch, revision=old.revision))
            for row, old in zip(rows, stored, strict=True)
            if old is not None
        ]
        assert len(swaps) == len(rows)
        assert all(await asyncio.gather(*swaps))


def _rows(store: Store, logins: Iterable[int], *, due: bool) -> list[Row]:
    now = datetime.now(UTC)
    rows = []
    for number in logins:
        epoch = f"{number:032x}"
        context = Context(now, Policy(), partial(str, epoch))
        login, _ = new_login(name_of(number), epoch, [some_tokens(number, now, due=due)], context)
        rows.append(row_of(store.cipher, login, now))
    return rows

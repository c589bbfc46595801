"""Keepers are woken when another process has made something due."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import attrs
import pytest
from attrs import evolve

from mesh_refresh.keeper import AccountRefreshed, Keeper, Policy
from mesh_refresh.stores import MemoryStore, PlainText, Row
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.connection.listener import channel_of
from mesh_refresh.testing import FakeMesh
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_row, fill, kept, take
from tests.keeper.stage import EVER, Notes
from tests.stores.postgres.bystander import Fleet, ran

pytestmark = pytest.mark.once

_ADDS = """
import asyncio, base64, json, sys
from datetime import datetime
from mesh_refresh.stores import PlainText, Row
from mesh_refresh.stores.postgres import PostgresStore
url, schema, row = sys.argv[1:]
values = json.loads(row)
for name in ("due_at", "changed_at"):
    values[name] = datetime.fromisoformat(values[name])
values |= {"sealed": base64.b64decode(values["sealed"]), "states": frozenset(values["states"])}
async def main():
    async with PostgresStore.open(url, cipher=PlainText(), schema=schema) as store:
        assert await store.insert(Row(**values))
asyncio.run(main())
"""


class Woken:
    """Counts how often a keeper was woken."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.times = 0
        self._more = asyncio.Event()

    def __call__(self) -> None:
        self.times += 1
        self._more.set()

    async def again(self) -> None:
        """Wait until it was, since this was asked last."""
        await asyncio.wait_for(self._more.wait(), 60)
        self._more.clear()

    async def not_by(self, verb: Any) -> None:
        """Nobody is told of `verb`: what is said after it is the next that is heard."""
        before = self.times
        assert await verb
        await self._fleet.sql("SELECT pg_notify($1, '')", channel_of(self._fleet.schema))
        await self.again()
        assert self.times == before + 1


@asynccontextmanager
async def listening(fleet: Fleet, **options: Any) -> AsyncIterator[tuple[PostgresStore, Woken]]:
    """A store with a keeper on it that waits."""
    async with fleet.store(**options) as store:
        woken = Woken(fleet)
        store.watch(woken)
        await woken.again()  # when it begins to listen: what was said before, was not heard
        yield store, woken


async def listener_of(fleet: Fleet) -> list[int]:
    """The server processes that listen for this schema's keepers."""
    found: list[int] = await fleet.sql(
        "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity WHERE query = $1",
        f'LISTEN "{channel_of(fleet.schema)}"',
    )
    return found


async def test_whatever_makes_a_row_due_wakes_the_others(fleet: Fleet) -> None:
    """A due login that is added, one that is made due by somebody without its lease, and a broker that is resumed."""
    async with fleet.store() as other, listening(fleet) as (store, woken):
        await fill(other, a_row())
        await woken.again()
        row = await kept(other)
        assert await other.swap(evolve(row, due_at=row.changed_at))
        await woken.again()
        await other.pause("coinbase")
        await other.pause("coinbase", paused=False)
        await woken.again()
        await fill(store, a_row("own"))
        await woken.again()


async def test_nobody_is_woken_in_vain(fleet: Fleet) -> None:
    """By what is due later or never, by who settles what it had claimed, by what did not happen, and by pauses."""
    async with fleet.store() as other, listening(fleet) as (_, woken):
        await woken.not_by(other.insert(a_row("later", due_at=NOW + LEASE)))
        await woken.not_by(other.insert(a_row("never", due_at=None)))
        await fill(other, a_row())
        await woken.again()
        row = await take(other)
        await woken.not_by(other.swap(row, owner="me"))
        await woken.not_by(other.swap(evolve(row, revision=3, due_at=None)))
        await woken.not_by(_is_false(other.swap(evolve(row, revision=99))))
        await woken.not_by(_is_false(other.insert(row)))
        await woken.not_by(_is_none(other.pause("coinbase")))


async def _is_false(verb: Any) -> bool:
    return await verb is False


async def _is_none(verb: Any) -> bool:
    return await verb is None


async def test_a_listener_that_was_cut_off_comes_back(fleet: Fleet) -> None:
    """And wakes its keepers then: what was said meanwhile was not heard."""
    async with fleet.store() as other, listening(fleet) as (_, woken):
        for _ in range(2):
            pids = await listener_of(fleet)
            assert len(pids) == 1
            await fleet.ended(pids)
            await fleet.gone(pids)
            await woken.again()
        await fill(other, a_row())
        await woken.again()


async def test_a_listener_that_gets_no_answer_comes_back(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the network went away without a sign, nobody would ever be woken again."""
    execute, asked = asyncpg.Connection.execute, asyncio.Event()

    async def no_answer(link: Any, sql: str, **options: Any) -> Any:
        if sql == "SELECT 1" and not asked.is_set():
            asked.set()
            raise TimeoutError
        return await execute(link, sql, **options)

    monkeypatch.setattr(asyncpg.Connection, "execute", no_answer)
    monkeypatch.setattr("mesh_refresh.stores.postgres.connection.listener._ASKED_EACH", 0.01)
    async with listening(fleet) as (_, woken):
        await asked.wait()
        await woken.again()


async def test_one_connection_listens_for_all_and_ends_with_the_store(fleet: Fleet) -> None:
    """However many keepers there are; who has gone is woken no more."""
    async with listening(fleet) as (store, woken):
        second = Woken(fleet)
        no_more = store.watch(second)
        await fill(store, a_row())
        await woken.again()
        await second.again()
        pids = await listener_of(fleet)
        assert len(pids) == 1
        no_more()
        no_more()
        await fill(store, a_row("b"))
        await woken.again()
        assert second.times == 1
    await fleet.gone(pids)
    assert await fleet.pids() == []


async def test_closing_does_not_wait_for_a_listener_that_cannot_connect(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for its next try."""
    tried = asyncio.Event()

    async def connect(to: Any) -> Any:
        tried.set()
        raise OSError

    monkeypatch.setattr("mesh_refresh.stores.postgres.connection.listener.connect", connect)
    monkeypatch.setattr("mesh_refresh.stores.postgres.connection.listener._FIRST_PAUSE", 1_000.0)
    async with fleet.store() as store:
        store.watch(lambda: None)
        await tried.wait()
        assert not await store.paused()


async def test_a_listener_that_fails_half_way_leaves_no_connection(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try would leave one more."""
    made: list[Any] = []
    add_listener = asyncpg.Connection.add_listener

    async def flaky(link: Any, *given: Any) -> None:
        made.append(link)
        if len(made) < 3:
            raise OSError
        await add_listener(link, *given)

    monkeypatch.setattr(asyncpg.Connection, "add_listener", flaky)
    monkeypatch.setattr("mesh_refresh.stores.postgres.connection.listener._FIRST_PAUSE", 0.0)
    async with listening(fleet):
        assert [link.is_closed() for link in made] == [True, True, False]


async def test_behind_a_proxy_nobody_listens(fleet: Fleet, statements: list[str]) -> None:
    """Keepers poll there; what they do is told all the same, to those who connect without the proxy."""
    async with fleet.store(transaction_pooling=True) as store:
        store.watch(lambda: None)()
        assert await listener_of(fleet) == []
        async with listening(fleet) as (_, woken):
            await fill(store, a_row())
            await woken.again()


async def test_stores_of_other_schemas_hear_nothing(fleet: Fleet) -> None:
    """Two fleets in one database."""
    async with fleet.store(schema=f"{fleet.schema}_b", migrate=True) as other, listening(fleet) as (_, woken):
        await woken.not_by(other.insert(a_row()))
    await fleet.sql(f"DROP SCHEMA {fleet.schema}_b CASCADE")


async def test_a_keeper_refreshes_at_once_what_another_process_adds(fleet: Fleet) -> None:
    """Though it polls once in an hour only."""
    notes = Notes()
    async with (
        FakeMesh() as fake,
        fake.client() as mesh,
        fleet.store() as store,
        Keeper(mesh, store, policy=Policy(poll=EVER), on_event=notes),
    ):
        while not await listener_of(fleet):
            pass
        row = await _row_of(fake)
        values = {it.name: getattr(row, it.name) for it in attrs.fields(Row)}
        values |= {"sealed": base64.b64encode(row.sealed).decode(), "expires_at": None, "states": sorted(row.states)}
        await ran(_ADDS, fleet.url, fleet.schema, json.dumps(values, default=str))
        refreshed = await asyncio.wait_for(notes.until(AccountRefreshed), 60)
        assert refreshed[0].login_id == "user-7"


async def _row_of(fake: FakeMesh) -> Row:
    """What a keeper writes for a login that is due."""
    memory = MemoryStore(cipher=PlainText())
    async with fake.client() as mesh, Keeper(mesh, memory, background=False) as keeper:
        await keeper.add("user-7", evolve(fake.login("coinbase").tokens[0], access_token=None))
        return await kept(memory, "user-7")

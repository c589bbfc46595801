"""Callers that are cancelled and programs that end: what was asked for is done or told, and nothing hangs."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.stores import PlainText, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.testing.conformance.store_kit import LEASE, a_request, a_row, fill, kept, take
from tests.stores.postgres.bystander import Fleet, connected
from tests.stores.postgres.postgres_handles import execute, new_schema

_PROGRAM = """
import asyncio, json, sys
from attrs import evolve
from mesh_refresh.stores import PlainText, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.testing.conformance.store_kit import *
url, schema, timeout = sys.argv[1:]
said = []
async def settle(store, row):
    try:
        said.append(await store.swap(evolve(row, sealed=b"new"), owner="me"))
    except (StoreUnavailable, asyncio.CancelledError) as error:
        said.append(type(error).__name__)
async def main():
    global store, task
    store = await PostgresStore.open(
        url, cipher=PlainText(), schema=schema, timeout=timedelta(seconds=float(timeout)), connections=1
    )
    store.watch(lambda: None)
    row = await take(store)
    print("taken", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    task = asyncio.ensure_future(settle(store, row))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
"""
_ENDS = _PROGRAM + "asyncio.run(main())\nprint(said, flush=True)\n"
_CLOSES = _PROGRAM + "    await store.aclose()\nasyncio.run(main())\nprint(said, flush=True)\n"


async def held_by_others(postgres: str, program: str, timeout: float, *, held: bool) -> tuple[str, bytes]:
    """What a program says that ends while somebody else has the row of its settle, and what is in the row then."""
    async with connected(postgres) as connection:
        fleet = Fleet(postgres, new_schema(), connection)
        async with fleet.store(migrate=True) as store:
            await fill(store, a_row())
        command = (sys.executable, "-c", program, fleet.url, fleet.schema, str(timeout))
        process = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1, stderr=-1)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"taken\n"
        async with fleet.holding("SELECT FROM {schema}.login FOR UPDATE"):
            ending = asyncio.ensure_future(process.communicate(b"\n"))
            if held:
                await asyncio.wait({ending})
            else:
                await fleet.waiting()
        out, err = await asyncio.wait_for(ending, 90)
        assert (process.returncode, err) == (0, b"")
        async with fleet.store() as store:
            return out.decode().strip(), (await kept(store)).sealed


@pytest.mark.parametrize("program", [_ENDS, _CLOSES], ids=["forgets to close", "closes"])
async def test_a_program_that_ends_commits_what_is_under_way(postgres: str, program: str) -> None:
    """`asyncio.run` cancels who asked, and waits for the settle itself."""
    said, sealed = await held_by_others(postgres, program, 30, held=False)
    assert said in ("['CancelledError']", "[True]")
    assert sealed == b"new"


@pytest.mark.parametrize("program", [_ENDS, _CLOSES], ids=["forgets to close", "closes"])
async def test_a_program_that_ends_does_not_wait_for_ever(postgres: str, program: str) -> None:
    """Where the row stays locked, the settle ends with its time-out, and is not done."""
    said, sealed = await held_by_others(postgres, program, 0.3, held=True)
    assert said in ("['CancelledError']", "['StoreUnavailable']")
    assert sealed == b"sealed"


async def test_a_cancelled_caller_is_served_all_the_same(fleet: Fleet) -> None:
    """Its settle lands; what is asked for after it waits for that, and sees it."""
    async with fleet.store() as store:
        await fill(store, a_row(), a_row("b"))
        row = await take(store)
        async with fleet.holding("SELECT FROM {schema}.login WHERE login_id = 'a' FOR UPDATE"):
            gone = asyncio.ensure_future(store.swap(evolve(row, sealed=b"new"), owner="me"))
            await fleet.waiting()
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            later: list[Coroutine[Any, Any, Any]] = [store.read("a"), store.insert(a_row())]
            tasks = [asyncio.ensure_future(verb) for verb in later]
            await asyncio.wait(tasks, timeout=0.05)
            assert not any(task.done() for task in tasks)
            assert await store.delete("b")  # of another login: it waits for nobody
        found, inserted = await asyncio.gather(*tasks)
        assert found == evolve(row, sealed=b"new", revision=row.revision + 1)
        assert inserted is False
        assert (await take(store)).open_attempt is False


async def test_closing_does_first_what_was_asked_for(fleet: Fleet) -> None:
    """More than fits into one group too; who comes later is told."""
    store = await fleet.store()
    tasks = [asyncio.ensure_future(store.insert(a_row(str(number)))) for number in range(1_200)]
    tasks.append(asyncio.ensure_future(_some(store.claim(a_request(limit=1)))))
    await asyncio.sleep(0)
    closing = [asyncio.ensure_future(store.aclose()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.read("a")
    await asyncio.gather(*closing)
    assert all(task.done() for task in tasks)
    assert all([await task for task in tasks[:-1]])
    assert await fleet.sql("SELECT count(*) FROM {schema}.login") == 1_200
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="is not open"):
        _ = await store


async def _some(claim: Any) -> bool:
    return len(await claim) >= 0


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # it was not closed in the loop that is gone
def test_a_store_may_go_on_in_another_loop(postgres: str) -> None:
    """Connections, places and listeners of a loop that is gone are not used."""
    schema = new_schema()
    store = PostgresStore.open(postgres, cipher=PlainText(), schema=schema, migrate=True, connections=1)

    async def begin() -> None:
        assert await store is store
        store.watch(lambda: None)
        await asyncio.gather(*(store.claim_one(str(number), "me", LEASE) for number in range(3)))
        await fill(store, a_row())

    async def go_on() -> None:
        async with store:
            woken = asyncio.Event()
            store.watch(woken.set)
            assert await kept(store) == a_row(revision=1)
            await asyncio.gather(*(store.claim_one(str(number), "me", LEASE) for number in range(3)))
            assert isinstance(await store.swap(await kept(store)), bool)
            await woken.wait()

    asyncio.run(begin())
    asyncio.run(go_on())
    gc.collect()
    asyncio.run(execute(postgres, f"DROP SCHEMA {schema} CASCADE"))

"""SqliteStore's thread: verbs that wait together share a transaction, and none harms another."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.stores import Page, PlainText, StoreError
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.testing.conformance.store_kit import LEASE, a_row, fill, kept, take
from tests.stores.stopping import Opened, turn


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Opened]:
    async with Opened.open(tmp_path / "fleet.db", cipher=PlainText()) as opened:
        await opened.watch_statements()
        yield opened


def fails(session: SqliteSession) -> bool:
    session.connection.execute("DELETE FROM login")
    raise ZeroDivisionError("a secret")


async def test_what_waits_together_is_one_transaction(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """One commit, and one call into the loop, however many there are."""
    calls: list[Any] = []
    loop = asyncio.get_running_loop()
    call = loop.call_soon_threadsafe

    def counted(*given: Any) -> Any:
        calls.append(given)
        return call(*given)

    async with store.stopped():
        tasks = [asyncio.ensure_future(store.insert(a_row(str(number)))) for number in range(50)]
        await turn()
        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    assert await asyncio.gather(*tasks) == [True] * 50
    assert (store.count("BEGIN"), store.count("COMMIT"), store.count("INSERT")) == (1, 1, 50)
    assert len(calls) == 2  # the verb that stopped the thread, and the group


async def test_nobody_is_answered_before_the_commit(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the transaction is being committed, its callers wait, and a read that came before it does not."""
    reached, goes_on = threading.Event(), threading.Event()
    commit = SqliteSession.commit

    def slowly(session: SqliteSession) -> None:
        reached.set()
        assert goes_on.wait(60)
        commit(session)

    monkeypatch.setattr(SqliteSession, "commit", slowly)
    async with store.stopped():
        before = asyncio.ensure_future(store.read("a"))
        await turn()
        written = asyncio.ensure_future(store.insert(a_row()))
        await turn()
        after = asyncio.ensure_future(store.read("a"))
    await asyncio.to_thread(reached.wait, 60)
    assert await before is None
    assert not written.done()
    assert not after.done()
    goes_on.set()
    assert await written is True
    assert await after == a_row(revision=1)


async def test_one_that_fails_harms_no_other(store: Opened) -> None:
    """What it did is undone, and it is told; the others are done as if it had not been."""
    await fill(store, a_row())
    async with store.stopped():
        inserted = asyncio.ensure_future(store.insert(a_row("b")))
        await turn()
        failed = asyncio.ensure_future(store.do(fails, writes=True))
        await turn()
        leased = asyncio.ensure_future(take(store))
    with pytest.raises(StoreError, match=r"ZeroDivisionError at test_grouping\.py:\d+") as caught:
        await failed
    assert "secret" not in str(caught.value)
    assert await inserted is True
    assert await leased == await kept(store)
    assert (await leased).attempt == 1
    assert await kept(store, "b") == a_row("b", revision=1)


async def test_one_that_fails_alone_is_undone(store: Opened) -> None:
    """A transaction of one."""
    await fill(store, a_row())
    with pytest.raises(StoreError):
        await store.do(fails, writes=True)
    assert await kept(store) == a_row(revision=1)


async def test_a_failing_commit_fails_everybody_and_writes_nothing(
    store: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again one by one, and undone."""

    def fail(session: SqliteSession) -> None:
        raise OSError(5, "no disk")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteSession, "commit", fail)
        async with store.stopped():
            tasks = [asyncio.ensure_future(store.insert(a_row(str(number)))) for number in range(3)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(it, StoreError) for it in found)
    assert list(await store.rows(Page(10))) == []
    assert await store.insert(a_row()) is True


async def test_a_lock_that_comes_while_a_group_is_done_apart_is_waited_for_once(
    store: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a thousand writes would wait for it as long."""
    begin, begun = SqliteSession.begin, 0

    def busy(session: SqliteSession) -> None:
        nonlocal begun
        begun += 1
        if begun > 2:
            raise OSError(5, "stands for a lock")
        begin(session)

    monkeypatch.setattr(SqliteSession, "begin", busy)
    async with store.stopped():
        tasks = [asyncio.ensure_future(store.insert(a_row(str(number)))) for number in range(5)]
        await turn()
        tasks += [asyncio.ensure_future(store.do(fails, writes=True))]
        await turn()
        read = asyncio.ensure_future(store.read("0"))
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[0] is True
    assert all(isinstance(it, StoreError) for it in found[1:])
    assert await read == a_row("0", revision=1)
    assert begun == 3


async def test_closing_does_first_all_that_waits(store: Opened) -> None:
    """More than fits into one group too."""
    async with store.stopped():
        tasks = [asyncio.ensure_future(store.insert(a_row(str(number)))) for number in range(2_500)]
        await turn()
        closing = asyncio.ensure_future(store.aclose())
    await closing
    assert all(task.done() for task in tasks)
    assert await asyncio.gather(*tasks) == [True] * 2_500


async def test_a_cancelled_caller_is_served_all_the_same(store: Opened) -> None:
    """The settle of a task that was cancelled lands, whole, and so do those beside it."""
    await fill(store, a_row(), a_row("b"))
    row, other = await take(store), await take(store, "b")
    async with store.stopped():
        gone = asyncio.ensure_future(store.swap(evolve(row, sealed=b"new"), owner="me"))
        stays = asyncio.ensure_future(store.swap(evolve(other, sealed=b"new"), owner="me"))
        await turn()
        gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await stays is True
    assert (await kept(store)).sealed == b"new"
    assert (await take(store)).open_attempt is False


async def test_verbs_take_effect_in_the_order_of_the_asking(store: Opened) -> None:
    """A read that was asked for after a write sees it, though they share a transaction."""
    async with store.stopped():
        asked = [asyncio.ensure_future(store.insert(a_row())), asyncio.ensure_future(store.read("a"))]
        await turn()
        asked += [asyncio.ensure_future(store.delete("a")), asyncio.ensure_future(store.read("a"))]
    assert await asyncio.gather(*asked) == [True, a_row(revision=1), True, None]


async def test_a_long_scan_holds_up_nobody(store: Opened) -> None:
    """Pages and counts have a thread of their own."""
    await fill(store, a_row())
    reached, goes_on = threading.Event(), threading.Event()

    def scan(session: SqliteSession) -> int:
        with session.snapshot() as execute:
            execute("SELECT count(*) FROM login").fetchone()
            reached.set()
            assert goes_on.wait(60)
            return int(execute("SELECT count(*) FROM login").fetchone()[0])

    scanned = asyncio.ensure_future(store.scan(scan))
    await asyncio.to_thread(reached.wait, 60)
    await fill(store, a_row("b"))
    assert await store.swap(await take(store), owner="me") is True
    goes_on.set()
    assert await scanned == 1
    assert len(await store.rows(Page(10))) == 2


async def test_only_reads_begin_no_transaction(store: Opened) -> None:
    """So they are answered while somebody else has the write lock."""
    async with store.stopped():
        tasks = [asyncio.ensure_future(store.read("a")) for _ in range(5)]
    assert await asyncio.gather(*tasks) == [None] * 5
    assert store.count("BEGIN") == 0


def test_a_loop_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    """What was asked for in it is done, and another loop goes on with the store."""
    store = Opened.open(tmp_path / "fleet.db", cipher=PlainText())

    async def leave() -> None:
        assert await store is store
        async with store.stopped():
            task = asyncio.ensure_future(store.insert(a_row()))
            await turn()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # The loop ends with the thread still at work.
            store._thread()._queue.put(_late(store))  # noqa: SLF001 - a verb would wait for its answer

    def _late(store: Opened) -> Any:
        from mesh_refresh.stores.sqlite.group import Job
        from mesh_refresh.stores.sqlite.verbs import checked, insert

        row = a_row("late")
        future: asyncio.Future[Any] = asyncio.new_event_loop().create_future()
        future.get_loop().close()
        return Job(lambda session: insert(session, row, checked(row)), future, writes=True)

    async def go_on() -> None:
        async with store:
            assert await kept(store) == a_row(revision=1)
            assert await kept(store, "late") == a_row("late", revision=1)
            assert await store.claim_one("a", "me", LEASE)
            assert await store.swap(await kept(store), owner="me", hold=timedelta(seconds=1)) is True

    asyncio.run(leave())
    asyncio.run(go_on())

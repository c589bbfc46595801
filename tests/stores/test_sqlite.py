"""SqliteStore keeps the contract of a store, and what it says of itself."""

# ruff: noqa: ASYNC240 - nobody else is held up in a test's loop

import asyncio
import os
import stat
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.stores import Busy, Page, PlainText, Row, Store, StoreUnavailable
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.stores.sqlite.connection.leases import LeaseClock
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.testing import ManualClock, OutboxConformance, RegistryConformance, StoreConformance
from mesh_refresh.testing.conformance.store_kit import (
    LEASE,
    NOW,
    SECOND,
    a_request,
    a_row,
    busy,
    claimed,
    fill,
    kept,
    take,
)
from tests.stores.handles import SqliteHandles
from tests.stores.stopping import Opened

_SURROGATE = "\ud800"


class TestSqliteStore(StoreConformance, OutboxConformance, RegistryConformance):
    @pytest.fixture(autouse=True)
    def handles(self, tmp_path: Path) -> None:
        self.made = SqliteHandles(tmp_path)

    async def make_store(self) -> Store:
        return await self.made.make()

    async def another(self, store: Store) -> Store:
        return await self.made.another(store)

    async def pass_time(self, store: Store, by: timedelta) -> None:
        await self.made.pass_time(by)


def a_store(folder: Path, clock: ManualClock | None = None) -> Opened:
    return Opened.open(folder / "fleet.db", cipher=PlainText(), clock=clock)


async def test_all_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """Rows, leases and pauses; opened by `async with` or by `await`."""
    clock = ManualClock()
    async with a_store(tmp_path, clock) as store:
        await fill(store, a_row(), a_row("b"))
        row = await take(store)
        await store.pause("one")
    store = await a_store(tmp_path, clock)
    async with store as same:
        assert same is store
        assert repr(store) == f"<SqliteStore {tmp_path}/fleet.db>"
        assert await kept(store) == row
        assert set(await store.paused()) == {"one"}
        clock.advance(SECOND)
        assert await store.claim_one("a", "me", LEASE) == Busy(LEASE - SECOND)
        assert await claimed(store) == ["b"]


async def test_a_store_is_used_only_while_it_is_open(tmp_path: Path) -> None:
    """Before and after, every verb is `StoreUnavailable`; closing what was never opened does nothing."""
    store = a_store(tmp_path)
    for _ in range(2):
        for verb in (store.read("a"), store.insert(a_row()), store.rows(Page(1)), store.counts(NOW), store.paused()):
            with pytest.raises(StoreUnavailable, match="not open"):
                await verb
        await store.aclose()
        with pytest.raises(StoreUnavailable, match="not open"):
            _ = await store
        store = await Opened.open(tmp_path / "fleet.db", cipher=PlainText())
        await store.aclose()


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask says, and so are the files beside it."""
    before = os.umask(0)
    try:
        async with a_store(tmp_path) as store:
            await fill(store, a_row())
            await store.rows(Page(1))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"fleet.db": 0o600, "fleet.db-wal": 0o600, "fleet.db-shm": 0o600}


async def test_a_commit_is_synced(tmp_path: Path) -> None:
    """The settings that make it durable are in force."""

    async with a_store(tmp_path) as store:
        found = [await store.execute(f"PRAGMA {name}") for name in ("journal_mode", "synchronous")]
        assert found == [[("wal",)], [(2,)]]


@pytest.mark.parametrize("name", ["login_id", "broker", "epoch"])
async def test_what_is_no_text_is_refused_before_any_io(tmp_path: Path, name: str) -> None:
    """A lone surrogate cannot be stored: `InvalidRequest`, which does not show it."""
    async with a_store(tmp_path) as store:
        text: Any = {name: f"secret{_SURROGATE}"}
        row = a_row(**text)
        for verb in (store.insert(row), store.swap(row)):
            with pytest.raises(InvalidRequest, match="surrogate") as caught:
                await verb
            assert "secret" not in str(caught.value)
        bad = _SURROGATE
        for asked in (
            store.read(bad),
            store.delete(bad),
            store.claim_one(bad, "me", LEASE),
            store.claim_one("a", bad, LEASE),
            store.claim(a_request(owner=bad)),
            store.swap(a_row(), owner=bad),
            store.pause(bad),
            store.rows(Page(1, after=bad)),
            store.rows(Page(1, broker=bad)),
        ):
            with pytest.raises(InvalidRequest, match="surrogate"):
                await asked


async def test_times_without_a_zone_are_refused(tmp_path: Path) -> None:
    """`InvalidRequest`, before any I/O."""
    naive = NOW.replace(tzinfo=None)
    async with a_store(tmp_path) as store:
        for verb in (
            store.insert(a_row(due_at=naive)),
            store.insert(a_row(changed_at=naive)),
            store.swap(a_row(expires_at=naive)),
            store.claim(a_request(now=naive)),
            store.rows(Page(1, changed_since=naive)),
            store.counts(naive),
        ):
            with pytest.raises(InvalidRequest, match="aware"):
                await verb
        assert await store.read("a") is None


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    """`InvalidRequest`, before anything is opened."""
    wrong: Any
    for wrong in ({"cipher": None}, {"busy_timeout": 5}, {"busy_timeout": -SECOND}):
        with pytest.raises(InvalidRequest):
            _ = SqliteStore.open(tmp_path / "fleet.db", **{"cipher": PlainText(), **wrong})
    for wrong in ("", "nul\0", b"bytes"):
        with pytest.raises(InvalidRequest):
            _ = SqliteStore.open(wrong, cipher=PlainText())
    assert list(tmp_path.iterdir()) == []


async def test_a_lease_of_another_boot_has_run_out(tmp_path: Path) -> None:
    """Its attempt is open then; a hold of another boot is over too, and neither is counted."""
    clock = ManualClock()
    async with a_store(tmp_path, clock) as store, a_store(tmp_path, clock) as rebooted:
        rebooted.of_boot("the next boot")
        await fill(store, a_row(), a_row("held"))
        await take(store)
        assert await store.swap(await take(store, "held"), owner="me", hold=LEASE) is True
        await busy(store)
        assert [count.leased for count in await rebooted.counts(NOW)] == [0]
        found = {row.login_id: row.open_attempt for row in await rebooted.claim(a_request())}
        assert found == {"a": True, "held": False}
        assert [count.leased for count in await rebooted.counts(NOW)] == [2]


@pytest.mark.parametrize("verb", ["claim", "claim_one"])
async def test_without_a_name_for_the_boot_a_lease_that_begins_later_has_run_out(tmp_path: Path, verb: str) -> None:
    """The clock started again since. One that could be of this boot is waited for, no longer than it was given for."""
    clock, restarted = ManualClock(monotonic=1_000.0), ManualClock(monotonic=900.0)

    async def free(store: SqliteStore) -> bool:
        found = await store.claim(a_request()) if verb == "claim" else [await store.claim_one("a", "me", LEASE)]
        return found != [] and not isinstance(found[0], Busy)

    async with a_store(tmp_path, clock) as store, a_store(tmp_path, restarted) as rebooted:
        store.of_boot("")
        rebooted.of_boot("")
        await fill(store, a_row())
        await take(store)
        restarted.advance(100)
        assert not await free(rebooted)
        assert [count.leased for count in await rebooted.counts(NOW)] == [1]
        restarted.advance(59)
        assert not await free(rebooted)
        await store.do(
            lambda session: session.connection.execute("UPDATE login SET since = since + 60000000"), writes=True
        )
        assert [count.leased for count in await rebooted.counts(NOW)] == [0]
        assert await free(rebooted)


@pytest.mark.skipif(sys.platform != "linux", reason="there is a boot id on Linux alone")
def test_leases_are_told_by_the_time_since_the_start_of_the_machine() -> None:
    """On a clock that counts in suspend, with the kernel's name for this boot."""
    import time

    clock = LeaseClock()
    assert clock.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    assert before <= clock.now() <= before + 1_000_000
    assert clock.lease(timedelta.max, 0).until == 2**63 - 1


async def test_a_claim_does_not_walk_over_what_is_left_out(tmp_path: Path) -> None:
    """With thousands of overdue rows of a broker without room, of a paused one, or put back in time, SQLite takes few
    steps.
    """
    later, changed = NOW + timedelta(days=1), NOW + timedelta(hours=1)
    async with a_store(tmp_path) as store:
        for broker in ("full", "off"):
            await gathered(store, *(a_row(f"{broker} {n}", broker=broker, due_at=NOW - LEASE) for n in range(4_000)))
        await fill(store, *(a_row(f"{n}", broker="open") for n in range(20)))
        await store.pause("off")
        assert await _steps(store, limit=3) < 300
        assert await _steps(store, limits={"full": 0}, limit=20) < 300
        back = (a_row(f"back {n}", broker="back", due_at=later, changed_at=changed) for n in range(4_000))
        await gathered(store, *back)
        assert await _steps(store, limits={"full": 0}, limit=5) < 1_500


async def gathered(store: Store, *rows: Row) -> None:
    """Insert all at once."""
    await asyncio.gather(*map(store.insert, rows))


async def _steps(store: Opened, **changes: Any) -> int:
    """Hundreds of steps of SQLite's machine that a claim of `limit` rows took."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    async def watch(handler: Any) -> None:
        await store.do(lambda session: session.connection.set_progress_handler(handler, 100))

    await watch(step)
    assert len(await claimed(store, **changes)) == changes["limit"]
    await watch(None)
    return steps


async def test_what_fails_shows_no_secret_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in its text nor in the locals of its frames, which error trackers render."""

    def fail(session: SqliteSession) -> None:
        raise OSError(5, "no disk")

    async with a_store(tmp_path) as store:
        await fill(store, a_row(sealed=b"planted-secret"))
        row = await take(store)
        monkeypatch.setattr(SqliteSession, "commit", fail)
        for verb in (store.swap(row, owner="me"), store.insert(row), store.claim_one("a", "x", LEASE)):
            with pytest.raises(StoreUnavailable) as caught:
                await verb
            shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
            assert "sqlite" in shown
            assert "planted-secret" not in shown
        monkeypatch.undo()

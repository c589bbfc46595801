"""SqliteStore's statements for many rows: as few as can be, and each swap as if it had been done by itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.stores import Busy, PlainText, Row
from mesh_refresh.stores.sqlite import SqliteStore, group
from mesh_refresh.testing.conformance.store_kit import LEASE, a_request, a_row, fill, kept, take
from tests.stores.stopping import Opened

HOLD = timedelta(seconds=30)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Opened]:
    async with Opened.open(tmp_path / "fleet.db", cipher=PlainText()) as opened:
        await opened.watch_statements()
        yield opened


async def claimed(store: SqliteStore, many: int) -> list[Row]:
    await asyncio.gather(*(store.insert(a_row(f"{number:04}")) for number in range(many)))
    return list(await store.claim(a_request(limit=many)))


async def swapped(store: Opened, rows: Sequence[Row], owner: str | None = "me", hold: timedelta = HOLD) -> list[bool]:
    """All of them in one group."""
    async with store.stopped():
        store.statements.clear()
        tasks = [asyncio.ensure_future(store.swap(row, owner=owner, hold=hold)) for row in rows]
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("many", [2, 3, 64, 128, 129, 300])
async def test_swaps_that_wait_together_are_few_statements(store: Opened, many: int) -> None:
    """One for each 128 of them, and every column as it was given."""
    rows = await claimed(store, many)
    assert store.count("UPDATE") == -(-many // 128)  # the claim
    changed = [evolve(row, due_at=None, expires_at=None, sealed=row.login_id.encode()) for row in rows]
    assert await swapped(store, changed) == [True] * many
    assert store.count("UPDATE") == -(-many // 128)
    assert store.count("ROLLBACK") == 0
    for row in changed:
        assert await kept(store, row.login_id) == evolve(row, revision=row.revision + 1)


async def test_an_sqlite_without_such_statements_does_one_after_the_other(
    store: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 3.33 it cannot update a table from another one."""
    monkeypatch.setattr(group, "CAN_DO_MANY", False)
    rows = [evolve(row, sealed=b"new") for row in await claimed(store, 5)]
    assert await swapped(store, rows) == [True] * 5
    assert [(await kept(store, row.login_id)).sealed for row in rows] == [b"new"] * 5


@pytest.mark.parametrize("stale", [{"revision": 1}, {"epoch": "another"}, {"login_id": "gone"}])
async def test_one_stale_swap_among_many_is_refused_alone(store: Opened, stale: dict[str, Any]) -> None:
    """One of a row that was written since, of a login that was made anew, or of one that is gone."""
    rows = [evolve(row, sealed=b"new") for row in await claimed(store, 4)]
    assert await swapped(store, [rows[0], evolve(rows[1], **stale), *rows[2:]]) == [True, False, True, True]
    found = [(await kept(store, row.login_id)).sealed == b"new" for row in rows]
    assert found == [True, False, True, True]


@pytest.mark.parametrize("changed", [{"states": frozenset({"mfa_required"})}, {"broker": "other"}])
async def test_one_that_changes_what_it_is_found_by_is_written(store: Opened, changed: dict[str, Any]) -> None:
    """Its broker or its states; and the revision of each is raised once."""
    rows = [evolve(row, sealed=b"new") for row in await claimed(store, 4)]
    rows[2] = evolve(rows[2], **changed)
    assert await swapped(store, rows) == [True] * 4
    assert [await kept(store, row.login_id) for row in rows] == [evolve(row, revision=row.revision + 1) for row in rows]


async def test_two_swaps_of_one_login_in_a_group_are_done_in_order(store: Opened) -> None:
    """Of two on one revision the first is done, and of two on one after the other both are."""
    one, other = await claimed(store, 2)
    rows = [evolve(one, sealed=b"1"), evolve(one, sealed=b"2"), evolve(other, sealed=b"3")]
    rows.append(evolve(other, sealed=b"4", revision=other.revision + 1))
    assert await swapped(store, rows) == [True, False, True, True]
    assert [(await kept(store, row.login_id)).sealed for row in (one, other)] == [b"1", b"4"]


async def test_many_swaps_give_back_the_leases_of_their_owner(store: Opened) -> None:
    """With a hold where there is one; without an owner, and for another's lease, all leases stay."""
    rows = await claimed(store, 3)
    assert await swapped(store, rows, owner=None) == [True] * 3
    rows = [evolve(row, revision=row.revision + 1) for row in rows]
    assert await swapped(store, rows, owner="somebody else") == [True] * 3
    for row in rows:
        busy = await store.claim_one(row.login_id, "other", LEASE)
        assert isinstance(busy, Busy)
        assert HOLD < busy.left <= LEASE
    rows = [evolve(row, revision=row.revision + 1) for row in rows]
    assert await swapped(store, rows) == [True] * 3
    for row in rows:
        busy = await store.claim_one(row.login_id, "other", LEASE)
        assert isinstance(busy, Busy)
        assert timedelta() < busy.left <= HOLD
    rows = [evolve(row, revision=row.revision + 1) for row in rows]
    assert await swapped(store, rows, hold=timedelta()) == [True] * 3
    for row in rows:  # a hold is nobody's, and stays
        assert isinstance(await store.claim_one(row.login_id, "other", LEASE), Busy)


async def test_many_swaps_without_a_hold_leave_their_rows_free(store: Opened) -> None:
    """And not as open attempts."""
    rows = await claimed(store, 3)
    assert await swapped(store, rows, hold=timedelta()) == [True] * 3
    for row in rows:
        assert (await take(store, row.login_id, owner="other")).open_attempt is False


async def test_what_stands_between_swaps_sees_those_before_it(store: Opened) -> None:
    """A read and a claim among them."""
    rows = [evolve(row, sealed=b"new") for row in await claimed(store, 4)]
    await fill(store, a_row("late"))
    async with store.stopped():
        first = [asyncio.ensure_future(store.swap(row, owner="me")) for row in rows[:2]]
        reads = [asyncio.ensure_future(store.read(row.login_id)) for row in (rows[0], rows[2])]
        again = asyncio.ensure_future(store.claim(a_request(owner="other")))
        last = [asyncio.ensure_future(store.swap(row, owner="me")) for row in rows[2:]]
    assert await asyncio.gather(*first, *last) == [True] * 4
    before, after = await asyncio.gather(*reads)
    assert before is not None
    assert after is not None
    assert (before.sealed == b"new", after.sealed == b"new") == (True, False)
    assert sorted(row.login_id for row in await again) == ["0000", "0001", "late"]

"""PostgresStore's verbs that wait together: few statements, and each as if it had been done by itself."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores import Busy, Row, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_request, a_row, fill, kept, take
from tests.stores.postgres.bystander import Fleet

pytestmark = pytest.mark.once

LONG_AGO = NOW - timedelta(days=1)
MANY = 1_201
HOLD = timedelta(seconds=30)
TOO_LONG = "".join(random.Random(7).choices([chr(code) for code in range(0x4E00, 0x9FFF)], k=3_000))
"""A login id that no index takes, and that cannot be packed into less."""


def count(statements: list[str], verb: str) -> int:
    return sum(it.lstrip().startswith(verb) for it in statements)


async def inserted(store: PostgresStore, many: int) -> list[Row]:
    rows = [a_row(f"{number:05}") for number in range(many)]
    assert await asyncio.gather(*(store.insert(row) for row in rows)) == [True] * many
    return rows


async def swapped(store: PostgresStore, rows: list[Row], **options: Any) -> list[Any]:
    """All of them in one group, or in as few as there can be."""
    return await asyncio.gather(*(store.swap(row, **options) for row in rows), return_exceptions=True)


async def test_what_waits_together_is_few_statements(fleet: Fleet, statements: list[str]) -> None:
    """One for each 500 of them, and every column as it was given."""
    async with fleet.store() as store:
        rows = await inserted(store, MANY)
        assert count(statements, "INSERT") == 3
        claimed = sorted(await store.claim(a_request(limit=MANY)), key=lambda it: it.login_id)
        assert [evolve(row, revision=0, attempt=0) for row in claimed] == rows
        statements.clear()
        assert await asyncio.gather(*(store.read(row.login_id) for row in rows)) == claimed
        assert len(statements) == 3
        statements.clear()
        changed = [evolve(row, due_at=None, expires_at=None, sealed=row.login_id.encode()) for row in claimed]
        assert await swapped(store, changed, owner="me") == [True] * MANY
        assert len(statements) == 3
        found = await asyncio.gather(*(store.read(row.login_id) for row in rows))
        assert found == [evolve(row, revision=row.revision + 1) for row in changed]


async def test_a_claim_is_one_statement(fleet: Fleet, statements: list[str]) -> None:
    """However many rows it takes, and so is that of one login; another where it takes fewer than it may."""
    async with fleet.store() as store:
        for row in [a_row(f"{number:05}", changed_at=LONG_AGO) for number in range(100)]:
            assert await store.insert(row)  # not due when it is written: nobody is woken
        statements.clear()
        assert len(await store.claim(a_request(limit=99))) == 99
        assert isinstance(await store.claim_one("00000", "other", LEASE), Busy)
        assert len(statements) == 2
        assert len(await store.claim(a_request(limit=2))) == 1
        assert len(statements) == 4


async def test_two_swaps_of_one_login_in_a_group_are_done_in_order(fleet: Fleet) -> None:
    """Of two on one revision the first is done, and of two on one after the other both are."""
    async with fleet.store() as store:
        one, other = await inserted(store, 2)
        rows = [evolve(one, revision=1, sealed=b"1"), evolve(one, revision=1, sealed=b"2")]
        rows += [evolve(other, revision=1, sealed=b"3"), evolve(other, revision=2, sealed=b"4")]
        assert await swapped(store, rows) == [True, False, True, True]
        assert [(await kept(store, row.login_id)).sealed for row in (one, other)] == [b"1", b"4"]


async def test_nor_does_another_way_to_swap_change_their_order(fleet: Fleet) -> None:
    """What gives a lease back is another statement, and may not be overtaken by what was asked for after it."""
    async with fleet.store() as store:
        first, one = await inserted(store, 2)
        leased = await take(store, one.login_id)
        done = await asyncio.gather(
            store.swap(evolve(first, revision=1, sealed=b"0")),
            store.swap(evolve(leased, sealed=b"1"), owner="me", hold=HOLD),
            store.swap(evolve(leased, revision=leased.revision + 1, sealed=b"2")),
        )
        assert list(done) == [True] * 3
        assert (await kept(store, one.login_id)).sealed == b"2"


async def test_two_inserts_of_one_login_in_a_group_make_one(fleet: Fleet) -> None:
    """The first of them, and the other is told."""
    async with fleet.store() as store:
        rows = [a_row(sealed=b"1"), a_row(sealed=b"2"), a_row("b")]
        assert await asyncio.gather(*(store.insert(row) for row in rows)) == [True, False, True]
        assert (await kept(store)).sealed == b"1"


@pytest.mark.parametrize("stale", [{"revision": 7}, {"epoch": "another"}, {"login_id": "gone"}])
async def test_one_stale_swap_among_many_is_refused_alone(fleet: Fleet, stale: dict[str, Any]) -> None:
    """One of a row that was written since, of a login that was made anew, or of one that is gone."""
    async with fleet.store() as store:
        rows = [evolve(row, revision=1, sealed=b"new") for row in await inserted(store, 4)]
        assert await swapped(store, [rows[0], evolve(rows[1], **stale), *rows[2:]]) == [True, False, True, True]
        found = [(await kept(store, row.login_id)).sealed == b"new" for row in rows]
        assert found == [True, False, True, True]


async def test_swaps_of_a_group_have_owners_and_holds_of_their_own(fleet: Fleet) -> None:
    """One gives its lease back with a hold, one without, one is of somebody else, and one has no owner."""
    async with fleet.store() as store:
        await inserted(store, 4)
        rows = [evolve(await take(store, f"{number:05}"), sealed=b"new") for number in range(4)]
        asked = [("me", HOLD), ("me", timedelta()), ("somebody else", HOLD), (None, HOLD)]
        swaps = (store.swap(row, owner=owner, hold=hold) for row, (owner, hold) in zip(rows, asked, strict=True))
        assert await asyncio.gather(*swaps) == [True] * 4
        found = [await store.claim_one(row.login_id, "other", LEASE) for row in rows]
        assert isinstance(found[1], Row)
        assert found[1].open_attempt is False
        left = [it.left for it in found if isinstance(it, Busy)]
        assert timedelta() < left[0] <= HOLD
        assert all(HOLD < it <= LEASE for it in left[1:])


async def test_a_row_that_cannot_be_kept_harms_no_other(fleet: Fleet) -> None:
    """`InvalidRequest` for that one, which says why; the others are written."""
    async with fleet.store() as store:
        good = [a_row(str(number)) for number in range(20)]
        rows = [*good[:10], a_row(TOO_LONG), *good[10:]]
        found = await asyncio.gather(*(store.insert(row) for row in rows), return_exceptions=True)
        assert isinstance(found.pop(10), InvalidRequest)
        assert found == [True] * 20
        bad = [evolve(row, revision=1, sealed=b"new", broker=TOO_LONG if row is good[3] else "x") for row in good]
        found = await swapped(store, bad)
        assert isinstance(refused := found.pop(3), InvalidRequest)
        assert "too long for PostgreSQL" in str(refused)
        assert found == [True] * 19
        assert await kept(store, good[3].login_id) == evolve(good[3], revision=1)
        assert await store.read(TOO_LONG) is None
        assert await store.delete(TOO_LONG) is False


async def test_a_server_that_is_gone_while_a_group_is_done_apart_is_waited_for_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of hundreds would wait for it as long."""
    async with fleet.store() as store:
        asked = []
        links = store.verbs.links
        run = links.run

        async def gone_after_two(work: Any, **_: Any) -> Any:
            asked.append(work)
            if len(asked) > 2:
                raise TimeoutError
            return await run(work)

        monkeypatch.setattr(links, "run", gone_after_two)
        rows = [*(a_row(str(number), changed_at=LONG_AGO) for number in range(20)), a_row(TOO_LONG)]
        found = await asyncio.gather(*(store.insert(row) for row in rows), return_exceptions=True)
        monkeypatch.undo()
        assert found[0] is True
        assert {type(it) for it in found[1:]} == {StoreUnavailable}
        assert len(asked) == 3
        await fill(store, a_row("after"))

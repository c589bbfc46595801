"""Text of any kind lies in PostgreSQL, which has no character zero, and comes back."""

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh.stores import Page
from mesh_refresh.stores.postgres.values import read, written
from mesh_refresh.testing.conformance.store_kit import a_request, a_row, fill, kept
from mesh_refresh.testing.conformance.store_outbox import a_notice
from tests.examples import bounded
from tests.stores.postgres.bystander import Fleet

TEXTS = st.text(st.one_of(st.sampled_from("\0\1\2\3a"), st.characters(codec="utf-8")))


@bounded(100)
@given(TEXTS)
def test_text_comes_back_as_it_was(text: str) -> None:
    """Whatever is in it, and nothing is written that PostgreSQL cannot keep."""
    assert "\0" not in written(text)
    assert read(written(text)) == text


@bounded(100)
@given(TEXTS, TEXTS)
def test_text_keeps_its_order_and_its_likeness(one: str, other: str) -> None:
    """By code points, also of two texts that begin alike."""
    for left, right in ((one, other), (one, one + other)):
        assert (written(left) < written(right)) == (left < right)
        assert (written(left) == written(right)) == (left == right)


async def test_the_server_sees_the_same_order(fleet: Fleet) -> None:
    """Pages come in the order of code points, whatever the collation of the database is."""
    ids = ["", "\0", "\0\0", "\0\1", "\0\2", "\1", "\1\0", "\1\1", "\2", "A", "B", "a", "é", "e\u0301", "\uffff", "😀"]
    async with fleet.store() as store:
        await fill(store, *(a_row(login_id, broker=login_id, epoch=login_id) for login_id in reversed(ids)))
        assert [row.login_id for row in await store.rows(Page(100))] == sorted(ids)
        for login_id in ids:
            assert [row.login_id for row in await store.rows(Page(100, broker=login_id))] == [login_id]
            assert await kept(store, login_id) == a_row(login_id, broker=login_id, epoch=login_id, revision=1)


async def test_a_value_that_would_stop_every_claim_is_refused_where_it_is_written(fleet: Fleet) -> None:
    """A person who helps with SQL subtracts too much, say: Python has no year before 1 and none after 9999."""
    times = {"login": "due_at expires_at changed_at", "notice": "due_at written_at first_tried_at", "pause": "at"}
    async with fleet.store() as store:
        await store.insert(a_row(), notices=[a_notice("n")])
        await store.pause("kraken")
        for table, column in ((table, it) for table, them in times.items() for it in them.split()):
            for time in ("0001-12-31 23:59Z BC", "10000-01-01 00:00Z"):
                with pytest.raises(asyncpg.CheckViolationError):
                    await fleet.sql(f"UPDATE {{schema}}.{table} SET {column} = '{time}'")
        for change in ("revision = 9223372036854775807", "attempt = 9223372036854775807", "until = 'infinity'"):
            with pytest.raises(asyncpg.CheckViolationError):
                await fleet.sql(f"UPDATE {{schema}}.login SET {change}")
        await fleet.sql("UPDATE {schema}.login SET due_at = '-infinity', expires_at = 'infinity'")
        assert [row.login_id for row in await store.claim(a_request())] == ["a"]

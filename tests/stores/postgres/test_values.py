"""Text of any kind lies in PostgreSQL, which has no character zero, and comes back."""

from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh.stores import Page
from mesh_refresh.stores.postgres.values import read, written
from mesh_refresh.testing.conformance.store_kit import a_row, fill, kept
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

"""SqliteStore knows whether it is opened with its own key, and its keys can be rotated while it is in use."""

from pathlib import Path

import pytest
from attrs import evolve

from mesh_refresh.stores import Cipher, LoginNames, Page, PlainText, Resealed, Row, Sealing, Store, WrongKey
from mesh_refresh.stores.resealing import reseal
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing.conformance.store_kit import LEASE, a_row, fill, kept, take

_OLD, _NEW, _OTHER = (Cipher.generate_key() for _ in range(3))


def a_store(folder: Path, cipher: Sealing) -> SqliteStore:
    return SqliteStore.open(folder / "fleet.db", cipher=cipher)


def _sealed(store: Store, login_id: str, text: str) -> bytes:
    return store.cipher.seal(text, f"login:{login_id}")


@pytest.mark.parametrize(
    ("written", "read", "text"),
    [
        (Cipher([_OLD]), Cipher([_OTHER]), "not sealed with any of these keys"),
        (Cipher([_OLD]), PlainText(), "This is sealed"),
        (PlainText(), Cipher([_OLD]), "plain text"),
    ],
)
async def test_a_wrong_key_is_told_before_anything_is_claimed(
    tmp_path: Path, written: Sealing, read: Sealing, text: str
) -> None:
    """`WrongKey` at opening, though there is no row yet; with its own key the store opens as before."""
    for _ in range(2):
        async with a_store(tmp_path, written) as store:
            await store.insert(a_row())
        with pytest.raises(WrongKey, match=text):
            _ = await a_store(tmp_path, read)
    async with a_store(tmp_path, written) as store:
        assert await kept(store) == a_row(revision=1)


async def test_resealed_rows_open_with_the_new_key_alone(tmp_path: Path) -> None:
    """All of them, and the store itself; the old key opens neither."""
    async with a_store(tmp_path, Cipher([_OLD])) as store:
        ids = [f"{number:03}" for number in range(250)]
        await fill(store, *(a_row(login_id, sealed=_sealed(store, login_id, login_id)) for login_id in ids))
    async with a_store(tmp_path, Cipher([_NEW, _OLD])) as store:
        await take(store, "007")
        before = await store.rows(Page(1_000))
        assert await store.reseal() == Resealed(250)
        after = await store.rows(Page(1_000))
        assert [evolve(row, sealed=b"", revision=row.revision + 1) for row in before] == [
            evolve(row, sealed=b"") for row in after
        ]
        assert await store.swap(await kept(store, "007"), owner="me")
        assert (await take(store, "007")).open_attempt is False
    with pytest.raises(WrongKey):
        _ = await a_store(tmp_path, Cipher([_OLD]))
    async with a_store(tmp_path, Cipher([_NEW])) as store:
        for row in await store.rows(Page(1_000)):
            assert store.cipher.open(row.sealed, f"login:{row.login_id}") == row.login_id


async def test_resealing_overwrites_nothing_that_is_written_meanwhile(tmp_path: Path) -> None:
    """Rows that change under it are read again, and rows that go are not made anew."""
    cipher = Cipher([_NEW, _OLD])

    class Busy(SqliteStore):
        """Everybody else is quicker."""

        async def swap(self, row, **options):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN003, ANN202
            first = row.login_id not in seen
            seen.add(row.login_id)
            if first and row.login_id == "gone":
                await self.delete("gone")
            elif first:
                newer = evolve(await kept(self, row.login_id), sealed=_sealed(self, row.login_id, "newer"))
                assert await super().swap(newer)
            return await super().swap(row, **options)

    seen: set[str] = set()
    async with Busy.open(tmp_path / "fleet.db", cipher=cipher) as store:
        await fill(store, *(a_row(login_id, sealed=_sealed(store, login_id, "older")) for login_id in ("a", "gone")))
        assert await reseal(store) == Resealed(1)
        assert cipher.open((await kept(store)).sealed, "login:a") == "newer"
        assert await store.read("gone") is None


async def test_resealing_goes_on_past_a_row_that_does_not_open(tmp_path: Path) -> None:
    """The row stays as it is, and is named; the others, and the store itself, open with the new key alone."""
    async with a_store(tmp_path, Cipher([_OLD])) as store:
        foreign = Cipher([_OTHER]).seal("text", "login:b")
        moved_here = _sealed(store, "b", "of another login")
        await fill(store, *(a_row(login_id, sealed=_sealed(store, login_id, "text")) for login_id in "ac"))
        await fill(store, a_row("b", sealed=foreign), a_row("d", sealed=moved_here), a_row("e", sealed=b"damaged"))
    async with a_store(tmp_path, Cipher([_NEW, _OLD])) as store:
        assert await store.reseal() == Resealed(2, LoginNames(3, ("b", "d", "e")))
        assert (await kept(store, "b")).sealed == foreign
    async with a_store(tmp_path, Cipher([_NEW])) as store:
        for login_id in "ac":
            assert store.cipher.open((await kept(store, login_id)).sealed, f"login:{login_id}") == "text"
        assert isinstance(await store.claim_one("b", "me", LEASE), Row)

"""PostgresStore knows whether it is opened with its own key, and its keys can be rotated while it is in use."""

import asyncio

import pytest
from attrs import evolve

from mesh_refresh.stores import Cipher, LoginNames, Page, PlainText, Resealed, Sealing, Store, WrongKey
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.testing.conformance.store_kit import NOW, a_row, fill, kept, take
from tests.stores.postgres.bystander import Fleet

pytestmark = pytest.mark.once

_OLD, _NEW, _OTHER = (Cipher.generate_key() for _ in range(3))


def _sealed(store: Store, login_id: str, text: str) -> bytes:
    return store.cipher.seal(text, f"login:{login_id}")


async def everything(fleet: Fleet) -> list[str]:
    """Every row of every table, and which transaction wrote it."""
    tables = ("login", "pause", "resumed", "seal", "version")
    each = " UNION ALL ".join(f"SELECT xmin::text || t::text AS t FROM {{schema}}.{table} AS t" for table in tables)
    found: list[str] = await fleet.sql(f"SELECT array_agg(t ORDER BY t) FROM ({each}) AS every")
    return found


@pytest.mark.parametrize(
    ("written", "read", "text"),
    [
        (Cipher([_OLD]), Cipher([_OTHER]), "not sealed with any of these keys"),
        (Cipher([_OLD]), PlainText(), "This is sealed"),
        (PlainText(), Cipher([_OLD]), "plain text"),
    ],
)
async def test_a_wrong_key_is_told_before_anything_is_claimed(
    empty: Fleet, written: Sealing, read: Sealing, text: str
) -> None:
    """`WrongKey` at opening, though there may be no row yet; nothing is changed, and its own key opens it as before."""
    for number in range(2):
        async with empty.store(cipher=written, migrate=True) as store:
            before = await everything(empty)
        for migrate in (False, True):
            wrong = empty.store(cipher=read, migrate=migrate)
            with pytest.raises(WrongKey, match=text):
                _ = await wrong
        assert await everything(empty) == before
        async with empty.store(cipher=written) as store:
            await fill(store, a_row(str(number), due_at=NOW))


async def test_of_two_keys_for_a_new_store_one_wins(empty: Fleet) -> None:
    """Whoever writes it down first; the other is told, and the winner opens it again."""
    for number in range(5):
        empty.schema = f"{empty.schema}_{number}"
        ciphers = [Cipher([_OLD]), Cipher([_NEW])]
        stores = [empty.store(cipher=cipher, migrate=True) for cipher in ciphers]

        async def opened(store: PostgresStore) -> PostgresStore:
            return await store

        found = await asyncio.gather(*(opened(store) for store in stores), return_exceptions=True)
        assert sorted(type(it).__name__ for it in found) == ["OpenPostgres", "WrongKey"]
        await asyncio.gather(*(store.aclose() for store in stores))
        winner = found.index(next(it for it in found if isinstance(it, PostgresStore)))
        async with empty.store(cipher=ciphers[winner]):
            pass
        with pytest.raises(WrongKey):
            _ = await empty.store(cipher=ciphers[1 - winner])


async def test_a_key_that_waits_for_another_is_told(fleet: Fleet) -> None:
    """Both find none; one has written its own and not yet committed it when the other comes."""
    await fleet.sql("DELETE FROM {schema}.seal")
    sealed = Cipher([_OTHER]).seal("mesh_refresh", "key check")
    insert = f"INSERT INTO {{schema}}.seal (name, sealed) VALUES ('key check', '\\x{sealed.hex()}')"
    late = fleet.store(cipher=Cipher([_OLD]))
    async with fleet.holding(insert):
        opening = asyncio.ensure_future(late.__aenter__())
        await fleet.waiting()
    with pytest.raises(WrongKey):
        _ = await opening
    async with fleet.store(cipher=Cipher([_OTHER])):
        pass


async def test_resealed_rows_open_with_the_new_key_alone(empty: Fleet) -> None:
    """All of them, and the store itself; the old key opens neither."""
    async with empty.store(cipher=Cipher([_OLD]), migrate=True) as store:
        ids = [f"{number:03}" for number in range(250)]
        rows = (a_row(login_id, sealed=_sealed(store, login_id, login_id)) for login_id in ids)
        assert all(await asyncio.gather(*(store.insert(row) for row in rows)))
    async with empty.store(cipher=Cipher([_NEW, _OLD])) as store:
        await take(store, "007")
        before = await store.rows(Page(1_000))
        assert await store.reseal() == Resealed(250)
        store_id = store.store_id
        after = await store.rows(Page(1_000))
        assert [evolve(row, sealed=b"", revision=row.revision + 1) for row in before] == [
            evolve(row, sealed=b"") for row in after
        ]
        assert await store.swap(await kept(store, "007"), owner="me")
        assert (await take(store, "007")).open_attempt is False
    with pytest.raises(WrongKey):
        _ = await empty.store(cipher=Cipher([_OLD]))
    async with empty.store(cipher=Cipher([_NEW])) as store:
        assert store.store_id == store_id
        assert len(store_id) == 16
        for row in await store.rows(Page(1_000)):
            assert store.cipher.open(row.sealed, f"login:{row.login_id}") == row.login_id


async def test_resealing_goes_on_past_a_row_that_does_not_open(empty: Fleet) -> None:
    """The row stays as it is, and is named; the store itself opens with the new key alone."""
    async with empty.store(cipher=Cipher([_OLD]), migrate=True) as store:
        foreign = Cipher([_OTHER]).seal("text", "login:b")
        await fill(store, *(a_row(login_id, sealed=_sealed(store, login_id, "text")) for login_id in "ac"))
        await fill(store, a_row("b", sealed=foreign))
    async with empty.store(cipher=Cipher([_NEW, _OLD])) as store:
        assert await store.reseal() == Resealed(2, LoginNames(1, ("b",)))
        assert (await kept(store, "b")).sealed == foreign
    async with empty.store(cipher=Cipher([_NEW])):
        pass

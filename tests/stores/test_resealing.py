"""Every login and every notice is sealed anew, whatever is written meanwhile."""

from attrs import evolve

from mesh_refresh.stores import Cipher, LoginNames, NoticePage, NoticeRow, Resealed
from mesh_refresh.stores.resealing import reseal
from mesh_refresh.stores.sealing import context_of, context_of_notice
from mesh_refresh.testing.conformance.store_kit import kept
from mesh_refresh.testing.conformance.store_outbox import a_notice, claim, notify, outbox_of
from tests.stores.open_memory import OpenMemory

OLD, NEW, LOST = (Cipher.generate_key() for _ in range(3))


def notice(number: int, key: str = OLD) -> NoticeRow:
    """One of a login of its own."""
    blank = a_notice(f"{number:03}", f"login {number}")
    return evolve(blank, sealed=Cipher([key]).seal(f"text {number}", context_of_notice(blank)))


async def a_store(*notices: NoticeRow) -> OpenMemory:
    store = OpenMemory(cipher=Cipher([NEW, OLD]))
    for it in notices:
        await notify(store, it)
        row = await kept(store, it.login_id)
        sealed = Cipher([OLD]).seal(f"tokens of {it.login_id}", context_of(it.login_id))
        assert await store.swap(evolve(row, sealed=sealed))
    return store


async def test_notices_are_sealed_anew_beside_logins() -> None:
    """More than are read at once; a lease stays, and the new key alone opens them."""
    store = await a_store(*map(notice, range(205)))
    assert await claim(store, limit=1) == ["000"]
    assert await reseal(store) == Resealed(205, notices=205)
    new = Cipher([NEW])
    for it in await outbox_of(store).page(NoticePage(300)):
        assert new.open(it.sealed, context_of_notice(it)) == f"text {int(it.id)}"
    assert await outbox_of(store).take("000", "me")


async def test_a_notice_that_no_key_opens_is_named_and_left() -> None:
    """And so is one that was put in the place of another."""
    lost, moved = notice(1, LOST), evolve(notice(2), sealed=notice(3).sealed)
    store = await a_store(lost, moved, notice(4))
    assert await reseal(store) == Resealed(3, LoginNames(2, ("login 1", "login 2")), notices=1)
    assert (await outbox_of(store).page(NoticePage(2)))[0] == lost


async def test_a_login_that_is_written_meanwhile_is_sealed_as_it_is_then() -> None:
    """It is read and sealed again; one that is removed meanwhile counts no more."""
    store = await a_store(*map(notice, range(3)))
    opening, busy = store.cipher.open, iter([True])

    class Meanwhile:
        """Another process writes a login, and removes one, when the first is opened."""

        seal = store.cipher.seal

        def open(self, sealed: bytes, context: str = "") -> str:
            if next(busy, False):
                first = store.kept("login 0")
                first.row = evolve(first.row, sealed=Cipher([OLD]).seal("newer", context), revision=9)
                store.forget("login 1")
            return opening(sealed, context)

    store.cipher = Meanwhile()
    assert (await reseal(store)).number == 2
    row = await kept(store, "login 0")
    assert Cipher([NEW]).open(row.sealed, context_of("login 0")) == "newer"


async def test_a_notice_does_not_open_where_its_id_and_its_login_are_cut_elsewhere() -> None:
    """A writer of the database may give an id a colon: one of the login ``tenant:7`` would be told to ``7``."""
    theirs = a_notice("1", "tenant:7")
    theirs = evolve(theirs, sealed=Cipher([OLD]).seal("text", context_of_notice(theirs)))
    store = await a_store(evolve(theirs, id="1:tenant", login_id="7"))
    assert await reseal(store) == Resealed(1, LoginNames(1, ("7",)))

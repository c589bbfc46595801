"""Epochs name the accounts of a login. Two accounts of one epoch would be written over one another."""

import pytest
from attrs import evolve

from mesh_refresh.keeper import Login
from mesh_refresh.logins import login_to_text, with_own_epochs
from mesh_refresh.logins.epochs import have_own_epochs
from mesh_refresh.stores import MemoryStore, row_of
from mesh_refresh.stores.sealing import context_of, open_row
from mesh_refresh.testing import Replies, Sharing
from tests.keeper.making import at, made, tokens
from tests.keeper.stage import Stage

WARNING = "have one epoch"


def of_one_epoch(login: Login) -> Login:
    return evolve(login, accounts=tuple(evolve(account, epoch="same") for account in login.accounts))


async def test_accounts_of_one_epoch_are_told_apart(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A row that was written so: each account keeps what its own exchange brings."""
    login = stage.fake.login("etoro", accounts=3, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        row, stored = await stage.store.read("a"), of_one_epoch(await stage.login())
        assert row is not None
        sealed = stage.store.cipher.seal(login_to_text(stored), context_of("a"))
        assert await stage.store.swap(evolve(row, sealed=sealed))
        for number in (2, 3, 1):
            await keeper.refresh("a", f"acc-{number}")
    assert WARNING in caplog.text
    caplog.clear()
    await stage.assert_whole()


def test_what_is_written_has_epochs_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever rule made it; an error is logged, and nothing is raised: there may be a live pair in it."""
    store = MemoryStore()
    row = row_of(store.cipher, of_one_epoch(made(tokens("r-a", account="A"), tokens("r-b", account="B"))), at())
    assert [it.levelname for it in caplog.records if WARNING in it.message] == ["ERROR"]
    caplog.clear()
    assert have_own_epochs(open_row(store.cipher, row))
    assert WARNING not in caplog.text


def test_an_epoch_that_is_drawn_anew_is_the_same_each_time() -> None:
    """An attempt is made of a login that was read, and settled on one that is read again. Others stay as they are."""
    login = made(*(tokens(f"r-{name}", account=name) for name in "ABCD"))
    first, *others = login.accounts
    login = evolve(login, accounts=(first, *of_one_epoch(evolve(login, accounts=tuple(others))).accounts))
    after = with_own_epochs(login)
    assert have_own_epochs(after)
    assert [it.epoch for it in after.accounts[:2]] == [first.epoch, "same"]
    assert after == with_own_epochs(login)
    assert with_own_epochs(after) is after
    assert [it.tokens for it in after.accounts] == [it.tokens for it in login.accounts]

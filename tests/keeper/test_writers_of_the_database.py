"""What docs/security.md says of an attacker who can write to the database, and has no key."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.keeper import Reason, ReconnectNeeded
from mesh_refresh.stores import Cipher, Row, WrongKey
from tests.keeper.stage import HOUR, Stage
from tests.stores.open_memory import OpenMemory

KEY = Cipher.generate_key()


@pytest.fixture
def store(stage: Stage) -> OpenMemory:
    """Sealed; its rows can be written behind its back."""
    stage.store = found = OpenMemory(clock=stage.clock, cipher=Cipher([KEY]))
    return found


def row_of(store: OpenMemory, login_id: str) -> Row:
    found: Row = store.kept(login_id).row
    return found


def forge(store: OpenMemory, login_id: str, **columns: Any) -> None:
    """As an UPDATE does it."""
    store.kept(login_id).row = evolve(row_of(store, login_id), **columns)


async def test_a_value_of_another_login_does_not_open(stage: Stage, store: OpenMemory) -> None:
    """Nobody is answered with tokens of somebody else, and nothing of theirs is sent."""
    async with stage.keeper() as keeper:
        for login_id in ("mine", "theirs"):
            await keeper.add(login_id, stage.fake.login("coinbase").token)
        forge(store, "mine", sealed=row_of(store, "theirs").sealed)
        with pytest.raises(WrongKey):
            await keeper.tokens("mine", max_wait=timedelta())
        with pytest.raises(WrongKey):
            await keeper.refresh("mine", max_wait=timedelta())
    assert stage.sent() == 0


async def test_an_old_value_of_the_same_login_is_believed(stage: Stage, store: OpenMemory) -> None:
    """A known limit: the spent token is sent, refused, and the person must log in again; the others go on."""
    async with stage.keeper(resend_after=timedelta(0)) as keeper:
        for login_id in ("a", "b"):
            token = stage.fake.login("coinbase", access_lifetime=HOUR, revokes_on_reuse=False).token
            await keeper.add(login_id, token)
        old = row_of(store, "a").sealed
        stage.clock.advance(2 * HOUR)
        fresh = await keeper.refresh("a")
    forge(store, "a", sealed=old)
    async with stage.keeper(resend_after=timedelta(0)) as keeper:
        assert (await keeper.login("a")).account().tokens != fresh
        stage.clock.advance(HOUR)
        await keeper.refresh_due()
        await keeper.refresh_due()
        with pytest.raises(ReconnectNeeded) as caught:
            await keeper.tokens("a")
        assert caught.value.reason == Reason.REFUSED
        await keeper.refresh("b")
    assert len(stage.fake.reuses) == 2


async def test_another_broker_in_the_row_does_not_send_a_token_there(stage: Stage, store: OpenMemory) -> None:
    """The broker of the tokens is in the seal."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        forge(store, "a", broker="robinhood")
        await keeper.refresh("a")
    assert [request.broker for request in stage.fake.requests] == ["coinbase"]


async def test_a_due_time_that_is_put_back_makes_no_storm(stage: Stage, store: OpenMemory) -> None:
    """The time of the last success is in the seal."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await keeper.refresh("a")
        for _ in range(10):
            forge(store, "a", due_at=stage.now - HOUR)
            await keeper.refresh_due()
    assert stage.sent() == 1

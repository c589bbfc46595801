"""Tokens that Mesh manages: a token id and nothing to spend. The keeper answers them, and leaves them alone."""

import json
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.keeper import AccountState, Keeper, Reason, ReconnectNeeded, copy_fleet
from mesh_refresh.stores import MemoryStore
from mesh_refresh.testing import FakeLogin
from mesh_refresh.testing.fake.options import Sharing
from tests.keeper.stage import HOUR, Stage


def managed_login(stage: Stage, **choices: Any) -> FakeLogin:
    return stage.fake.login("coinbase", token_ids=True, refreshable=False, named=True, **choices)


async def assert_left_alone(stage: Stage, keeper: Keeper) -> None:
    """Nothing is sent, told, due or expired, and a rejected token changes nothing."""
    outbox = stage.store.outbox
    assert outbox is not None
    for _ in range(3):
        stage.clock.advance(100 * HOUR)
        await keeper.refresh_due()
    row = await stage.store.read("a")
    assert row is not None
    assert (row.states, row.due_at, row.expires_at) == (frozenset({"managed"}), None, None)
    tokens = await keeper.tokens("a", valid_for=HOUR)
    assert tokens.auth_token == tokens.token_id
    for ask in (keeper.tokens("a", rejected=tokens), keeper.refresh("a")):
        with pytest.raises(ReconnectNeeded) as needed:
            await ask
        assert needed.value.reason is Reason.NOT_REFRESHABLE
    assert await stage.store.read("a") == row
    assert not stage.sent()
    assert (await outbox.counts()).waiting == 0
    assert not stage.notes.all
    summary = await keeper.summary()
    assert (summary.states, summary.expired, summary.due) == ({AccountState.MANAGED: 1}, 0, 0)
    assert keeper.health().ok


@pytest.mark.parametrize("lifetime", [HOUR, None])
async def test_they_are_kept_and_answered_for_ever(stage: Stage, lifetime: Any) -> None:
    """Whatever the end that Link told of them: Mesh renews what they stand for."""
    login = managed_login(stage, access_lifetime=lifetime)
    payload = json.loads(json.dumps(login.link_payload()))
    async with stage.keeper(keep_alive=10 * HOUR) as keeper:
        await keeper.add("a", Tokens.from_link(payload, obtained_at=stage.now))
        await assert_left_alone(stage, keeper)
        assert (await keeper.add("a", Tokens.from_link(payload, obtained_at=stage.now))).unchanged
        assert [it.login_id async for it in keeper.logins(state="managed")] == ["a"]
        assert (await keeper.login("a")).to_link()[0]["accessToken"] == login.token.token_id


async def test_they_are_carried_to_another_store(stage: Stage) -> None:
    """A copy leaves them as they are."""
    async with stage.keeper() as keeper:
        await keeper.add("a", managed_login(stage).token)
    old, stage.store = stage.store, MemoryStore(clock=stage.clock)
    await copy_fleet(old, stage.store)
    async with stage.keeper() as keeper:
        await assert_left_alone(stage, keeper)


async def test_a_refresh_token_makes_the_account_active_for_good(stage: Stage) -> None:
    """By `add`, and a later payload with a token id alone takes it not away."""
    login = stage.fake.login("coinbase", token_ids=True, named=True)
    bare = evolve(login.token, refresh_token=None, refresh_token_expires_at=None, token_id="fake-id-of-mesh")
    async with stage.keeper() as keeper:
        await keeper.add("a", bare)
        assert (await stage.account()).state is AccountState.MANAGED
        assert (await keeper.add("a", login.token)).replaced
        account = await stage.account()
        assert (account.state, account.due_at is None) == (AccountState.ACTIVE, False)
        assert (await keeper.refresh("a")).token_id == login.live[0].token_id
        await keeper.add("a", evolve(bare, token_id="fake-id-of-mesh-2"))
        account = await stage.account()
        assert (account.state, account.tokens.refresh_token) == (AccountState.ACTIVE, login.live[0].refresh_token)


async def test_a_reply_can_make_a_managed_account_active(stage: Stage) -> None:
    """Where it lists the account with a refresh token, after a sibling was refreshed."""
    login = stage.fake.login("coinbase", accounts=2, sharing=Sharing.PAIR_EACH, token_ids=True)
    first, second = login.tokens
    managed = evolve(second, refresh_token=None, refresh_token_expires_at=None)
    async with stage.keeper() as keeper:
        await keeper.add("a", (first, managed))
        assert [it.state for it in (await stage.login()).accounts] == [AccountState.ACTIVE, AccountState.MANAGED]
        await keeper.refresh("a", first.account_id)
        states = [it.state for it in (await stage.login()).accounts]
    assert states == [AccountState.ACTIVE, AccountState.ACTIVE]
    await stage.assert_whole()


async def test_a_managed_account_does_not_make_its_siblings_managed(stage: Stage) -> None:
    """Each account of a login has its own state: a sibling that has ended is told, and the managed one is answered."""
    ends = stage.fake.login("eTrade", access_lifetime=HOUR, named=True).token
    managed = evolve(ends, access_token=None, token_id="fake-id", account_id="other", mesh_account_id=None)
    async with stage.keeper() as keeper:
        await keeper.add("a", (ends, managed))
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        login = await stage.login()
        assert [it.state for it in login.accounts] == [AccountState.RECONNECT_REQUIRED, AccountState.MANAGED]
        assert login.state is AccountState.RECONNECT_REQUIRED
        assert (await keeper.tokens("a", "other")).token_id == "fake-id"

"""Access-only logins that a strategy makes refreshable: states, lineage and sharing go by what an exchange spends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import DefaultStrategy, MeshClient, Tokens
from mesh_refresh.keeper import AccountState, Keeper, NotReadyInTime, Policy, Reason, ReconnectNeeded
from mesh_refresh.stores import MemoryStore
from mesh_refresh.testing import ManualClock
from tests.access_broker import BROKER, PLACEHOLDER, AccessBroker, SpendsAccessTokens
from tests.keeper.stage import HOUR, MINUTE, NOTHING


class Scene:
    """A keeper's surroundings, with that broker behind it."""

    def __init__(self) -> None:
        self.clock, self.broker = ManualClock(), AccessBroker()
        self.store = MemoryStore(clock=self.clock)

    @asynccontextmanager
    async def keeper(self, strategy: Any = None) -> AsyncIterator[Keeper]:
        strategies = {BROKER: SpendsAccessTokens() if strategy is None else strategy}
        policy = Policy(poll=timedelta(milliseconds=10))
        async with (
            MeshClient(
                "fake-id", "fake-secret", transport=self.broker, strategies=strategies, clock=self.clock
            ) as mesh,
            Keeper(mesh, self.store, policy=policy, background=False) as keeper,
        ):
            yield keeper

    async def hours(self, keeper: Keeper, count: float) -> None:
        for _ in range(int(count * HOUR / MINUTE)):
            self.clock.advance(MINUTE)
            await keeper.refresh_due()

    async def account(self, account_id: str | None = None) -> Any:
        login = await self.store.get("a")
        assert login is not None
        return login.account(account_id)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def for_an_hour(scene: Scene, tokens: Tokens, **more: Any) -> Tokens:
    now = scene.clock.now()
    return evolve(tokens, obtained_at=now, expires_at=now + HOUR, **more)


@pytest.mark.parametrize("placeholder", [None, PLACEHOLDER])
async def test_it_is_kept_fresh(scene: Scene, placeholder: str | None) -> None:
    """By the loop, on demand, and for somebody whose token was refused; no spent token is ever sent."""
    async with scene.keeper() as keeper:
        await keeper.add("a", for_an_hour(scene, scene.broker.login("anna"), refresh_token=placeholder))
        assert (await scene.account()).state is AccountState.ACTIVE
        await scene.hours(keeper, 3)
        fresh = await keeper.tokens("a")
        assert fresh.access_token in scene.broker.live
        assert 3 <= len(scene.broker.sent) <= 8
        again = await keeper.tokens("a", rejected=fresh)
        assert again.access_token != fresh.access_token
        assert (await keeper.refresh("a")).access_token in scene.broker.live
    assert scene.broker.reuses == []
    account = await scene.account()
    assert (account.state, account.failures, account.tokens.refresh_token) == (AccountState.ACTIVE, 0, placeholder)
    assert account.produced_by > 0


async def test_what_was_added_once_is_no_news(scene: Scene) -> None:
    """A start-up that adds what it once stored changes nothing; a new login of the person does, under the same word."""
    first = for_an_hour(scene, scene.broker.login("anna"), refresh_token=PLACEHOLDER)
    async with scene.keeper() as keeper:
        await keeper.add("a", first)
        await keeper.refresh("a")
        assert not (await keeper.add("a", first)).changed
        anew = for_an_hour(scene, scene.broker.login("anna"), refresh_token=PLACEHOLDER)
        assert (await keeper.add("a", anew)).replaced == (None,)
        assert (await keeper.tokens("a")).access_token == anew.access_token
        await scene.hours(keeper, 2)
    assert scene.broker.reuses == []


async def test_an_unknown_outcome_is_waited_out(scene: Scene) -> None:
    """The spent token is sent once more after the wait, and its refusal ends with that reason."""
    scene.broker.cut = 1
    async with scene.keeper() as keeper:
        await keeper.add("a", for_an_hour(scene, scene.broker.login("anna")))
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=NOTHING + MINUTE)
        account = await scene.account()
        assert account.unknown_since is not None
        assert account.resend_not_before > scene.clock.now()
        await scene.hours(keeper, 2)
        with pytest.raises(ReconnectNeeded) as caught:
            await keeper.tokens("a")
    assert caught.value.reason is Reason.REFUSED_AFTER_UNKNOWN
    assert len(scene.broker.sent) == 2


async def test_accounts_with_one_access_token(scene: Scene) -> None:
    """A sibling that has the token which was spent takes what came after it, also where the reply leaves it out."""
    shared = for_an_hour(scene, scene.broker.login("anna"))
    scene.broker.named = ("acc-1",)
    async with scene.keeper() as keeper:
        await keeper.add("a", (evolve(shared, account_id="acc-1"), evolve(shared, account_id="acc-2")))
        await keeper.refresh("a", "acc-1")
        tokens = {(await scene.account(name)).tokens.access_token for name in ("acc-1", "acc-2")}
        assert tokens == set(scene.broker.live)
        await keeper.refresh("a", "acc-2")
        await scene.hours(keeper, 3)
    assert scene.broker.reuses == []


async def test_a_new_strategy_wakes_what_could_not_be_refreshed(scene: Scene) -> None:
    """A login that was kept as not refreshable is refreshed once its strategy knows how."""
    async with scene.keeper(DefaultStrategy()) as keeper:
        await keeper.add("a", for_an_hour(scene, scene.broker.login("anna")))
        assert (await scene.account()).state is AccountState.NOT_REFRESHABLE
        await scene.hours(keeper, 0.5)
    async with scene.keeper() as keeper:
        await scene.hours(keeper, 1)
        assert (await keeper.tokens("a")).access_token in scene.broker.live
    assert (await scene.account()).state is AccountState.ACTIVE


class Raises(SpendsAccessTokens):
    """Its `credential` raises for tokens that it does not like."""

    def credential(self, tokens: Tokens) -> str | None:
        raise LookupError


async def test_a_credential_that_raises_stops_nobody(scene: Scene) -> None:
    """It is kept, answered while it is good, and then ends with a stated reason."""
    tokens = for_an_hour(scene, scene.broker.login("anna"))
    async with scene.keeper(Raises()) as keeper:
        await keeper.add("a", tokens)
        assert (await keeper.tokens("a")).access_token == tokens.access_token
        await scene.hours(keeper, 2)
        with pytest.raises(ReconnectNeeded):
            await keeper.tokens("a")
    assert scene.broker.sent == []

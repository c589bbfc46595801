"""The connection to PostgreSQL lost at any verb: a caller is told, and the keeper goes on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import MeshRefreshError, RetryPolicy
from mesh_refresh.keeper import Keeper, NotReadyInTime
from mesh_refresh.stores import Cipher, StoreUnavailable
from mesh_refresh.testing import FakeLogin
from tests.keeper.processes.losing import MOMENTS, LosingStore, Moment
from tests.keeper.processes.postgres import Server, new_schema
from tests.keeper.processes.scene import Scene, until
from tests.keeper.processes.test_two_keepers import add_run_out
from tests.keeper.processes.worker import policy_of
from tests.stores.postgres.postgres_handles import OpenPostgres

pytestmark = pytest.mark.once

MANY = 5
Call = Callable[[Keeper, FakeLogin], Awaitable[Any]]


@asynccontextmanager
async def losing(scene: Scene, server: Server, *, background: bool) -> AsyncIterator[tuple[Keeper, LosingStore]]:
    """A keeper in this process, on a store that loses its connection."""
    retry = RetryPolicy(deadline=timedelta(seconds=scene.deadline))
    async with (
        scene.fake.client(retry=retry) as mesh,
        LosingStore.open(scene.where, cipher=Cipher([scene.key]), timeout=timedelta(seconds=scene.busy)) as store,
    ):
        await store.begin(server.url("").partition("&schema")[0])
        async with Keeper(mesh, store, policy=policy_of(scene.policy), background=background) as keeper:
            yield keeper, store


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("statement", ["claim", "swap", "read"])
async def test_the_loop_goes_on(postgres_scene: Scene, server: Server, statement: str, moment: Moment) -> None:
    """Three times in a row; what was claimed unseen is found open, and what was written unseen is found written."""
    scene = postgres_scene
    await scene.add(scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(MANY))
    async with losing(scene, server, background=True) as (keeper, store):
        await scene.fake.received(MANY)
        if statement == "read":
            store.lose("swap", "after", 3)  # who does not know whether a write was done, looks
        store.lose(statement, moment, 3)
        await until(lambda: store.all_lost)
        await scene.fake.received(len(scene.fake.requests) + 2 * MANY)
        await until(lambda: keeper.health().ok)
    await scene.assert_whole()
    assert scene.fake.exchanges["succeeded"] == len(scene.fake.requests)


async def test_a_worker_whose_network_is_gone_holds_up_nobody_for_long(postgres_scene: Scene, server: Server) -> None:
    """Over TCP, the server ends what it gets no answer from, and does not wait until the system gives up."""
    url, cipher = server.tcp_url(new_schema()), Cipher([postgres_scene.key])
    async with OpenPostgres.open(url, cipher=cipher, migrate=True) as store:
        shown = "SHOW tcp_user_timeout"
        assert await store.fetchval(shown) == "30000"


CALLS: dict[str, tuple[str, Call]] = {
    "login": ("read", lambda keeper, login: keeper.login(login.id)),
    "tokens, looking": ("read", lambda keeper, login: keeper.tokens(login.id)),
    "tokens, asking for a pause": ("paused", lambda keeper, login: keeper.tokens(login.id)),
    "tokens, claiming": ("claim_one", lambda keeper, login: keeper.tokens(login.id)),
    "pause": ("pause", lambda keeper, login: keeper.pause("kraken")),
    "resume": ("resume", lambda keeper, login: keeper.resume("kraken")),
    "summary": ("counts", lambda keeper, login: keeper.summary()),
    "refresh_due": ("claim", lambda keeper, login: keeper.refresh_due()),
    "add": ("insert", lambda keeper, login: keeper.add("another", login.token)),
    "add, anew": ("swap", lambda keeper, login: keeper.add(login.id, login.token)),
    "remove": ("delete", lambda keeper, login: keeper.remove("kraken's")),
    "logins": ("rows", lambda keeper, login: _listed(keeper)),
}


async def _listed(keeper: Keeper) -> list[str]:
    return [login.login_id async for login in keeper.logins()]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", CALLS)
async def test_a_caller_is_told_and_asks_again(
    postgres_scene: Scene, server: Server, name: str, moment: Moment
) -> None:
    """By the store's own error, or as tokens that are not ready; asked again, it is as if nothing had been."""
    scene, (statement, call) = postgres_scene, CALLS[name]
    login = scene.fake.login("coinbase", revokes_on_reuse=True, access_lifetime=timedelta(minutes=10))
    await add_run_out(scene, login)
    async with losing(scene, server, background=False) as (keeper, store):
        if name == "add, anew":
            login.again()
        store.lose(statement, moment)
        with pytest.raises((StoreUnavailable, NotReadyInTime)) as told:
            await call(keeper, login)
        assert store.all_lost
        assert isinstance(told.value, MeshRefreshError)
        await call(keeper, login)
        tokens = await keeper.tokens(login.id, max_wait=timedelta(seconds=20))
    assert scene.fake.is_live(tokens.access_token)
    await scene.assert_whole()
    assert len(scene.fake.requests) == scene.fake.exchanges["succeeded"] <= 1

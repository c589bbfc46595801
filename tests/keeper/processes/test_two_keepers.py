"""Several keeper processes on one store."""

import asyncio
from datetime import timedelta

import pytest
from attrs import evolve

from mesh_refresh.keeper import Keeper
from mesh_refresh.testing import FakeLogin
from tests.keeper.processes.scene import Scene

pytestmark = pytest.mark.once

CALLERS = 200


@pytest.fixture(autouse=True)
def patient(any_scene: Scene) -> None:
    """No process dies here, so that nothing has to run out: on a busy machine a reply may take more than a second."""
    any_scene.deadline = 20.0
    any_scene.policy |= {"lease": 30.0, "drain": 20.0}


@pytest.mark.parametrize("keepers", [2, 3])
async def test_keepers_on_one_store_share_the_work_and_no_login(any_scene: Scene, keepers: int) -> None:
    """No login is refreshed by two at once, nor again by another: a spent token is never sent."""
    scene = any_scene
    logins = [scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(60)]
    await scene.add(logins)
    workers = await asyncio.gather(*(scene.worker(go=False) for _ in range(keepers)))
    await asyncio.gather(*(worker.go() for worker in workers))
    await scene.fake.received(200)
    assert [await worker.end() for worker in workers] == [0] * keepers
    await scene.assert_whole()
    shares = scene.shares()
    assert set(shares) == {worker.name for worker in workers}
    assert min(shares.values()) * 10 > sum(shares.values()) / keepers, shares
    # Each token was sent once, so that as many were spent as were sent.
    assert len({request.refresh_token for request in scene.fake.requests}) == len(scene.fake.requests)
    assert scene.fake.exchanges["succeeded"] == len(scene.fake.requests)


@pytest.mark.parametrize("background", [False, True])
async def test_a_crowd_in_two_processes_is_one_exchange(any_scene: Scene, background: bool) -> None:
    """Two hundred tasks want the tokens of one login, which have run out; with a loop that wants them too."""
    scene = any_scene
    login = scene.fake.login("coinbase", revokes_on_reuse=True, access_lifetime=timedelta(minutes=10))
    await add_run_out(scene, login)
    workers = [await scene.worker(go=False, background=background) for _ in range(2)]
    await asyncio.gather(*(worker.go() for worker in workers))
    orders = [(worker, await worker.order("tokens", login=login.id)) for _ in range(CALLERS // 2) for worker in workers]
    answers = [await worker.told("answer", id=order) for worker, order in orders]
    assert {answer["error"] for answer in answers} == {None}
    assert len(scene.fake.requests) == 1
    assert [await worker.end() for worker in workers] == [0, 0]
    await scene.assert_whole()


async def add_run_out(scene: Scene, login: FakeLogin) -> None:
    """Into the store, with an access token that ended a moment ago."""
    now = scene.fake.clock.now()
    tokens = evolve(login.token, obtained_at=now - timedelta(hours=1), expires_at=now)
    async with scene.fake.client() as mesh, Keeper(mesh, scene.store, background=False) as keeper:
        await keeper.add(login.id, tokens)

"""Several keeper processes on one SQLite file."""

import asyncio

import pytest

from tests.keeper.processes.scene import Scene


@pytest.mark.parametrize("keepers", [2, 3])
async def test_keepers_on_one_file_share_the_work_and_no_login(scene: Scene, keepers: int) -> None:
    """No login is refreshed by two at once, nor again by another: a spent token is never sent."""
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

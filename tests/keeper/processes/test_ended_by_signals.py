"""A process that is told to end, with requests out: it drains, whichever way the keeper is run."""

import signal

import pytest

from mesh_refresh.keeper import AccountState
from tests.keeper.processes.scene import Scene

MANY = 5


@pytest.mark.parametrize("after_rotation", [False, True])
@pytest.mark.parametrize("runs", [False, True], ids=["async with", "run()"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_is_told_to_end_drains(
    scene: Scene, number: signal.Signals, runs: bool, after_rotation: bool
) -> None:
    """What is out is waited for and written, and its lease is given back."""
    await scene.add(scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(MANY))
    scene.deadline = 4.0
    scene.policy["lease"] = 5.0
    gate = scene.fake.hold(after_rotation=after_rotation, times=MANY)
    worker = await scene.worker(runs=runs)
    await gate.arrivals(MANY)
    worker.signal(number)
    if not runs:
        await worker.told("leaving")
    gate.release()
    assert await worker.over() == 0
    assert len(scene.fake.requests) == MANY
    await scene.assert_whole()
    assert {account.state for _, account in await scene.accounts()} == {AccountState.ACTIVE}
    assert await scene.leased() == 0


@pytest.mark.parametrize("orders", ["end", "eof"])
async def test_a_body_that_is_over_early_drains_too(scene: Scene, orders: str) -> None:
    """``async with Keeper`` is left while requests are out, without any signal."""
    await scene.add(scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(MANY))
    gate = scene.fake.hold(after_rotation=True, times=MANY)
    worker = await scene.worker()
    await gate.arrivals(MANY)
    if orders == "end":
        await worker.order("end")
    else:
        assert worker.process.stdin is not None
        worker.process.stdin.close()
    await worker.told("leaving")
    gate.release()
    assert await worker.over() == 0
    await scene.assert_whole()
    assert await scene.leased() == 0


async def test_what_waits_for_a_caller_ends_with_a_word(scene: Scene) -> None:
    """A caller in a process that is told to end is cancelled as any task is; the exchange it waits for is not."""
    login = scene.fake.login("coinbase", revokes_on_reuse=True)
    await scene.add([login])
    gate = scene.fake.hold(after_rotation=True)
    worker = await scene.worker(background=False)
    await worker.order("refresh", login=login.id)
    await gate.entered.wait()
    worker.signal(signal.SIGTERM)
    await worker.told("leaving")
    gate.release()
    assert await worker.over() == 0
    await scene.assert_whole()
    assert await scene.leased() == 0

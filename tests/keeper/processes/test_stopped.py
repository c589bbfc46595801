"""A keeper process that stands still (SIGSTOP) while its lease runs out, and goes on later."""

import signal
from typing import Any

import pytest

from mesh_refresh.keeper import AccountState, Reason
from mesh_refresh.testing import FakeLogin
from tests.keeper.processes.handle import Worker
from tests.keeper.processes.scene import Scene, until
from tests.keeper.processes.traps import Point, Trap

pytestmark = pytest.mark.once

LOOKS_ONCE: dict[str, Any] = {"policy": {"poll": 30.0}}
"""For a process that looks once, at its start, and no more: what it sends afterwards is sent under its first lease."""


async def one_login(scene: Scene, broker: str = "coinbase", **choices: bool) -> FakeLogin:
    login = scene.fake.login(broker, **choices)  # type: ignore[arg-type]
    await scene.add([login])
    await until(scene.due)
    return login


async def taken_over(scene: Scene, login: FakeLogin) -> Worker:
    """A second keeper, which has found the open attempt of the first."""
    other = await scene.worker()
    await other.until(lambda it: any(login.id in note["open"] for note in it.of("claimed")))
    return other


@pytest.mark.parametrize("point", ["claimed", "connected"])
async def test_a_process_stopped_past_its_lease_sends_nothing_under_it(scene: Scene, point: Point) -> None:
    """Stopped with a claim in hand, before the bytes; somebody else has refreshed the login since."""
    login = await one_login(scene, revokes_on_reuse=True)
    stopped = await scene.worker(trap=Trap(point, signal.SIGSTOP), **LOOKS_ONCE)
    await stopped.stopped()
    other = await taken_over(scene, login)
    await other.told("event", what="AccountRefreshed")
    stopped.go_on()
    await stopped.told("written")  # the lease went back, or was found to be somebody else's
    assert await stopped.end() == 0
    assert not scene.requests_of(stopped)
    assert await other.end() == 0
    await scene.assert_whole()


@pytest.mark.parametrize("point", ["claimed", "connected"])
async def test_nor_while_another_process_has_the_login_under_way(scene: Scene, point: Point) -> None:
    login = await one_login(scene, revokes_on_reuse=True)
    stopped = await scene.worker(trap=Trap(point, signal.SIGSTOP), **LOOKS_ONCE)
    await stopped.stopped()
    gate = scene.fake.hold()
    other = await taken_over(scene, login)
    await gate.entered.wait()
    stopped.go_on()
    await stopped.told("written")
    assert await stopped.end() == 0
    gate.release()
    await other.told("event", what="AccountRefreshed")
    assert await other.end() == 0
    assert not scene.requests_of(stopped)
    await scene.assert_whole()


async def test_nor_where_nobody_has_taken_it_over(scene: Scene) -> None:
    """Its lease has run out by the clock: that nobody came for the login makes no difference."""
    await one_login(scene)
    stopped = await scene.worker(trap=Trap("connected", signal.SIGSTOP), **LOOKS_ONCE)
    await stopped.stopped()
    await until(scene.leased, lambda leased: leased == 0)
    stopped.go_on()
    await stopped.told("written")  # the lease went back, or was found to be somebody else's
    assert await stopped.end() == 0
    assert not scene.requests_of(stopped)
    await scene.assert_whole()


async def answered_while_stopped(scene: Scene) -> Worker:
    """A keeper that was stopped with its request out, whose reply waits in its socket."""
    gate = scene.fake.hold(after_rotation=True)
    stopped = await scene.worker(**LOOKS_ONCE)
    await gate.entered.wait()
    await stopped.stop()
    gate.release()
    await scene.fake.idle()
    return stopped


async def test_a_late_pair_is_written_while_the_spent_token_is_still_the_stored_one(scene: Scene) -> None:
    """The other keeper only waits: the new pair comes in time, and the spent token is never sent."""
    login = await one_login(scene, revokes_on_reuse=True)
    scene.policy["resend_after"] = 20.0
    stopped = await answered_while_stopped(scene)
    other = await taken_over(scene, login)
    await scene.until_stored(lambda found: found[0][1].unknown_since is not None)
    stopped.go_on()
    await stopped.told("committed", login=login.id)
    assert await stopped.end() == 0
    assert await other.end() == 0
    account = await scene.account(login)
    assert account.state is AccountState.ACTIVE
    assert account.unknown_since is None
    await scene.assert_whole()


async def test_a_late_pair_brings_a_parked_account_back(scene: Scene) -> None:
    """The wait was too short: the other one has sent the spent token, and was refused. Nothing is lost all the same."""
    login = await one_login(scene)
    stopped = await answered_while_stopped(scene)
    other = await taken_over(scene, login)
    await other.told("event", what="ReconnectRequired", reason=Reason.REFUSED_AFTER_UNKNOWN)
    stopped.go_on()
    await stopped.told("committed", login=login.id)
    await stopped.end()
    assert (await scene.account(login)).state is AccountState.ACTIVE
    assert not await scene.lost()
    assert await other.ask("refresh", login=login.id) == {**other.notes[-1], "error": None}
    await other.end()
    assert not await scene.lost()


async def test_a_late_reply_of_a_broker_that_does_not_rotate_overwrites_nothing_newer(scene: Scene) -> None:
    login = await one_login(scene, rotates=False)
    stopped = await answered_while_stopped(scene)
    other = await taken_over(scene, login)
    await other.told("committed", login=login.id)
    assert await other.end() == 0
    newest = (await scene.account(login)).tokens.access_token
    stopped.go_on()
    assert await stopped.end() == 0
    assert (await scene.account(login)).tokens.access_token == newest
    assert not await scene.lost()

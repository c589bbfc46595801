"""A keeper process that is killed, at any time and at points that were picked; `nox -s crashes` does it for longer."""

import signal
from pathlib import Path

import pytest

from mesh_refresh.keeper import AccountState, Reason
from tests.keeper.processes import crashes
from tests.keeper.processes.scene import Scene
from tests.keeper.processes.traps import Point, Trap

pytestmark = pytest.mark.once


async def test_kills_lose_nothing_but_what_they_cut(tmp_path: Path) -> None:
    """Eight kills of a fleet of every kind; what was cut between rotation and commit ends with a stated reason."""
    book = await crashes.run(tmp_path, kills=8, seed=1)
    assert sum(book.kinds.values()) - book.drained == 8
    assert book.windows
    assert book.cut.total() <= book.in_flight


@pytest.mark.parametrize("point", ["claimed", "connected", "bytes"])
async def test_a_kill_before_the_bytes_costs_nothing(scene: Scene, point: Point) -> None:
    login = scene.fake.login("coinbase", revokes_on_reuse=True)
    await scene.add([login])
    assert await (await scene.worker(trap=Trap(point))).over() == -signal.SIGKILL
    following = await scene.worker()
    await following.told("event", what="AccountRefreshed")
    assert await following.end() == 0
    await scene.assert_whole()


@pytest.mark.parametrize("point", ["reply", "settle"])
async def test_a_kill_before_the_commit_ends_with_a_reason(scene: Scene, point: Point) -> None:
    """The one loss that nobody can prevent: the spent token is sent once more, refused, and no more."""
    login = scene.fake.login("coinbase")
    await scene.add([login])
    assert await (await scene.worker(trap=Trap(point))).over() == -signal.SIGKILL
    following = await scene.worker()
    await following.told("event", what="ReconnectRequired", reason=Reason.REFUSED_AFTER_UNKNOWN)
    answer = await following.ask("tokens", login=login.id)
    assert await following.end() == 0
    assert (answer["error"], answer["reason"]) == ("ReconnectNeeded", Reason.REFUSED_AFTER_UNKNOWN)
    assert len(scene.fake.requests) == 2
    assert (await scene.account(login)).tokens.refresh_token is not None


async def test_a_kill_between_a_settle_and_its_notice_loses_no_notice(scene: Scene) -> None:
    """The next process with a handler tells it, and what came after it."""
    login = scene.fake.login("coinbase")
    await scene.add([login])
    login.revoke()
    worker = await scene.worker(policy={"confirm_after": 0.0})
    await worker.told("event", what="ReconnectRequired")
    await worker.kill()
    following = await scene.worker(notices=True, background=False)
    await following.told("notice", what="reconnect_required", login=login.id)
    login.again()
    await scene.add([login])
    await following.told("notice", what="recovered", login=login.id)
    assert await following.end() == 0


async def test_a_kill_after_the_commit_costs_nothing(scene: Scene) -> None:
    login = scene.fake.login("coinbase", revokes_on_reuse=True)
    await scene.add([login])
    assert await (await scene.worker(trap=Trap("committed"))).over() == -signal.SIGKILL
    await scene.assert_whole()


async def test_a_kill_while_a_code_is_out_sends_no_second_code(scene: Scene) -> None:
    """Nobody knows whether the code was used up: the question counts as answered, and another one can be asked."""
    login = scene.fake.login("vanguard", mfa=True)
    await scene.add([login])
    worker = await scene.worker(trap=Trap("reply", after=2))
    await worker.told("event", what="MfaNeeded")
    await worker.order("code", login=login.id, code=login.code)
    assert await worker.over() == -signal.SIGKILL
    following = await scene.worker()
    refused = await following.ask("code", login=login.id, code=login.code)
    assert refused["error"] is not None
    assert len(scene.fake.requests) == 2
    asked = await following.ask("restart", login=login.id)
    assert asked["error"] in (None, "ReconnectNeeded"), asked
    assert await following.end() == 0
    codes = [request for request in scene.fake.requests if request.body.get("mfaCode")]
    assert len(codes) == 1
    account = await scene.account(login)
    assert account.state is AccountState.RECONNECT_REQUIRED or not await scene.lost()


@pytest.mark.parametrize("delay", [0.0, 0.005])
async def test_adding_in_a_group_that_is_killed_is_repeated_without_harm(scene: Scene, delay: float) -> None:
    """A group is one transaction: the store has all of it or nothing. Repeated, it adds the rest."""
    logins = [scene.fake.login("coinbase") for _ in range(200)]
    path = str(scene.written_down(logins))
    worker = await scene.worker(trap=Trap("insert", delay=delay))
    await worker.order("add many", path=path)
    assert await worker.over() == -signal.SIGKILL
    done = len(await scene.accounts())
    assert done in (0, 200)
    following = await scene.worker()
    assert (await following.ask("add many", path=path))["result"] == 200 - done
    assert await following.end() == 0
    assert len(await scene.accounts()) == 200


async def test_adding_that_is_killed_is_repeated_without_harm(scene: Scene) -> None:
    """A start-up adds what Link once handed over, while the loop refreshes; killed in between, and done again."""
    logins = [scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(40)]
    path = str(scene.written_down(logins))
    worker = await scene.worker(trap=Trap("insert", after=25))
    await worker.order("add", path=path)
    assert await worker.over() == -signal.SIGKILL
    assert len(await scene.accounts()) < 40
    following = await scene.worker()
    await following.ask("add", path=path)
    again = await following.ask("add", path=path)
    assert again["result"] == 0
    assert await following.end() == 0
    assert len(await scene.accounts()) == 40
    # The first process may have been killed with exchanges cut: those, and no others, are lost.
    sent = {request.login for request in scene.requests_of(worker)}
    assert {item.login for item in await scene.lost()} <= sent

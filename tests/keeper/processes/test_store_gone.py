"""The store gone in the middle of rotations: what was rotated is spooled, and lands."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import frozen

from mesh_refresh.keeper import AccountState
from mesh_refresh.testing import FakeLogin
from tests.keeper.processes.handle import Worker
from tests.keeper.processes.postgres import Mode, Server
from tests.keeper.processes.scene import Scene, open_scene, until
from tests.keeper.processes.worker import NOT_SAVED

pytestmark = pytest.mark.once

MANY = 8
LONG = {"lease": 5.0, "resend_after": 0.4}
SLOW = 4.0
"""The deadline here: nobody's request is cut by it while the test looks around."""


@pytest.fixture(params=["sqlite", "postgres", "postgres crash"])
def place(request: pytest.FixtureRequest) -> "Place":
    """A store that can be gone: a file that another program has locked, or a server that is stopped."""
    if request.param == "sqlite":
        return Place(request.getfixturevalue("scene"))
    mode: Mode = "fast" if request.param == "postgres" else "immediate"
    return Place(request.getfixturevalue("postgres_scene"), request.getfixturevalue("server"), mode)


GONE = pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
"""Where it is not about the moment at which connections end: two ways of being gone, not three."""


@frozen
class Place:
    scene: Scene
    server: Server | None = None
    mode: Mode = "fast"

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[None]:
        """The store is gone in here."""
        if self.server is not None:
            async with self.server.gone(self.mode):
                yield
            return
        connection = sqlite3.connect(self.scene.where, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")
        finally:
            connection.close()


async def rotated(scene: Scene) -> tuple[list[FakeLogin], Worker, Callable[[], None]]:
    """A keeper with all of its logins rotated at the broker, and the replies not there yet."""
    scene.deadline = SLOW
    scene.policy |= LONG
    logins = [scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(MANY)]
    await scene.add(logins)
    gate = scene.fake.hold(after_rotation=True, times=MANY)
    worker = await scene.worker()
    await gate.arrivals(MANY)
    return logins, worker, gate.release


async def all_spooled(scene: Scene) -> None:
    await until(lambda: scene.spooled == MANY)


async def all_landed(scene: Scene) -> None:
    """Every new pair is in the store, and the spool is empty. While a keeper goes on, the next may be under way."""
    await until(scene.lost, lambda lost: not lost)
    await until(lambda: scene.spooled == 0)


async def test_a_process_that_lives_on_writes_the_pairs_when_the_store_is_back(place: Place) -> None:
    scene = place.scene
    _, worker, release = await rotated(scene)
    async with place.gone():
        release()
        await all_spooled(scene)
        # Nobody is answered with what is spent, and it is not sent.
        assert len(scene.fake.requests) == MANY
    await all_landed(scene)
    assert await worker.end() == 0
    await scene.assert_whole()


@GONE
async def test_a_process_that_is_told_to_end_leaves_the_pairs_to_the_next(place: Place) -> None:
    """SIGTERM while the store is gone: it ends in time, says what was not saved, and the next start writes it."""
    scene = place.scene
    logins, worker, release = await rotated(scene)
    async with place.gone():
        release()
        await all_spooled(scene)
        assert await worker.end() == NOT_SAVED
        assert scene.spooled == MANY
    await lands_and_goes_on(scene, logins)


async def test_a_process_that_is_killed_after_spooling_leaves_them_too(place: Place) -> None:
    scene = place.scene
    logins, worker, release = await rotated(scene)
    async with place.gone():
        release()
        await all_spooled(scene)
        await worker.kill()
    await lands_and_goes_on(scene, logins)


async def lands_and_goes_on(scene: Scene, logins: list[FakeLogin]) -> None:
    following = await scene.worker()
    await all_landed(scene)
    # The leases of the one before run out in their own time; then all is refreshed as if nothing had been.
    await scene.fake.received(2 * MANY)
    await until(lambda: scene.fake.exchanges["succeeded"] >= 2 * MANY)
    assert await following.end() == 0
    await scene.assert_whole()
    assert {account.state for _, account in await scene.accounts()} == {AccountState.ACTIVE}


@GONE
async def test_what_is_spooled_is_known_to_nobody_else_but_is_not_sent_either(place: Place) -> None:
    """Another keeper takes over while the pairs are in a dead process's spool, and waits: the next start has time."""
    scene = place.scene
    _, worker, release = await rotated(scene)
    scene.policy["resend_after"] = 20.0
    async with place.gone():
        release()
        await all_spooled(scene)
        await worker.kill()
    other = await scene.worker(spool=str(scene.folder / "another spool"))
    await other.until(lambda it: sum(len(note["open"]) for note in it.of("claimed")) >= MANY)
    following = await scene.worker()
    await all_landed(scene)
    assert [await it.end() for it in (other, following)] == [0, 0]
    await scene.assert_whole()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGKILL])
async def test_a_file_that_cannot_grow_loses_nothing(scene: Scene, end: signal.Signals | None) -> None:
    """As on a full disk: SQLite cannot write, and smaller files can be."""
    logins, worker, release = await rotated(scene)
    pid = worker.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, most))
    release()
    await all_spooled(scene)
    if end is None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, most))
        await all_landed(scene)
        assert await worker.end() == 0
        await scene.assert_whole()
        return
    worker.signal(end)
    assert await worker.over() in (NOT_SAVED, -signal.SIGKILL)
    await lands_and_goes_on(scene, logins)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root mounts")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("killed", [False, True])
async def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path, killed: bool) -> None:
    """The spool is on another one."""
    async with open_scene(small_disk) as scene:
        scene.folder = small_disk
        spool = tmp_path / "spool"
        scene.deadline = SLOW
        scene.policy |= LONG
        await scene.add([scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(MANY)])
        gate = scene.fake.hold(after_rotation=True, times=MANY)
        worker = await scene.worker(spool=str(spool))
        await gate.arrivals(MANY)
        filler = small_disk / "filler"
        fill(filler)
        gate.release()
        await until(lambda: len(list(spool.glob("*.settlement"))) == MANY)
        if killed:
            await worker.kill()
        filler.unlink()
        if killed:
            worker = await scene.worker(spool=str(spool))
        await until(scene.lost, lambda lost: not lost)
        await until(lambda: not list(spool.glob("*.settlement")))
        assert await worker.end() == 0
        await scene.assert_whole()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 8, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue

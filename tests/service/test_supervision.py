"""What systemd is told: where it listens, from the start of a process to its end, and by its watchdog."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from mesh_refresh.keeper import Keeper
from mesh_refresh.service import supervision
from mesh_refresh.service.supervision import Supervision
from mesh_refresh.service.systemd import Systemd
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.stores import MemoryStore
from mesh_refresh.testing import FakeMesh

pytestmark = pytest.mark.once


@define
class Manager:
    """Systemd's end of a notification socket."""

    socket: socket.socket
    address: str

    def told(self) -> list[str]:
        """What has come so far, one assignment each."""
        found = []
        while True:
            try:
                found += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return found

    async def until(self, line: str) -> list[str]:
        """What comes up to `line`."""
        found: list[str] = []
        loop = asyncio.get_running_loop()
        while line not in found:
            found += (await loop.sock_recv(self.socket, 4096)).decode().split("\n")
        return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    name = str(tmp_path / "notify")
    address, bound = (name, name) if request.param == "path" else (f"@{name}", f"\0{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(bound)
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield Manager(sock, address)


def test_without_systemd_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert Systemd.from_environment() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1234")
    assert Systemd.from_environment() is None


@pytest.mark.parametrize(
    ("span", "pid", "watchdog"),
    [
        ("3000000", "", 3.0),
        ("3000000", "own", 3.0),
        ("3000000", "1", None),
        ("0", "", None),
        ("x", "", None),
    ],
)
def test_the_watchdog_is_the_one_of_this_process(
    span: str, pid: str, watchdog: float | None, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", span)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert Systemd.from_environment() == Systemd(manager.address, watchdog)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()  # child processes tell nothing


def test_a_manager_that_is_gone_or_busy_is_no_reason_to_fail(manager: Manager) -> None:
    told = Systemd(manager.address, None)
    for _ in range(2000):  # more than its buffer takes
        told.tell("WATCHDOG=1")
    manager.socket.close()
    told.tell("WATCHDOG=1")


async def test_a_process_tells_its_start_and_its_end(manager: Manager, fake: FakeMesh) -> None:
    async with fake.client() as mesh, Supervision(Probes(), systemd=Systemd.from_environment()) as shown:
        shown.begin("the store is being opened")
        told = await manager.until("WATCHDOG=1")
        assert "STATUS=the store is being opened" in told
        assert "EXTEND_TIMEOUT_USEC=30000000" in await manager.until("EXTEND_TIMEOUT_USEC=30000000")
        async with Keeper(mesh, MemoryStore()) as keeper:
            shown.work(keeper)
            assert manager.told()[:2] == ["READY=1", "STATUS=working"]
            shown.end()
            shown.end()
            assert manager.told() == ["STOPPING=1", "STATUS=ending", "EXTEND_TIMEOUT_USEC=30000000"]


async def test_signs_of_life_go_on_until_the_keeper_is_dead(
    manager: Manager, fake: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain may take longer than systemd waits: it is asked for more time."""
    monkeypatch.setattr(supervision, "_EVERY", 0.01)
    probes = Probes()
    async with fake.client() as mesh, Supervision(probes, systemd=Systemd(manager.address, 0.02)) as shown:
        async with Keeper(mesh, MemoryStore()) as keeper:
            shown.work(keeper)
            manager.told()
            for _ in range(3):
                assert "EXTEND_TIMEOUT_USEC=30000000" not in await manager.until("WATCHDOG=1")
        await asyncio.sleep(0)
        manager.told()
        assert not probes.alive  # the keeper was left, and the process does not say that it is ending
        shown.end()
        for _ in range(3):
            await manager.until("EXTEND_TIMEOUT_USEC=30000000")
            await manager.until("WATCHDOG=1")


async def test_a_dead_keeper_gives_no_sign_of_life(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """So systemd restarts the process."""
    monkeypatch.setattr(supervision, "_EVERY", 0.001)
    looked = 0

    def is_alive(_: Probes) -> bool:
        nonlocal looked
        looked += 1
        return False

    monkeypatch.setattr(Probes, "alive", property(is_alive))
    async with Supervision(Probes(), systemd=Systemd(manager.address, None)):
        while looked < 3:
            await manager.until("EXTEND_TIMEOUT_USEC=30000000")
    assert "WATCHDOG=1" not in manager.told()


async def test_the_delay_at_the_end_can_be_cut_short() -> None:
    probes = Probes()
    async with Supervision(probes, drain_delay=3600.0) as shown:
        lingering = asyncio.create_task(shown.linger())
        await asyncio.sleep(0)
        assert probes.is_ending
        assert shown.hurry()
        await lingering
        assert not shown.hurry()
    async with Supervision(probes) as shown:
        await shown.linger()  # without a delay it ends at once
        assert not shown.hurry()

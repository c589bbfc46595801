"""`run --listen` as a supervisor sees it, from before the store is there until after it is closed."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesh_refresh.cli.fleet.support import open_fleet
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.stores import StoreUnavailable
from tests.cli.conftest import Process, mode
from tests.cli.fleet.conftest import OpenFleet, read_until


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What systemd has been told so far."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")

        def read() -> list[str]:
            found: list[str] = []
            while True:
                try:
                    found += sock.recv(4096).decode().split("\n")
                except BlockingIOError:
                    return found

        yield read


def test_what_cannot_be_listened_on_is_refused_in_words(fleet: OpenFleet) -> None:
    """Before the store is opened: there is none."""
    usage = {
        ("--once", "--listen", "unix:s"): "--once goes without --listen",
        ("--open-metrics",): "go with --listen",
        ("--drain-delay", "5s"): "go with --listen",
        ("--listen", "127.0.0.1:0", "--socket-mode", "0600"): "--socket-mode goes with --listen unix:PATH",
        ("--listen", "unix:s", "--socket-mode", "rw"): "Write the mode as 0600 or 0660",
        ("--listen", "unix:s", "--socket-mode", "4755"): "Write the mode as 0600 or 0660",
        ("--listen", "worker:80"): "must be an IP address with a port",
    }
    for options, why in usage.items():
        ran = fleet("run", *options)
        assert ran.code == Exit.INVALID
        assert why in ran.err
        assert ran.err.count("mesh-refresh: ") + ran.err.count("Error: ") == 1
    assert not list(fleet.cli.folder.iterdir())


def test_an_address_that_is_taken_is_refused_in_words(fleet: OpenFleet) -> None:
    assert fleet("migrate").code == 0
    with socket.create_server(("127.0.0.1", 0)) as other:
        ran = fleet("run", "--listen", f"127.0.0.1:{other.getsockname()[1]}")
    assert ran.code == Exit.INVALID
    assert "Address already in use." in ran.err
    assert not list(fleet.cli.folder.glob("*.spool"))


@pytest.mark.once
def test_a_worker_shows_its_life_on_a_unix_socket(fleet: OpenFleet, told: Callable[[], list[str]]) -> None:
    """It stays alive while it drains, and says to systemd what it does."""
    fleet.add("user-7")
    path = fleet.cli.folder / "worker.sock"
    gate = fleet.fake.hold(after_rotation=True)
    with fleet.start("--listen", f"unix:{path}") as process:
        fleet.cli.served.wait(gate.entered.wait())
        assert mode(path) == 0o600
        assert fleet("health", f"unix:{path}").out == "alive and ready\n"
        assert "another process listens there" in fleet("run", "--listen", f"unix:{path}").err
        assert b"mesh_refresh_in_flight 1.0\n" in ask(path, "/metrics")
        process.send_signal(signal.SIGTERM)
        read_until(process, "sends nothing more")
        process.send_signal(signal.SIGTERM)
        read_until(process, "still waiting for replies")
        assert fleet("health", "--live", f"unix:{path}").code == 0
        assert fleet("health", f"unix:{path}").out == "alive, and not ready\nthe process is ending\n"
        fleet.cli.served.release(gate)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not path.exists()
    assert not fleet.lost()
    lines = told()
    assert lines.index("READY=1") < lines.index("STOPPING=1")
    assert "WATCHDOG=1" in lines[: lines.index("READY=1")]
    assert "EXTEND_TIMEOUT_USEC=30000000" in lines[lines.index("STOPPING=1") :]


@pytest.mark.once
def test_a_second_signal_shortens_the_delay_on_a_socket_of_systemd(fleet: OpenFleet) -> None:
    """The delay, and never the drain. The socket stays systemd's."""
    assert fleet("migrate").code == 0
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        with inheriting(fleet, sock, "--drain-delay", "1h") as process:
            read_until(process, "the worker has started")
            assert fleet("health", url).code == 0
            process.send_signal(signal.SIGTERM)
            read_until(process, "is not ready any more")
            assert "the process is ending" in fleet("health", url).out
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "the worker has stopped" in err
        socket.create_connection(sock.getsockname()).close()


@pytest.mark.once
def test_a_store_that_is_away_at_the_start_is_waited_for(fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor sees that in the probes. A restart would not bring the store back."""
    monkeypatch.setenv("MESH_REFRESH_STORE", "postgresql://127.0.0.1:1/fleet")
    monkeypatch.setenv("XDG_STATE_HOME", str(fleet.cli.folder))
    with fleet.start("--listen", "127.0.0.1:0") as process:
        (port,) = re.findall(r"addresses=127.0.0.1:(\d+)", read_until(process, "addresses="))
        read_until(process, "the store is not available, and is waited for")
        ran = fleet("health", f"http://127.0.0.1:{port}")
        assert (ran.code, ran.out) == (1, "alive, and not ready\nthe store is not available, and is waited for\n")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == Exit.TERMINATED


def test_a_store_that_comes_late_is_taken(fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fleet("migrate").code == 0
    monkeypatch.setattr(open_fleet, "_FIRST_WAIT", 0.01)
    ordinary, tries = StoreLocation.open_store, []

    class Away:
        async def __aenter__(self) -> None:
            tries.append(self)
            raise StoreUnavailable

        async def __aexit__(self, *_: object) -> None:
            """Never entered."""

    def open_store(location: StoreLocation, **options: bool) -> object:
        return Away() if len(tries) < 3 else ordinary(location, **options)

    monkeypatch.setattr(StoreLocation, "open_store", open_store)
    monkeypatch.setattr("mesh_refresh.cli.fleet.worker.run._work", end_at_once)
    assert fleet("run", "--listen", "127.0.0.1:0").code == 0
    assert len(tries) == 3


async def end_at_once(*_: object) -> None:
    """In place of a worker's life."""
    os.kill(os.getpid(), signal.SIGTERM)


def inheriting(fleet: OpenFleet, sock: socket.socket, *options: str) -> Process:
    """A worker that gets `sock` as systemd hands over sockets."""
    script = 'exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -m mesh_refresh run "$@"'
    return Process(
        ["sh", "-c", script, sys.executable, *options],
        text=True,
        stdin=sock.fileno(),
        cwd=fleet.cli.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )


def ask(path: Path, what: str) -> bytes:
    """The answer to a request on a unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(f"GET {what} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        with sock.makefile("rb") as answer:
            return answer.read()

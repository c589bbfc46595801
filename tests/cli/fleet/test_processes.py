"""`run --processes`: workers that are started again, end together, and are summed up."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from attrs import define

from mesh_refresh.cli.fleet.support.worker_options import share_policy
from mesh_refresh.cli.fleet.worker import processes
from mesh_refresh.cli.fleet.worker.processes import wait_before_restart
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper import Policy
from tests.cli.conftest import Process, mode
from tests.cli.fleet.conftest import OpenFleet, read_until
from tests.cli.fleet.test_listen import ask

pytestmark = [pytest.mark.once, pytest.mark.skipif(os.name != "posix", reason="signals and sockets of POSIX")]


@pytest.mark.parametrize(("concurrency", "count"), [(50, 4), (7, 7), (3, 2), (64, 2)])
def test_the_limits_are_shared_and_nothing_of_them_is_lost(concurrency: int, count: int) -> None:
    whole = Policy(concurrency=concurrency, concurrency_each=2, rate=10.0, rate_each=5.0)
    shares = [share_policy(whole, number, count) for number in range(1, count + 1)]
    assert sum(share.concurrency for share in shares) == concurrency
    assert max(share.concurrency for share in shares) - min(share.concurrency for share in shares) <= 1
    assert sum(share.rate or 0 for share in shares) == pytest.approx(10.0)
    assert sum(share.rate_each or 0 for share in shares) == pytest.approx(5.0)
    assert sum(share.concurrency_each or 0 for share in shares) == max(2, count), "one each at the least"
    assert (share := share_policy(Policy(), 1, count)).rate is share.rate_each is share.concurrency_each is None


def test_the_waits_before_a_restart_grow_and_end() -> None:
    assert [wait_before_restart(lives) for lives in range(6)] == [1.0, 1.0, 2.0, 4.0, 8.0, None]


def test_what_cannot_be_shared_is_refused_in_a_line(fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a process is started: nothing else could be said of it once."""
    monkeypatch.setattr("mesh_refresh.cli.fleet.worker.run.run_processes", None)
    fleet.add("user-7")
    refused = {
        ("--processes", "0"): "'--processes'",
        ("--processes", "two"): "'--processes'",
        ("--processes", "2", "--once"): "--once goes without --listen and --processes",
        ("--processes", "3", "--concurrency", "2"): "--processes must not be more than --concurrency",
        ("--processes", "2", "--lease", "5s"): "--lease must be longer than",
        ("--processes", "2", "--webhook", "http://example.com"): "--webhook",
        ("--processes", "2", "--store", "no/such.db"): "There is no store at the path",
    }
    for options, why in refused.items():
        ran = fleet("run", *options)
        assert ran.code == Exit.INVALID
        assert why in ran.err
        assert ran.err.count("mesh-refresh: ") + ran.err.count("Error: ") == 1
    monkeypatch.delenv("MESH_CLIENT_ID")
    assert "MESH_CLIENT_ID" in fleet("run", "--processes", "2").err


@define
class Whole:
    """A parent that runs, with its workers."""

    fleet: OpenFleet
    process: Process
    socket: Path

    def workers(self) -> dict[str, int]:
        """The ids of the processes, by their names."""
        of = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in of}
        return {
            line[line.index(b"mesh_refresh.cli.fleet.worker.child") + 1].decode(): pid for pid, line in lines.items()
        }


def start(fleet: OpenFleet, *options: str) -> Process:
    return fleet.start("--processes", "2", "--listen", f"unix:{fleet.cli.folder / 's'}", *options)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_worker_is_started_again_and_all_are_summed_up(
    fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had claimed is exchanged when its lease is over, by any of them. What an app prints is no report."""
    monkeypatch.setenv("TMPDIR", str(fleet.cli.folder))
    Path("printing.py").write_text(PRINTING)
    fast = ("--app", "printing:make_app", "--deadline", "3s", "--lease", "4s", "--resend-after", "100ms", "--log-json")
    assert fleet("migrate").code == 0
    with start(fleet, *fast) as process:
        whole = Whole(fleet, process, fleet.cli.folder / "s")
        read_until(process, "all 2 workers have started")
        assert fleet("health", f"unix:{whole.socket}").out == "alive and ready\n"
        (folder,) = fleet.cli.folder.glob("mesh-refresh-*")
        assert mode(folder) == 0o700
        gate = fleet.fake.hold()
        fleet.add("user-7")
        fleet.cli.served.wait(gate.entered.wait())
        shown = ask(whole.socket, "/metrics").decode()
        assert set(re.findall(r'mesh_refresh_build_info\{process="(\d)"', shown)) == {"1", "2"}
        (holder,) = re.findall(r'mesh_refresh_in_flight\{process="(\d)"\} 1.0', shown) or ["1"]
        os.kill(whole.workers()[holder], signal.SIGKILL)
        fleet.fake.heal()
        restarted = rf'ended by SIGKILL.*the worker has started.*"process": "{holder}"'
        seen = read_until(process, f"(?s)(?=.*AccountRefreshed)(?=.*{restarted})")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=90)
        seen += err
    fleet.cli.served.release(gate)
    assert (process.returncode, out.count("AccountRefreshed\n")) == (0, 1)
    told = [json.loads(line) for line in seen.splitlines()]
    assert {line.get("process") for line in told} == {None, "1", "2"}
    last = told[-1]["message"]
    assert last.startswith("the 2 workers have stopped: ")
    assert "1 refreshed" in last
    assert "1 restart, 1 process killed and not counted" in last
    assert last.endswith("; all results are in the store")
    assert not fleet.lost()
    assert not list(fleet.cli.folder.glob("mesh-refresh-*"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_in_order_when_their_parent_is_killed(fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a pipe that closes: what one has sent is written first."""
    monkeypatch.setenv("TMPDIR", str(fleet.cli.folder))
    fleet.add("user-7")
    gate = fleet.fake.hold(after_rotation=True)
    with start(fleet) as process:
        read_until(process, "all 2 workers have started")
        fleet.cli.served.wait(gate.entered.wait())
        process.kill()
        seen = read_until(process, "sends nothing more")
        fleet.cli.served.release(gate)
        assert process.stderr is not None
        seen += process.stderr.read()  # until the last of them has gone
    assert set(re.findall(r"\[(\d)\] the worker has stopped", seen)) == {"1", "2"}
    assert not fleet.lost()
    assert not list(fleet.cli.folder.glob("mesh-refresh-*"))


def test_a_signal_is_passed_on_and_a_further_one_hurries(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    gate = fleet.fake.hold(after_rotation=True)
    with start(fleet, "--drain-delay", "1h") as process:
        read_until(process, "all 2 workers have started")
        fleet.cli.served.wait(gate.entered.wait())
        process.send_signal(signal.SIGHUP)
        read_until(process, "is not ready any more")
        assert "process" in fleet("health", f"unix:{fleet.cli.folder / 's'}").out
        process.send_signal(signal.SIGHUP)
        read_until(process, "SIGHUP: the worker sends nothing more")
        process.send_signal(signal.SIGINT)
        read_until(process, "still waiting for replies")
        fleet.cli.served.release(gate)
        _, err = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "the 2 workers have stopped: 1 refreshed; all results are in the store" in err
    assert not fleet.lost()


PRINTING = """
from mesh_refresh.keeper import App

def make_app():
    return App(on_event=lambda event: print(type(event).__name__, flush=True))
"""


def live_briefly(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """In place of workers there are processes that run `code`."""
    monkeypatch.setattr(processes, "_CHILD", (sys.executable, "-c", code))


@pytest.mark.parametrize(
    ("code", "ends", "told"),
    [
        ("raise SystemExit(12)", Exit.STORE, 0),
        ("raise SystemExit(3)", Exit.TRY_AGAIN, 4),
        ("import os; os.kill(os.getpid(), 9)", Exit.FAILED, 4),
    ],
    ids=["a store that does not open", "what may pass", "a kill"],
)
def test_a_worker_that_ends_at_once_again_and_again_ends_all(
    fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch, code: str, ends: Exit, told: int
) -> None:
    """With its exit code; at once where another start would end with it too."""
    assert fleet("migrate").code == 0
    live_briefly(monkeypatch, code)
    monkeypatch.setattr(processes, "_FIRST_WAIT", 0.001)
    ran = fleet("run", "--processes", "2")
    assert ran.code == ends
    assert ran.err.count("is started again") == told
    assert ran.err.count("5 times in a row at once") == (1 if told else 0)

"""The demo: what the README promises."""

import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field

from mesh_refresh import TokensRefused
from mesh_refresh.cli.demo import command
from mesh_refresh.cli.demo.fleet import SMALLEST, build_fleet
from mesh_refresh.cli.demo.pace import Pace, choose_pace
from mesh_refresh.cli.demo.play import Play
from mesh_refresh.cli.demo.proof import prove
from mesh_refresh.cli.demo.rows import Board
from mesh_refresh.testing import FakeMesh, Fault
from tests.cli.conftest import Cli, Process

pytestmark = pytest.mark.once

PIPED, COLOURED, LARGER = "piped", "coloured", "larger and colourless"


@define
class Show:
    """One run of the demo in a process of its own, with a temporary folder of its own."""

    folder: Path
    process: Process
    screen: bytes = b""
    err: str = ""
    reader: threading.Thread | None = None
    begun: threading.Event = field(factory=threading.Event)
    """It has told of a worker, or has ended."""

    @property
    def out(self) -> str:
        return self.screen.decode(errors="replace")

    @property
    def workers(self) -> list[int]:
        """The processes that it told of."""
        return list(dict.fromkeys(int(number) for number in re.findall(r"process (\d+)", self.out)))

    def count(self, what: str) -> int:
        """A figure of the proof."""
        plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", self.out)
        found = re.search(rf"^{what} +(\d+) ", plain, re.MULTILINE)
        assert found, what
        return int(found[1])

    def ended(self) -> "Show":
        """Wait until it has."""
        assert self.reader is not None
        assert self.process.stderr is not None
        self.reader.join(90)
        if not self.process.stderr.closed:
            self.err = self.process.stderr.read()
            self.process.stderr.close()
        self.process.wait(90)
        return self


def start(folder: Path, *options: str, terminal: bool = False, **environment: str) -> Show:
    """The demo, fast, with a thread that reads what it shows: nothing may make it wait."""
    folder.mkdir()
    own = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    own |= {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm-256color", "TMPDIR": str(folder), **environment}
    source, sink = os.openpty() if terminal else os.pipe()
    process = Process(
        [sys.executable, "-m", "mesh_refresh", "demo", *options],
        stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.PIPE,
        text=True, env=own, start_new_session=True,
    )  # fmt: skip
    os.close(sink)
    show = Show(folder, process)

    def read() -> None:
        with os.fdopen(source, "rb", buffering=0) as file:
            try:
                while chunk := file.read(65536):
                    show.screen += chunk
                    if not show.begun.is_set() and show.workers:
                        show.begun.set()
            except OSError:
                pass  # so ends a terminal
        show.begun.set()

    show.reader = threading.Thread(target=read, daemon=True)
    show.reader.start()
    return show


@define
class Shows:
    """All at the same time: each of them mostly waits."""

    begun: dict[str, Show] = field(factory=dict)

    def __getitem__(self, name: str) -> Show:
        return self.begun[name].ended()


@pytest.fixture(scope="module")
def shows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shows]:
    folder = tmp_path_factory.mktemp("demo")
    begun = {
        PIPED: start(folder / PIPED, "--fast"),
        COLOURED: start(folder / COLOURED, "--fast", terminal=True),
        LARGER: start(folder / LARGER, "--fast", "--accounts", "60", "--seed", "3", terminal=True, NO_COLOR="1"),
    }
    yield Shows(begun)
    for show in begun.values():
        with show.process:
            show.process.kill()


def test_it_loses_nothing_and_says_so_in_plain_lines(shows: Shows) -> None:
    show = shows[PIPED]
    assert show.process.returncode == 0, show.err or show.out[-1500:]
    assert show.err == ""
    assert "\x1b" not in show.out
    assert show.out.isascii()
    figures = {
        "MFA codes typed": 1,
        "connections cut": 1,
        "logged in again": 1,
        "workers killed": 1,
        "fresh at the end": SMALLEST,
        "sent twice at once": 0,
        "spent tokens sent again": 0,
        "tokens lost": 0,
    }
    assert {what: show.count(what) for what in figures} == figures
    assert show.count("refreshes") > SMALLEST
    assert show.count("requests throttled") >= 1
    assert show.count("callers served") >= 1
    assert "mesh-refresh run --help" in show.out
    assert "fake-refresh" not in show.out


def test_the_fleet_is_mixed_and_what_needs_nothing_gives_no_alarm(shows: Shows) -> None:
    lines = [line for line in shows[PIPED].out.split("\n") if re.match(r"\w[\w.]* +user-\d+ ", line)]
    for note, done, state in (
        ("managed by Mesh", "0", "good; nothing to refresh"),
        ("access token only", "0", "good; nothing to refresh"),
        ("usable after a day", "0", "ready a day after its login"),
        ("spends its access token", r"[1-9]\d*", "fresh"),
        ("access and trade token", r"[1-9]\d*", "fresh"),
    ):
        (line,) = [line for line in lines if note in line]
        assert re.search(rf"{note} +{done}  {state}$", line), line
        told = rf"\b{line.split()[1]}:"
        assert not re.search(told, shows[PIPED].out), "the story tells of it only what is wrong"


def test_the_worker_is_killed_with_requests_out_and_another_process_goes_on(shows: Shows) -> None:
    show = shows[PIPED]
    scenes = (
        "a worker starts",
        "kill -9 of the worker, with",
        "a new worker",
        "the logins of the killed worker",
        "SIGTERM: ",
    )
    places = [re.search(scene, show.out) for scene in scenes]
    assert all(places)
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)
    out = re.search(r"^workers killed +1  with (\d+) requests? under way", show.out, re.MULTILINE)
    assert out
    assert int(out[1]) >= 1
    first, second = show.workers
    assert first != second


def test_it_says_who_was_troubled_and_how_that_ended(shows: Shows) -> None:
    for sentences in (
        ("wants an MFA code", "typed the code"),
        ("refused twice", "the new tokens were added"),
        ("connection cut", "sent once more, and refreshed"),
        ("Mesh throttles", "the worker holds back ", "a probe succeeded: exchanges go on"),
    ):
        places = [shows[PIPED].out.find(sentence) for sentence in sentences]
        assert -1 not in places, sentences
        assert places == sorted(places)
    assert shows[PIPED].out.count("no login counts a failure\n") == 2, "once in the story, once in the proof"


def test_nothing_is_left_behind(shows: Shows) -> None:
    """No process, and no file."""
    for name in (PIPED, LARGER):
        show = shows[name]
        assert list(show.folder.iterdir()) == []
        assert len(show.workers) == 2
        for worker in show.workers:
            assert not runs(worker)


@pytest.mark.parametrize("name", [COLOURED, LARGER])
def test_on_a_terminal_it_is_live_and_honours_no_color(shows: Shows, name: str) -> None:
    show = shows[name]
    assert show.process.returncode == 0, show.err or show.out[-1500:]
    assert show.err == ""
    assert b"\x1b[?25l" in show.screen, "a live table hides the cursor"
    assert show.screen.rfind(b"\x1b[?25h") > show.screen.rfind(b"\x1b[?25l"), "and shows it again"
    assert bool(re.search(rb"\x1b\[(\d+;)*3[0-7]m", show.screen)) is (name == COLOURED)
    for state in ("fresh", "unknown outcome: waiting", "wants an MFA code", "no worker"):
        assert state in show.out, state


def test_more_accounts(shows: Shows) -> None:
    show = shows[LARGER]
    assert show.process.returncode == 0, show.err or show.out[-1500:]
    assert show.count("fresh at the end") == 60
    assert show.count("tokens lost") == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_quietly_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    show, worker = begun(tmp_path / "demo")
    os.killpg(show.process.pid, number)  # as a terminal does
    show.ended()
    assert show.process.returncode == code
    assert show.err.strip() == ""
    assert list(show.folder.iterdir()) == []
    assert not runs(worker)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux, to wait for a process that is no child")
def test_a_worker_does_not_outlive_a_demo_that_was_killed(tmp_path: Path) -> None:
    show, worker = begun(tmp_path / "demo")
    handle = os.pidfd_open(worker)
    show.process.kill()
    show.ended()
    ended, _, _ = select.select([handle], [], [], 60)
    os.close(handle)
    assert ended


def test_a_play_that_proves_nothing_fails(cli: Cli) -> None:
    """It ends before it begins, so the store has nothing of what was issued."""

    async def nothing(*_: Any) -> None: ...

    cli.monkeypatch.setattr(command, "_in_time", nothing)
    ran = cli("demo", "--fast")
    assert ran.code == 1
    assert re.search(rf"^tokens lost +{SMALLEST - 1} ", ran.out, re.MULTILINE), "one was revoked by its owner"


async def test_each_finding_can_fail_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own word counts for nothing: the fake's books and what the system says do."""
    async with FakeMesh() as fake:
        pace = choose_pace(fast=True)
        fleet = build_fleet(fake, SMALLEST, 0, pace)
        nobody: Any = None
        play = Play(fake, fleet, pace, Board(fake, fleet), nobody, nobody, nobody)

        def bad() -> set[str]:
            return {line.what for line in prove(play).lines if not line.good}

        play.held = [tokens for login in fake.logins.values() for tokens in login.live]
        play.codes = play.reconnected = play.kills = 1
        play.opened = ["coinbase", None]
        play.orphaned, play.fresh = 4, SMALLEST
        assert bad() == {"connections cut"}, "no request came in at all"
        lost, play.held[0] = play.held[0], play.held[1]
        assert bad() == {"connections cut", "tokens lost"}
        play.held[0] = lost
        for name, wrong, what in (
            ("codes", 0, "MFA codes typed"),
            ("opened", [], "requests throttled"),
            ("opened", ["coinbase", None, "coinbase"], "requests throttled"),
            ("reconnected", 0, "logged in again"),
            ("asked", 2, "callers served"),
            ("orphaned", 0, "workers killed"),
            ("fresh", 0, "fresh at the end"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(play, name, wrong)
                assert bad() == {"connections cut", what}
        async with fake.client() as mesh:
            spent = fleet.plain[0].login.token
            await mesh.refresh(spent)
        async with fake.client() as mesh:
            with pytest.raises(TokensRefused):
                await mesh.refresh(spent)
        assert bad() == {"connections cut", "spent tokens sent again", "tokens lost"}


def test_a_delay_that_no_request_met_is_no_warning(cli: Cli) -> None:
    """A person sees the story, and no source lines of the demo."""

    async def delayed(play: Play, _: Pace) -> None:
        member = play.fleet.members[0]
        play.fake.fail(Fault.delay(1.0), times=None, login=member.login)

    cli.monkeypatch.setattr(command, "_in_time", delayed)
    ran = cli("demo")
    assert ran.err == ""
    assert "Not proved. Please report these lines: MFA codes typed, " in ran.out


def test_a_demo_that_hangs_says_so(cli: Cli) -> None:
    cli.monkeypatch.setattr(command, "choose_pace", lambda *, fast: evolve(choose_pace(fast=fast), limit=0.2))
    ran = cli("demo", "--fast")
    assert ran.code == 1
    assert ran.err.startswith("mesh-refresh: The demo hangs. The last event was: ")


def test_a_worker_that_fails_is_told_with_its_reason(cli: Cli) -> None:
    cli.monkeypatch.setattr(command, "_environment", lambda fake, key: {"MESH_REFRESH_DEMO_KEY": "no key"})
    ran = cli("demo", "--fast")
    assert ran.code == 1
    assert "The worker of the demo failed: mesh_refresh.errors.InvalidRequest: This is not a key" in ran.err


def begun(folder: Path) -> tuple[Show, int]:
    """The demo with its first worker at work, and that worker's process."""
    show = start(folder, "--fast")
    show.begun.wait(60)
    assert show.workers, show.ended().err
    return show, show.workers[0]


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

"""A sample of ``tests.cli.refresh.hostile``; `nox -s shell` has all of it."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from tests.cli.conftest import Served
from tests.cli.refresh.hostile.shell import Holding, Shell, Trouble
from tests.cli.refresh.hostile.stories import OUTPUTS, SIGNALS, Story, together, troubles
from tests.cli.refresh.test_output import mounted

pytestmark = [pytest.mark.once, pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")]

SAMPLE = 60


@pytest.fixture(scope="module")
def any_shell() -> Iterator[Shell]:
    with Shell() as shell:
        yield shell


@pytest.fixture
def shell(served: Served, any_shell: Shell) -> Shell:
    any_shell.environment = served.environment
    return any_shell


@pytest.mark.parametrize("output", OUTPUTS)
def test_trouble_at_some_steps(served: Served, shell: Shell, tmp_path: Path, output: str) -> None:
    """Every pair that was on the wire is in the output, where the last line says, or on standard output."""
    steps = Story(served, shell, tmp_path / "steps", output).steps()
    drawn = random.Random(output).sample(list(troubles(steps)), SAMPLE // len(OUTPUTS))
    for number, trouble in enumerate(drawn):
        Story(served, shell, tmp_path / str(number), output).tell(trouble)


@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("output", ["in place", "older"])
def test_runs_at_once(served: Served, shell: Shell, tmp_path: Path, output: str, runs: int) -> None:
    together(Story(served, shell, tmp_path / "files", output), runs)


@pytest.mark.parametrize("what", SIGNALS[:-1])
@pytest.mark.parametrize("after_rotation", [True, False])
def test_a_signal_with_a_request_out(
    served: Served, shell: Shell, tmp_path: Path, what: str, after_rotation: bool
) -> None:
    story = Story(served, shell, tmp_path / "files")
    gate = served.fake.hold(after_rotation=after_rotation)
    run = shell.start(story.folder, *story.arguments)
    served.wait(gate.entered.wait())
    os.kill(run.pid, signal.Signals[what])
    served.release(gate)
    ended = run.ended()
    assert ended.code in (Exit.HUNG_UP, Exit.INTERRUPTED, Exit.TERMINATED)
    holding = Holding(served.fake)
    holding.take(ended, story.target)
    assert not holding.lost()
    assert len(served.fake.requests) == 1, "nothing more is sent"


def test_outputs_that_take_nothing(served: Served, shell: Shell, tmp_path: Path) -> None:
    """Nothing is sent to fill them."""
    story = Story(served, shell, tmp_path / "files", "standard output")
    os.mkfifo(story.folder / "pipe")
    for name in ("pipe", "/dev/null", "/dev/full", "/dev/tty", ".", "no/where", "/proc/1/environ", "/sys/out.json"):
        ended = shell.start(story.folder, *story.arguments, "-o", name).ended()
        assert ended.code == Exit.INVALID, (name, ended)
    assert shell.start(story.folder, *story.arguments, stdout=None).ended().code == Exit.INVALID
    assert not served.fake.requests


def test_a_standard_output_that_is_full(served: Served, shell: Shell, tmp_path: Path) -> None:
    story = Story(served, shell, tmp_path / "files", "standard output")
    ended = shell.start(story.folder, *story.arguments, stdout="/dev/full").ended()
    assert ended.code == Exit.NOT_SAVED
    holding = Holding(served.fake)
    holding.take(ended)
    assert not holding.lost(), ended


@pytest.mark.parametrize("size", ["16k", "24k", "32k", "64k"])
def test_a_small_disk_that_has_everything(served: Served, shell: Shell, tmp_path: Path, size: str) -> None:
    """Home, temporary folder and working directory too. Either it is found before, or nothing is lost."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk):
        story = Story(served, shell, disk / "files")
        with (disk / "filler").open("wb") as filler:
            filler.write(b"0" * 6_000)
        for _ in range(2):
            before = len(served.fake.requests)
            ended = shell.start(story.folder, *story.arguments).ended()
            story.check(ended, sent=len(served.fake.requests) - before, trouble=Trouble())
            assert not served.fake.reuses
        assert served.fake.requests or size != "64k"

"""The input: files of every kind that a shell hands over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from tests.cli.conftest import Cli, held

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")


def shell(cli: Cli, line: str) -> subprocess.CompletedProcess[str]:
    """`line` in bash, where ``$m`` is the command."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "m": f"{sys.executable} -m mesh_refresh refresh"}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, cwd=cli.folder, env=env)


def test_a_pipe_of_the_shells(cli: Cli) -> None:
    cli.payload(cli.served.fake.login("coinbase"))
    ran = shell(cli, "$m <(cat payload.json)")
    assert ran.returncode == Exit.REFRESHED, ran.stderr
    assert not cli.served.fake.lost(held(json.loads(ran.stdout)))


def test_descriptors_are_files(cli: Cli) -> None:
    payload = cli.payload(cli.served.fake.login("coinbase"))
    reading, writing = os.pipe()
    os.write(writing, payload.read_bytes())
    os.close(writing)
    ran = cli("refresh", f"/dev/fd/{reading}")
    os.close(reading)
    assert ran.code == Exit.REFRESHED
    assert not cli.served.fake.lost(held(ran.documents))


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_standard_input_by_all_its_names(cli: Cli, name: str) -> None:
    text = cli.payload(cli.served.fake.login("coinbase")).read_bytes()
    assert cli("refresh", name, stdin=text).code == Exit.REFRESHED
    assert not cli.served.fake.lost(held(cli.runs[-1].documents))
    for ran in (cli("refresh", name, "--code-stdin", stdin=text), cli("refresh", name, stdin=None)):
        assert ran.code == Exit.INVALID
    assert "Standard input is closed" in cli.runs[-1].err
    assert len(cli.served.fake.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Name a FILE"),
        (("payload.json", "--code-stdin"), "and standard input is closed"),
        (("/dev/fd/99",), "read"),
    ],
)
def test_closed_ones_are_told_before_anything_is_sent(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    cli.payload(cli.served.fake.login("coinbase"))
    ran = cli("refresh", *arguments, stdin=None)
    assert (ran.code, ran.out) == (Exit.INVALID, "")
    assert says in ran.err
    assert not cli.served.fake.requests


def test_no_file_takes_the_number_of_a_closed_stream(cli: Cli) -> None:
    """To that Python may write, and the journal would have it."""
    cli.payload(cli.served.fake.login("coinbase"))
    ran = shell(cli, "$m payload.json -o out.json <&- >&- 2>&-")
    assert ran.returncode == Exit.REFRESHED
    assert not cli.served.lost(Path(cli.folder / "out.json"))


def test_a_descriptor_of_the_output_is_the_output(cli: Cli) -> None:
    source = cli.payload(cli.served.fake.login("coinbase"))
    with source.open() as file:
        assert cli("refresh", f"/dev/fd/{file.fileno()}", "-o", source).code == Exit.REFRESHED
    assert not cli.served.lost(source)

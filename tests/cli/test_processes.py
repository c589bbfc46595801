"""Real processes: signals, crashes, closed pipes, full disks, two runs at once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import Fault, Replies, Sharing
from tests.cli.conftest import Cli, held, mode

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and modes of POSIX")


@pytest.mark.parametrize(
    ("number", "code", "output"),
    [
        (signal.SIGINT, 130, "out.json"), (signal.SIGTERM, 143, None), (signal.SIGHUP, 129, "out.json"),
        (signal.SIGQUIT, 143, None), (signal.SIGALRM, 143, "out.json"),
    ],
)  # fmt: skip
def test_a_signal_finishes_what_was_sent_and_writes_it(cli: Cli, number: int, code: int, output: str | None) -> None:
    login = cli.served.fake.login("coinbase")
    gate = cli.served.fake.hold(after_rotation=True)
    arguments = ["refresh", cli.payload(login), *(("-o", output) if output else ())]
    with cli.start(*arguments) as process:
        cli.served.wait(gate.entered.wait())
        process.send_signal(number)
        assert process.stderr is not None
        assert "interrupted" in process.stderr.readline()
        cli.served.release(gate)
        out, err = process.communicate(timeout=90)
    assert process.returncode == code
    assert "1 of 1 accounts refreshed" in err
    assert "Traceback" not in err
    documents = json.loads(Path(output).read_text() if output else out)
    assert not cli.served.fake.lost(held(documents))


def test_a_second_ctrl_c_does_not_lose_it_either(cli: Cli) -> None:
    login = cli.served.fake.login("coinbase")
    gate = cli.served.fake.hold(after_rotation=True)
    with cli.start("refresh", cli.payload(login), "-o", "out.json") as process:
        cli.served.wait(gate.entered.wait())
        assert process.stderr is not None
        for told in ("interrupted", "still waiting", "still waiting"):
            process.send_signal(signal.SIGINT)
            assert told in process.stderr.readline()
        cli.served.release(gate)
        process.communicate(timeout=90)
    assert process.returncode == Exit.INTERRUPTED
    assert not cli.served.lost(Path("out.json"))


def test_a_kill_loses_no_account_that_was_answered(cli: Cli) -> None:
    """When the second account is sent, the first is in the journal. The next run writes it into the output."""
    fake = cli.served.fake
    login = fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED)
    fake.fail(Fault.none())
    gate = fake.hold()
    with cli.start("refresh", cli.payload(login), "-o", "out.json") as process:
        cli.served.wait(gate.entered.wait())
        process.kill()
        process.communicate(timeout=90)
    cli.served.release(gate)
    assert mode(Path("out.json.journal")) == 0o600
    ran = cli("refresh", "payload.json", "-o", "out.json")
    assert ran.code == Exit.INVALID
    assert f"an earlier run was interrupted; its new tokens are now in {cli.folder / 'out.json'}" in ran.err
    assert len(fake.requests) == 2, "the input is spent"
    assert not Path("out.json.journal").exists()
    first = held(json.loads(Path("out.json").read_text()))[0]
    assert first.refresh_token == login.live[0].refresh_token != login.tokens[0].refresh_token
    assert mode(Path("out.json")) == 0o600


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux")
def test_a_full_standard_output_loses_nothing(cli: Cli) -> None:
    cli.monkeypatch.setenv("HOME", str(cli.folder))
    payload = cli.payload(cli.served.fake.login("coinbase"))
    with Path("/dev/full").open("w") as full, cli.start("refresh", payload, stdout=full) as process:
        _, err = process.communicate(timeout=90)
    assert process.returncode == Exit.NOT_SAVED
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    (kept,) = cli.folder.glob("mesh-refresh-rescued-*.json")
    assert not cli.served.lost(kept)


def test_a_closed_pipe_loses_nothing(cli: Cli) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with cli.start("refresh", cli.payload(cli.served.fake.login("coinbase")), stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(timeout=90)
    assert process.returncode == Exit.NOT_SAVED
    assert "Exception ignored" not in err
    (kept,) = cli.folder.glob("mesh-refresh-rescued-*.json")
    assert not cli.served.lost(kept)


def test_a_closed_standard_output_is_found_before_anything_is_sent(cli: Cli) -> None:
    """With ``--output`` it is not needed."""
    payload = cli.payload(cli.served.fake.login("coinbase"))
    cli.monkeypatch.setattr(sys, "stdout", None)
    ran = cli("refresh", payload)
    assert ran.code == Exit.INVALID
    assert "the new tokens would be lost" in ran.err
    assert not cli.served.fake.requests
    assert cli("refresh", payload, "-o", "out.json").code == Exit.REFRESHED
    assert not cli.served.lost(cli.folder / "out.json")


def test_two_runs_do_not_work_on_one_file(cli: Cli) -> None:
    """Cron jobs overlap; both would spend the same refresh token."""
    login = cli.served.fake.login("coinbase")
    gate = cli.served.fake.hold()
    source = cli.payload(login)
    with cli.start("refresh", source, "-o", source) as process:
        cli.served.wait(gate.entered.wait())
        ran = cli("refresh", source, "-o", source)
        assert ran.code == Exit.TRY_AGAIN
        assert "Another mesh-refresh" in ran.err
        cli.served.release(gate)
        process.communicate(timeout=90)
    assert process.returncode == Exit.REFRESHED
    assert cli("refresh", source, "-o", source).code == Exit.REFRESHED
    assert len(cli.served.fake.requests) == 2


def test_the_output_is_private_whatever_the_file_was_before(cli: Cli) -> None:
    source = cli.payload(cli.served.fake.login("coinbase"))
    source.chmod(0o644)
    cli("refresh", source, "-o", source)
    assert mode(source) == 0o600
    assert [path.name for path in cli.folder.iterdir()] == [source.name]


def test_a_link_stays_a_link(cli: Cli) -> None:
    source = cli.payload(cli.served.fake.login("coinbase"))
    Path("link.json").symlink_to(source)
    assert cli("refresh", "link.json", "-o", "link.json").code == Exit.REFRESHED
    assert Path("link.json").is_symlink()
    assert not cli.served.lost(source)


@pytest.mark.parametrize("module", ["click", "rich"])
def test_a_missing_extra_is_told_in_one_line(module: str) -> None:
    program = f"import sys; sys.modules[{module!r}] = None; from mesh_refresh.cli import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 1
    assert "pip install '.[cli]'" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_the_package_itself_needs_neither() -> None:
    program = "import sys, mesh_refresh.cli, mesh_refresh.testing; sys.exit(bool({'click', 'rich'} & set(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=env).returncode == 0

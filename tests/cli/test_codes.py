"""MFA codes: asked for at a terminal, or read from elsewhere, and nothing lost where there is none."""

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import FakeLogin, Fault
from tests.cli.conftest import Cli, held, mode

pty = pytest.importorskip("pty")


@pytest.fixture
def login(cli: Cli) -> FakeLogin:
    return cli.served.fake.login("vanguard", mfa=True, mfa_rotates=True)


def test_without_anybody_to_ask_the_continuation_is_written(cli: Cli, login: FakeLogin) -> None:
    """And it goes on from there when there is a code: in another process, much later."""
    ran = cli("refresh", cli.payload(login), "-o", "out.json")
    assert ran.code == Exit.CODE_NEEDED
    out = Path("out.json")
    assert json.loads(out.read_text())[0]["format"] == "mesh_refresh.mfa_required"
    assert mode(out) == 0o600
    assert not cli.served.lost(out)
    assert cli("refresh", out, "-o", "out.json").code == Exit.CODE_NEEDED
    assert len(cli.served.fake.requests) == 1, "a question is not asked twice"
    cli.monkeypatch.setenv("MESH_MFA_CODE", f" {login.code}\n")
    ran = cli("refresh", out, "-o", "out.json")
    assert ran.code == Exit.REFRESHED
    assert login.code not in ran.err
    assert held(json.loads(out.read_text()))[0].refresh_token == login.live[0].refresh_token


def test_codes_from_standard_input(cli: Cli, login: FakeLogin) -> None:
    """One line for each question; a wrong one can be followed by a right one."""
    payload = cli.payload(login)
    assert cli("refresh", payload, "-o", "out.json").code == Exit.CODE_NEEDED
    ran = cli("refresh", "out.json", "-o", "out.json", "--code-stdin", stdin=f"000000\n\n{login.code}\n")
    assert ran.code == Exit.REFRESHED
    assert "the code was refused; try again" in ran.err
    assert login.codes_asked == 1


def test_three_wrong_codes_are_the_end_and_the_continuation_stays(cli: Cli, login: FakeLogin) -> None:
    cli("refresh", cli.payload(login), "-o", "out.json")
    ran = cli("refresh", "out.json", "-o", "out.json", "--code-stdin", stdin="1\n2\n3\n" + login.code)
    assert ran.code == Exit.CODE_NEEDED
    assert cli.served.fake.exchanges["wrongCode"] == 3
    assert cli("refresh", "out.json", "--code-stdin", stdin=login.code).code == Exit.REFRESHED


def test_a_broker_that_asks_twice(cli: Cli) -> None:
    login = cli.served.fake.login("vanguard", mfa=True, mfa_rounds=2)
    cli("refresh", cli.payload(login), "-o", "out.json")
    code = login.code
    cli.monkeypatch.setenv("MESH_MFA_CODE", code)
    assert cli("refresh", "out.json", "-o", "out.json").code == Exit.CODE_NEEDED, "one code answers one question"
    cli.monkeypatch.setenv("MESH_MFA_CODE", login.code)
    assert cli("refresh", "out.json", "-o", "out.json").code == Exit.REFRESHED
    assert login.codes_asked == 2


def test_a_new_code_on_demand(cli: Cli, login: FakeLogin) -> None:
    cli("refresh", cli.payload(login), "-o", "out.json")
    assert cli("refresh", "out.json", "-o", "out.json", "--new-code").code == Exit.CODE_NEEDED
    assert login.codes_asked == 2
    assert not cli.served.fake.reuses


def test_siblings_wait_for_the_code(cli: Cli) -> None:
    """A second exchange could void the code that the first one asked for. After it, they are refreshed too."""
    fake = cli.served.fake
    login = fake.login("vanguard", mfa=True, accounts=2)
    assert cli("refresh", cli.payload(login), "-o", "out.json").code == Exit.CODE_NEEDED
    assert login.codes_asked == 1
    ran = cli("refresh", "out.json", "-o", "out.json", "--code-stdin", stdin=login.code)
    assert ran.code == Exit.REFRESHED
    assert not cli.served.lost(Path("out.json"))
    assert len(json.loads(Path("out.json").read_text())) == 2


def test_a_failure_with_the_code_keeps_the_continuation(cli: Cli, login: FakeLogin) -> None:
    cli("refresh", cli.payload(login), "-o", "out.json")
    cli.served.fake.fail(Fault.throttle())
    ran = cli("refresh", "out.json", "-o", "out.json", "--max-requests", "1", "--code-stdin", stdin=login.code)
    assert ran.code == Exit.TRY_AGAIN
    assert cli("refresh", "out.json", "--code-stdin", stdin=login.code).code == Exit.REFRESHED


# At a terminal.


@define
class Person:
    """At the keyboard of a pseudo-terminal."""

    process: subprocess.Popen[str]
    keyboard: int
    screen: str = ""

    def sees(self, pattern: str) -> None:
        """Reads until `pattern` is there, and forgets what came up to it."""
        while (found := re.search(pattern, self.screen)) is None:
            self.screen += os.read(self.keyboard, 4096).decode()
        self.screen = self.screen[found.end() :]

    def types(self, text: str) -> None:
        os.write(self.keyboard, f"{text}\n".encode())

    def interrupts(self, number: int) -> str:
        """Send a signal until the process has ended, and return the rest of the screen.

        Python looks for signals before it calls read(2). It sees one that comes in between when the next one
        interrupts the read.
        """
        for _ in range(10):
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(9)
                break
        return self.leaves()

    def leaves(self) -> str:
        """The rest of the screen, after the end of the process. One that does not end tells where it stands."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(90)
        hangs = self.process.poll() is None
        if hangs:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(90)
        try:
            while chunk := os.read(self.keyboard, 4096):
                self.screen += chunk.decode()
        except OSError:  # Linux says so where the other side is closed
            pass
        assert not hangs, self.screen
        return self.screen


@contextmanager
def person(cli: Cli, *arguments: str | Path) -> Iterator[Person]:
    keyboard, terminal = pty.openpty()
    process = cli.start(*arguments, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    try:
        yield Person(process, keyboard)
    finally:
        process.kill()
        process.communicate()
        os.close(keyboard)


def test_a_person_types_the_code_unseen(cli: Cli, login: FakeLogin) -> None:
    with person(cli, "refresh", cli.payload(login), "-o", "out.json") as somebody:
        somebody.sees("MFA code for vanguard: ")
        somebody.types("999999")
        somebody.sees("the code was refused; try again")
        somebody.sees("MFA code for vanguard: ")
        somebody.types(login.code)
        screen = somebody.leaves()
        assert somebody.process.returncode == Exit.REFRESHED
    assert login.code not in screen
    assert "\x1b" not in screen
    assert not cli.served.lost(Path("out.json"))


def test_nothing_typed_keeps_the_continuation(cli: Cli, login: FakeLogin) -> None:
    with person(cli, "refresh", cli.payload(login), "-o", "out.json") as somebody:
        somebody.sees("MFA code for vanguard: ")
        somebody.types("")
        somebody.leaves()
        assert somebody.process.returncode == Exit.CODE_NEEDED
    assert not cli.served.lost(Path("out.json"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_at_the_question(cli: Cli, login: FakeLogin, number: int, code: int) -> None:
    with person(cli, "refresh", cli.payload(login), "-o", "out.json") as somebody:
        somebody.sees("MFA code for vanguard: ")
        screen = somebody.interrupts(number)
        assert somebody.process.returncode == code
    assert "Traceback" not in screen
    assert not cli.served.lost(Path("out.json"))


def test_no_prompt_asks_nobody(cli: Cli, login: FakeLogin) -> None:
    with person(cli, "refresh", cli.payload(login), "-o", "out.json", "--no-prompt") as somebody:
        somebody.leaves()
        assert somebody.process.returncode == Exit.CODE_NEEDED

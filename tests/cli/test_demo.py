"""The demo: what the README promises."""

import os
import re
import signal

import pytest

from mesh_refresh.testing import FakeMesh, Lost, Reason
from tests.cli.conftest import Cli


def test_it_loses_nothing_and_says_so_in_plain_lines(cli: Cli) -> None:
    with cli.start("demo", "--fast") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    assert "\x1b" not in out
    assert out.isascii()
    for what, count in {
        "accounts refreshed": 13,
        "MFA codes asked for": 1,
        "refused": 1,
        "told to wait": 2,
        "cut off": 1,
        "callers cancelled": 1,
        "spent tokens sent again": 0,
        "tokens lost": 0,
    }.items():
        assert re.search(rf"^{what} +{count} ", out, re.MULTILINE), what
    assert "mesh-refresh refresh --help" in out
    assert "fake-refresh" not in out


@pytest.mark.parametrize("colourless", [False, True])
def test_on_a_terminal_it_is_live_and_honours_no_color(cli: Cli, *, colourless: bool) -> None:
    if colourless:
        cli.monkeypatch.setenv("NO_COLOR", "1")
    master, terminal = os.openpty()
    with cli.start("demo", "--fast", stdout=terminal) as process:
        os.close(terminal)
        screen = b""
        try:
            while chunk := os.read(master, 65536):
                screen += chunk
        except OSError:
            pass
        process.wait(30)
    os.close(master)
    assert process.returncode == 0
    assert b"\x1b[?25l" in screen, "a live table hides the cursor"
    assert screen.rfind(b"\x1b[?25h") > screen.rfind(b"\x1b[?25l"), "and shows it again"
    assert bool(re.search(rb"\x1b\[(\d+;)*3[0-7]m", screen)) is not colourless


def test_more_accounts(cli: Cli) -> None:
    ran = cli("demo", "--fast", "--accounts", "200", "--seed", "3")
    assert ran.code == 0
    assert re.search(r"^accounts refreshed +199 ", ran.out, re.MULTILINE)


def test_a_loss_would_be_told(cli: Cli) -> None:
    cli.monkeypatch.setattr(FakeMesh, "lost", lambda *_: [Lost("login-1", "acc-1", "coinbase", Reason.NOT_HELD)])
    ran = cli("demo", "--fast")
    assert ran.code == 1
    assert re.search(r"^tokens lost +1 ", ran.out, re.MULTILINE)


def test_ctrl_c_ends_it_quietly(cli: Cli) -> None:
    with cli.start("demo") as process:
        assert process.stdout is not None
        assert "14 accounts" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == ""

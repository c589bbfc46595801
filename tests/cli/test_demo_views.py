"""The demo's live picture, in windows of any size."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from mesh_refresh.cli.demo.fleet import SMALLEST, build_fleet
from mesh_refresh.cli.demo.pace import choose_pace
from mesh_refresh.cli.demo.rows import Board, Mood, Scene
from mesh_refresh.cli.demo.views import DemoTerminal
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.testing import FakeMesh

NOW = datetime.now(UTC)


def board_of(accounts: int = SMALLEST) -> Board:
    """A fleet as it is right after it was added, and a few scenes."""
    fake = FakeMesh()
    fleet = build_fleet(fake, accounts, 0, choose_pace(fast=False))
    logins = {it.login_id: Login(it.login_id, it.broker, (Account(it.login.token),)) for it in fleet.members}
    scenes = [Scene(number, f"user-{number}: something has happened that takes words", Mood.DIM) for number in range(9)]
    return Board(fake, fleet, logins, scenes=scenes, pid=4711)


def seen(board: Board, width: int = 110, height: int = 24) -> list[str]:
    """The lines of the picture in such a window."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, highlight=False)
    console.print(DemoTerminal(console).picture(board))
    return file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [40, 60, 76, 80, 104, 200])
@pytest.mark.parametrize("height", [12, 24, 60])
@pytest.mark.parametrize("accounts", [SMALLEST, 300])
def test_it_fits_into_the_window(width: int, height: int, accounts: int) -> None:
    board = board_of(accounts)
    lines = seen(board, width, height)
    assert len(lines) <= height - 2, "the headline stands above it, and wraps where the window is narrow"
    assert max(map(len, lines)) <= width
    assert any(line.startswith("coinbase") for line in lines)
    assert any("user-8: something" in line for line in lines), "the last scene"


def test_a_narrow_window_shows_less_of_each_login_and_cuts_no_word() -> None:
    wide, middle, narrow = (seen(board_of(), width) for width in (104, 76, 60))
    assert "keeps its refresh token" in "".join(wide)
    assert "keeps its refresh token" not in "".join(middle)
    assert any(line.startswith("tdAmeritrade  user-3") for line in middle)
    assert any(line.startswith("tdAmeritrade user-3  fresh ") for line in narrow), "what happens names logins"
    assert not any("…" in line for line in (*wide, *middle, *narrow[:14]))


def test_each_state_of_a_login_has_its_words() -> None:
    """They are short enough for the column that every window has."""
    board = board_of()
    fleet, soon = board.fleet, NOW + timedelta(minutes=1)
    vanguard, plain = fleet.vanguard.login_id, fleet.plain[0].login_id
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "fresh": (plain, {}),
        "wants an MFA code": (vanguard, {"state": AccountState.MFA_REQUIRED}),
        "fresh; now on demand only": (vanguard, {"needs_code": True}),
        "the person must log in again": (plain, {"state": AccountState.RECONNECT_REQUIRED}),
        "good; nothing to refresh": (plain, {"state": AccountState.MANAGED}),
        "ready a day after its login": (fleet.members[-1].login_id, {}),
        "unknown outcome: waiting": (plain, {"resend_not_before": soon}),
        "refused once: confirming": (plain, {"refused_at": NOW}),
        "due; the broker is held back": (plain, {"due_at": NOW - timedelta(minutes=1)}),
    }
    board.held_back = {fleet.plain[0].broker}
    for words, (login_id, changes) in cases.items():
        before = board.logins[login_id]
        board.logins[login_id] = evolve(before, accounts=(evolve(before.accounts[0], **changes),))
        assert board.rows(99)[fleet.members.index(fleet.by_id[login_id])].state == words
        assert any(f" {words} " in line for line in seen(board, 60, 40))
        board.logins[login_id] = before


def test_a_login_that_a_killed_worker_left_says_so_until_somebody_writes_it() -> None:
    board = board_of()
    left = board.fleet.plain[0].login_id
    board.orphans = {left: 7}
    assert board.rows(1)[0].state == "fresh"
    board.logins[left] = evolve(board.logins[left], revision=7)
    assert board.rows(1)[0].state == "leased by the killed worker"


def test_it_says_whether_a_worker_runs() -> None:
    board = board_of()
    assert "worker 4711" in "".join(seen(board))
    board.pid = None
    assert "no worker" in "".join(seen(board))
    board.over = True
    assert "the worker has stopped" in "".join(seen(board))

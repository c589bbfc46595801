"""The tables of `status` and `logins`, in windows of any width."""

import io
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from mesh_refresh.cli.fleet.logins.list_logins import _COLUMNS, _YIELDING
from mesh_refresh.cli.fleet.logins.status import _print as print_status
from mesh_refresh.cli.fleet.support.tables import Cell, show
from mesh_refresh.keeper import AccountState, BrokerSummary, Summary

NOW = datetime.now(UTC)
SOON, AGO = NOW + timedelta(days=3, hours=12), NOW - timedelta(hours=3, minutes=20)
LOGINS: list[Sequence[Cell]] = [
    ("user-1001", "coinbase", "U1234567", "active", None, SOON, SOON, 0, AGO),
    ("user-1002", "interactiveBrokers", "U7654321", "reconnect_required", "refused_after_unknown", AGO, None, 3, AGO),
    ("user-1003", "coinbase", None, "not_refreshable", None, None, None, 0, AGO),
]
STATES = dict.fromkeys(AccountState, 1)


def summary(*brokers: str, states: dict[AccountState, int]) -> Summary:
    one = BrokerSummary(12_345, states, 1, 1)
    return Summary(
        dict.fromkeys(brokers, one), 12_345, states, 1, 1, timedelta(hours=5), 0, 0, {}, frozenset(brokers), {}
    )


def in_a_window(work: Callable[[], object], width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a terminal so wide shows."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    work()
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


def listed(width: int, monkeypatch: pytest.MonkeyPatch, rows: Sequence[Sequence[Cell]] = LOGINS) -> list[str]:
    def work() -> None:
        show(_COLUMNS, rows, numbers=("failures",), yielding=_YIELDING)

    return in_a_window(work, width, monkeypatch)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_logins_fit_and_nothing_is_left_out(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listed(width, monkeypatch)
    assert max(map(len, lines)) <= width
    text = " ".join(lines)
    for row in LOGINS:
        for cell in row:
            assert not isinstance(cell, str) or cell in text
    assert re.search(r"\b3(?!h)\b", text)


def test_in_an_ordinary_window_a_login_that_is_well_takes_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are told from now, and what is wrong stands below."""
    lines = listed(80, monkeypatch)
    assert lines[0].split() == ["login", "broker", "account", "state", "expires", "due", "changed"]
    assert lines[1].split() == ["user-1001", "coinbase", "U1234567", "active", *["in", "3d"] * 2, "3h", "ago"]
    assert lines[2].startswith("user-1002 interactiveBrokers U7654321 reconnect_required")
    assert lines[3].strip() == "reason refused_after_unknown, failures 3"
    assert lines[4].startswith("user-1003")


def test_a_wide_window_has_every_column_and_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listed(200, monkeypatch)
    assert lines[0].split() == list(_COLUMNS)
    assert len(lines) == 4
    assert f"{SOON:%Y-%m-%d %H:%M:%S}Z" in lines[1]


def test_columns_that_say_nothing_give_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    row = (*LOGINS[0][:3], "reconnect_required", "ServerFailure", SOON, None, 0, AGO)
    lines = listed(80, monkeypatch, [row])
    assert "reason" in lines[0]
    assert "failures" not in lines[0]
    assert len(lines) == 2


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("states", [STATES, {AccountState.ACTIVE: 12_345}])
def test_a_status_fits_and_nothing_is_left_out(
    width: int, states: dict[AccountState, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    brokers = ("binanceInternationalDirect", "coinbase") if width > 40 else ("coinbase", "etoro")
    lines = in_a_window(lambda: print_status(summary(*brokers, states=states)), width, monkeypatch)
    assert max(map(len, lines)) <= width
    head, _, last = " ".join(lines).partition(" all ")
    assert head
    for state, number in states.items():
        word = re.escape(state.replace("_", " "))
        shown = re.search(rf"{word} {number}\b", last) or re.search(word.split(r"\ ")[-1], head)
        assert shown, state


def test_an_ordinary_status_fits_into_80_columns_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the audit of a new user had it: each row broke, for one digit."""
    states = {AccountState.ACTIVE: 300, AccountState.RECONNECT_REQUIRED: 2, AccountState.MFA_REQUIRED: 1}
    lines = in_a_window(
        lambda: print_status(summary("cryptocurrencyAddress", "coinbase", states=states)), 80, monkeypatch
    )
    rows = [line for line in lines if line.startswith(("cryptocurrencyAddress", "coinbase", "all"))]
    assert len(rows) == 3
    assert lines.index(rows[1]) == lines.index(rows[0]) + 1
    assert {len(row.split()) for row in rows} == {len(lines[1].split())}

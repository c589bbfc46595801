"""The fleet as values: what the page makes of figures and of what processes tell."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from mesh_refresh.keeper import Minute, Process
from mesh_refresh.observing import BrokerFigures, Figures, KeeperState
from mesh_refresh.service.page.fleet_view import Snapshot, last_hour, open_breakers, plot_due, view_fleet
from mesh_refresh.stores import BrokerPause
from tests.keeper.making import START

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
AT = START + 30 * SECOND


def process(name: str = "p", at: datetime = AT, hour: tuple[Minute, ...] = (), **state: Any) -> Process:
    given: dict[str, Any] = {
        "in_flight": 0,
        "unsaved_logins": 0,
        "spool_files": None,
        "breakers": {},
        "events_dropped": 0,
        "last_round": AT,
        **state,
    }
    return Process(name, "run", at, "1.0", KeeperState(**given), hour)


def figures(**changes: Any) -> Figures:
    states = {"active": 8, **changes.pop("states", {})}
    broker = BrokerFigures(10, states, 1, changes.get("due", 0))
    return Figures(AT, 0.1, {"coinbase": broker}, 0, **{"due": 0, "most_overdue": 0.0, **changes})


def snapshot(counted: Figures | None, *processes: Process, paused: tuple[str, ...] = ()) -> Snapshot:
    pauses = {broker: BrokerPause(broker, "why", "robin", AT) for broker in paused}
    return Snapshot(AT, counted, processes, pauses)


def test_all_is_well() -> None:
    view = view_fleet(snapshot(figures(), process()))
    assert (view.mood, list(view.troubles)) == ("good", [])


@pytest.mark.parametrize(
    ("given", "mood", "words"),
    [
        (snapshot(None, process()), "warn", "has not been counted"),
        (snapshot(figures()), "bad", "No process with a loop"),
        (snapshot(figures(), process(last_round=None)), "bad", "No process with a loop"),
        (snapshot(figures(), process(), process("q", AT - MINUTE)), "warn", "(run) has been silent for 60 s"),
        (snapshot(figures(), process(unsaved_logins=2)), "bad", "New tokens of 2 logins"),
        (snapshot(figures(), process(unopened_logins=2)), "bad", "A process (run) has met 2 logins that no key of it"),
        (snapshot(figures(states={"mfa_required": 1}), process()), "warn", "Waiting for an MFA code: 1 login."),
        (snapshot(figures(states={"unreadable": 2}), process()), "bad", "With an unreadable reply: 2 logins."),
        (
            snapshot(figures(due=3, most_overdue=600.0), process()),
            "bad",
            "3 logins due now, the most overdue for 10 min",
        ),
        (snapshot(figures(notices_waiting=1, notices_dead=1), process()), "warn", "1 notice given up"),
        (snapshot(figures(), process(breakers={"*": "not_sent"})), "bad", "breaker"),
        (snapshot(figures(), process(breakers={"etoro": "throttled"})), "warn", "breaker"),
        (snapshot(figures(), process(), paused=("etoro",)), "warn", "pause"),
        (Snapshot(AT + 20 * MINUTE, figures(), [process(at=AT + 20 * MINUTE)], {}), "bad", "was counted 20 min ago"),
    ],
)
def test_troubles(given: Snapshot, mood: str, words: str) -> None:
    """Each is found, and nothing else is."""
    (trouble,) = view_fleet(given).troubles
    assert trouble.mood == mood
    assert words in trouble.text


def test_a_breaker_is_told_once_for_all_processes() -> None:
    """With each fault, and the next probe of any."""
    state: dict[str, Any] = {"breakers": {"etoro": "throttled"}, "next_probes": {"etoro": AT + MINUTE}}
    other: dict[str, Any] = {
        "breakers": {"etoro": "unavailable", "*": "not_sent"},
        "next_probes": {"etoro": AT + SECOND},
    }
    every, etoro = open_breakers([process("a", **state), process("b", **other), Process("c", "run", AT)])
    assert (every.broker, every.next_probe, every.processes) == ("*", None, 1)
    assert (etoro.faults, etoro.next_probe, etoro.processes) == (("throttled", "unavailable"), AT + SECOND, 2)


def test_who_is_held_back() -> None:
    """By a pause or a breaker, of one broker or of all."""
    view = view_fleet(snapshot(figures(), process(breakers={"etoro": "throttled"}), paused=("kraken",)))
    assert "Mesh asks for fewer requests" in (view.held("etoro") or "")
    assert "paused" in (view.held("kraken") or "")
    assert view.held("coinbase") is None
    assert view_fleet(snapshot(figures(), process(breakers={"*": "not_sent"}))).held("coinbase") is not None


def test_the_last_hour_of_all_processes() -> None:
    """Minute by minute; what is older or newer is left out."""
    one = (Minute(START - 60 * MINUTE, refreshed=9), Minute(START - 59 * MINUTE, refreshed=1), Minute(START, failed=2))
    two = (Minute(START, refreshed=3, asked=1, latest=4.0), Minute(START + MINUTE, refreshed=9))
    minutes = last_hour([process(hour=one), process(hour=two)], AT)
    assert len(minutes) == 60
    assert minutes[0] == Minute(START - 59 * MINUTE, refreshed=1)
    assert minutes[-1] == Minute(START, refreshed=3, asked=1, failed=2, latest=4.0)
    assert sum(it.refreshed for it in minutes) == 4


def test_a_plot_says_what_it_shows() -> None:
    """For people who do not see it; and it has no style of its own, which the page's policy forbids."""
    plot = plot_due(figures(due_by_hour=(0, 3, 1)))
    assert 'aria-label="Due in the next 24 hours: 4 logins in 24 hours. Most in hour 2: 3."' in plot.picture
    assert "style=" not in plot.picture
    assert plot.picture.count("<rect") == 2
    assert "not counted yet" in plot_due(None).picture

"""Faults that are nobody's: one event, few probes, no account blamed, and all goes on afterwards."""

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.breakers import Breakers
from mesh_refresh.keeper.events import Fault
from mesh_refresh.keeper.gate import Place
from tests.examples import bounded
from tests.keeper.unit.making import START, at
from tests.keeper.unit.road import Answer, Road, Said

FOR_ALL = [Fault.THROTTLED, Fault.UNAVAILABLE, Fault.NOT_SENT]
HALTS = [Fault.CLIENT_REFUSED, Fault.REDIRECTED]
OF_ONE = [Fault.NOT_PERMITTED, Fault.REJECTED]
POLICY = Policy(concurrency=10, concurrency_each=10)


def always(said: Answer) -> Callable[[str], Answer]:
    return lambda _: said


def only(broker: str, said: Answer) -> Callable[[str], Answer]:
    return lambda name: said if name == broker else Said.FRESH


@pytest.mark.parametrize("fault", [*FOR_ALL, *HALTS, *OF_ONE])
def test_one_event_and_few_probes(fault: Fault) -> None:
    """Ten minutes of it: one event when it opens, one when it closes, and probes that grow rarer up to a cap."""
    road = Road(POLICY)
    road.run(5, always(Said.FRESH))
    road.run(600, always(fault))
    tripped = road.begun[0][0] + 5.5
    scope = "coinbase" if fault in OF_ONE else None
    assert road.opened == [(scope, fault)]
    probes = road.since(tripped)
    pauses = [later - sooner for sooner, later in itertools.pairwise(probes)]
    assert all(later >= sooner for sooner, later in itertools.pairwise(pauses))
    assert 55 <= max(pauses) <= 65
    assert len(probes) <= (11 if fault in HALTS else 15)
    road.run(70, always(Said.FRESH))
    assert road.closed == road.opened
    assert road.gate.in_flight == POLICY.concurrency
    assert road.blamed == 0


@pytest.mark.parametrize("fault", [*FOR_ALL, *HALTS, *OF_ONE, Said.UNKNOWN, Said.UNREADABLE])
def test_callers_are_held_to_the_same_probes(fault: Answer) -> None:
    """However many ask at once: one probe at a time, and no more of them than without callers."""
    road = Road(Policy(concurrency=50), step=0.25, delay=8)
    road.run(30, always(fault), callers=40)
    start = road.now
    road.most.clear()
    road.run(600, always(fault), callers=40)
    assert road.most["all"] <= 1
    assert len(road.since(start)) <= 15


@pytest.mark.parametrize("fault", FOR_ALL)
def test_probes_go_round_all_brokers(fault: Fault) -> None:
    """No broker is the only one to be asked whether all is well again."""
    road = Road(POLICY, "one", "two", "three")
    road.run(5, always(Said.FRESH))
    start = road.now
    road.run(300, always(fault))
    probed = [name for when, name in road.begun if when > start + 1]
    assert {"one", "two", "three"} == set(probed[:3]) == set(probed[3:6])


@pytest.mark.parametrize("fault", OF_ONE)
def test_one_brokers_fault_is_not_the_others(fault: Fault) -> None:
    """They are refreshed as if nothing was."""
    road = Road(POLICY, "bad", "good")
    road.run(60, only("bad", fault))
    start = road.now
    road.run(60, only("bad", fault), callers=20)
    assert road.opened == [("bad", fault)]
    assert len(road.since(start, "bad")) <= 3
    assert len(road.since(start, "good")) >= 60 / 0.5 * 9


def test_retry_after_is_waited_for() -> None:
    """Also beyond the cap, and by everybody."""
    road = Road(POLICY)
    road.run(1, always(Said.FRESH))
    road.retry_after = timedelta(minutes=5)
    road.run(1, always(Fault.THROTTLED))
    start = road.now
    road.run(290, always(Fault.THROTTLED), callers=5)
    assert road.since(start) == []
    road.retry_after = None
    road.run(15, always(Said.FRESH))
    assert road.since(start) != []
    assert road.closed == [(None, Fault.THROTTLED)]


def test_a_halt_says_why() -> None:
    """And is over with the first probe that goes through."""
    for fault in HALTS:
        road = Road(POLICY).run(2, always(fault))
        assert road.gate.breakers.halted is fault
        assert road.gate.breakers.blocked("anything", road.now) is not None
        road.run(60, always(Said.FRESH))
        assert road.gate.breakers.halted is None
    assert Road(POLICY).run(2, always(Fault.THROTTLED)).gate.breakers.halted is None


def test_stragglers_say_nothing_new() -> None:
    """What was sent before it opened neither lengthens the pause nor lets a second probe through."""
    road = Road(POLICY)
    early = [road.enter("coinbase") for _ in range(9)]
    road.tell(early[0], "login-a", Fault.UNAVAILABLE)
    road.now += 5.1
    probe = road.enter("coinbase")
    assert probe.probe
    for place in early[1:]:
        road.tell(place, "login-b", Fault.UNAVAILABLE)
        road.gate.leave(place)
        assert road.gate.shut("coinbase", road.now) is not None, "the probe is still out"
    road.tell(probe, "login-c", Fault.UNAVAILABLE)
    road.gate.leave(probe)
    shut = road.gate.shut("coinbase", road.now)
    assert shut is not None
    assert shut.seconds == pytest.approx(10)
    assert len(road.opened) == 1


def test_a_probe_that_was_not_sent_after_all() -> None:
    """Its place as the probe is free again at once, and only its own."""
    road = Road(POLICY).run(1, always(Fault.UNAVAILABLE))
    road.now += 60
    first = road.enter("coinbase")
    assert road.gate.shut("coinbase", road.now) is not None
    road.gate.leave(first)
    assert road.gate.shut("coinbase", road.now) is None
    second = road.enter("coinbase")
    assert second.probe
    assert road.gate.shut("coinbase", road.now) is not None
    road.gate.leave(second)


def test_what_let_one_probe_pass_may_not_let_all_pass() -> None:
    """A Mesh that flaps is asked more and more rarely: an hour of that is bounded."""
    road, calls = Road(POLICY), [0]

    def flapping(_: str) -> Answer:
        calls[0] += 1
        return Said.FRESH if calls[0] % 11 == 0 else Fault.UNAVAILABLE

    road.run(3600, flapping)
    assert len(road.begun) < 3600 / 60 * 11 * 1.5


@pytest.mark.parametrize("run", [1, 5, 10])
def test_a_run_of_unknown_outcomes(run: int) -> None:
    """So many of distinct logins without a success between cool the broker down; two brokers' together, all of them."""
    breakers = Breakers(Policy(unknown_run=run))
    for number in range(run):
        assert breakers.open == {}
        list(breakers.unknown("one", f"login-{number}", 1.0, START, ()))
    assert breakers.open == {"one": Fault.UNKNOWN_OUTCOMES}
    for number in range(2 * run):
        list(breakers.unknown("two", f"login-{number}", 1.0, START, ()))
    assert breakers.open.get("two") is Fault.UNKNOWN_OUTCOMES
    assert breakers.blocked("three", 1.0) is not None or run == 1


def test_one_login_makes_no_run() -> None:
    """Nor do unknown outcomes with anything else between."""
    breakers = Breakers(POLICY)
    for number in range(100):
        list(breakers.unknown("one", "the same", 1.0, START, ()))
        list(breakers.unknown("two", f"login-{number}", 1.0, START, ()))
        if number % 9 == 8:
            list(breakers.succeeded("two", "x", 1.0, START, ()))
    assert breakers.open == {}


@pytest.mark.parametrize("run", [1, 5])
def test_a_run_of_unreadable_replies(run: int) -> None:
    """So many of distinct logins cool their broker down; a second broker that says so meanwhile, all of them."""
    breakers = Breakers(Policy(unreadable_run=run))
    for number in range(run):
        assert breakers.open == {}
        for _ in range(3):
            list(breakers.unreadable("one", f"login-{number}", 1.0, START, ()))
    assert breakers.open == {"one": Fault.UNREADABLE}
    assert breakers.blocked("two", 1.0) is None
    for number in range(run):
        assert None not in breakers.open
        list(breakers.unreadable("two", f"login-{number}", 1.0, START, ()))
    assert breakers.open == dict.fromkeys(("one", "two", None), Fault.UNREADABLE)


@pytest.mark.parametrize("said", [Said.FRESH, Said.REFUSED, Said.LOCKED])
def test_what_can_be_read_ends_a_run_of_its_broker(said: Answer) -> None:
    """And of no other. An unknown outcome does not: nobody has read anything."""
    road = Road(Policy(refusal_logins=1000), "one", "two")
    for number in range(40):
        between = said if number % 4 == 3 else Said.UNREADABLE
        road.tell(Place("one", ()), f"login-{number}", between)
        road.tell(Place("two", ()), f"login-{number}", said)
    assert road.opened == []
    for number in range(5):
        road.tell(Place("two", ()), f"login-{number}", Said.UNREADABLE)
        road.tell(Place("two", ()), f"login-{number}", Said.UNKNOWN)
        road.tell(Place("one", ()), f"login-{number}", said)
    assert road.opened == [("two", Fault.UNREADABLE)]


def test_probes_that_cannot_be_read_keep_it_open() -> None:
    """They grow rarer, whatever opened it, and the first that can be read closes it."""
    road = Road(POLICY)
    road.run(600, always(Said.UNREADABLE))
    assert road.opened == [("coinbase", Fault.UNREADABLE)]
    probes = road.since(road.begun[0][0] + 5.5)
    assert len(probes) <= 15
    assert 55 <= max(later - sooner for sooner, later in itertools.pairwise(probes)) <= 65
    road.run(70, always(Said.LOCKED))
    assert road.closed == road.opened
    road = Road(POLICY).run(5, always(Fault.UNAVAILABLE)).run(600, always(Said.UNREADABLE))
    assert road.opened == [(None, Fault.UNAVAILABLE), ("coinbase", Fault.UNREADABLE)]
    assert road.closed == []


_ANSWERS: list[Answer] = [*Said, *Fault]


@given(st.lists(st.tuples(st.sampled_from(_ANSWERS), st.floats(0.5, 200)), min_size=1, max_size=8), st.booleans())
@bounded(60)
def test_whatever_happens_all_goes_on_afterwards(story: list[tuple[Answer, float]], callers: bool) -> None:
    """Within a minute or so after the last fault, at full width, with every opening closed once."""
    road = Road(Policy(concurrency=6), "one", "two", step=1.0)
    for answer, seconds in story:
        road.run(seconds, only("two", answer) if answer in OF_ONE else always(answer), callers=callers * 3)
        assert road.most["all"] <= 6
    road.run(200, always(Said.FRESH))
    assert road.gate.breakers.open == {}
    assert sorted(map(str, road.opened)) == sorted(map(str, road.closed))
    start = road.now
    road.run(10, always(Said.FRESH))
    assert len(road.since(start)) >= 6 * 4


def test_events_tell_times() -> None:
    """When the first probe goes, and since when it was open."""
    breakers = Breakers(POLICY)
    said = {"retry_after": timedelta(seconds=90), "display_message": "Slow down."}
    [opened] = breakers.nobodys("one", Fault.THROTTLED, 7.0, at(7), (), **said)  # type: ignore[arg-type]
    assert (opened.at, getattr(opened, "retry_at", None)) == (at(7), at(97))
    probe = breakers.probe("one", 98.0)
    [closed] = breakers.succeeded("one", "login", 99.0, at(99), probe)
    assert (closed.at, getattr(closed, "opened_at", None)) == (at(99), at(7))

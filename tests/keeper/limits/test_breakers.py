"""Outages that are no account's fault: one event, few probes, no account blamed, and all goes on afterwards."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.events import BreakerClosed, BreakerFault, BreakerOpened
from mesh_refresh.keeper.limits.breakers import Blocked, Breakers
from mesh_refresh.keeper.limits.limiter import Permit
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.failure import BackedOff
from mesh_refresh.logins import Account
from tests.examples import bounded
from tests.keeper.limits.road import Answer, Road, Said
from tests.keeper.making import START, at, attempt, made

FOR_ALL = [BreakerFault.CLIENT_REFUSED, BreakerFault.NOT_SENT]
SPREADING = [BreakerFault.THROTTLED, BreakerFault.UNAVAILABLE, BreakerFault.REDIRECTED]
SLOW = [BreakerFault.CLIENT_REFUSED, BreakerFault.REDIRECTED]
BY_NUMBER = [BreakerFault.NOT_PERMITTED, BreakerFault.REJECTED]
POLICY = Policy(concurrency=10, concurrency_each=10)


def always(said: Answer) -> Callable[[str], Answer]:
    return lambda _: said


def only(broker: str, said: Answer) -> Callable[[str], Answer]:
    return lambda name: said if name == broker else Said.FRESH


@pytest.mark.parametrize("fault", [*FOR_ALL, *SPREADING, *BY_NUMBER])
def test_one_event_and_few_probes(fault: BreakerFault) -> None:
    """Ten minutes of it: one event when it opens, one when it closes, and probes that grow rarer up to a cap."""
    road = Road(POLICY)
    if fault not in BY_NUMBER:
        road.run(5, always(Said.FRESH))
    road.run(600, always(fault))
    assert road.opened == [(None if fault in FOR_ALL else "coinbase", fault)]
    probes = road.since(road.events[0].at.timestamp() - at().timestamp())
    pauses = [later - sooner for sooner, later in itertools.pairwise(probes)]
    assert all(later >= sooner for sooner, later in itertools.pairwise(pauses))
    assert 55 <= max(pauses) <= 65
    assert len(probes) <= (11 if fault in SLOW else 15)
    road.run(70, always(Said.FRESH))
    assert road.closed == road.opened
    assert road.limiter.in_flight == POLICY.concurrency
    assert road.blamed == (POLICY.fault_logins - 1 if fault in BY_NUMBER else 0)
    assert road.undone == road.blamed


@pytest.mark.parametrize("fault", [*FOR_ALL, *SPREADING, *BY_NUMBER, Said.UNKNOWN, Said.UNREADABLE])
def test_callers_are_held_to_the_same_probes(fault: Answer) -> None:
    """However many ask at once: one probe at a time, and no more of them than without callers."""
    road = Road(Policy(concurrency=50), step=0.25, delay=8)
    road.run(30, always(fault), callers=40)
    start = road.now
    road.most.clear()
    road.run(600, always(fault), callers=40)
    assert road.most["all"] <= 1
    assert len(road.since(start)) <= 15


@pytest.mark.parametrize("fault", [BreakerFault.NOT_SENT, BreakerFault.THROTTLED, BreakerFault.UNAVAILABLE])
def test_probes_go_round_all_brokers(fault: BreakerFault) -> None:
    """No broker is the only one to be asked whether all is well again."""
    road = Road(POLICY, "one", "two", "three")
    road.run(5, always(Said.FRESH))
    start = road.now
    road.run(300, always(fault))
    probed = [name for when, name in road.begun if when > start + 1]
    assert {"one", "two", "three"} == set(probed[:3]) == set(probed[3:6])


@pytest.mark.parametrize("fault", [*SPREADING, *BY_NUMBER])
def test_one_brokers_fault_is_not_the_others(fault: BreakerFault) -> None:
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
    road.run(1, always(BreakerFault.THROTTLED))
    start, breakers = road.now, road.limiter.breakers
    (wait,) = breakers.next_probes(start).values()
    assert 295 < wait <= 300
    assert breakers.next_probes(start + 301) == {"coinbase": 0}
    road.run(290, always(BreakerFault.THROTTLED), callers=5)
    assert road.since(start) == []
    road.retry_after = None
    road.run(15, always(Said.FRESH))
    assert road.since(start) != []
    assert road.closed == [("coinbase", BreakerFault.THROTTLED)]


def test_a_halt_says_why() -> None:
    """And is over with the first probe that goes through. A redirect is one where a second broker is redirected."""
    for fault in SLOW:
        road = Road(POLICY, "one", "two").run(2, always(fault))
        assert road.limiter.breakers.halted is fault
        assert road.limiter.breakers.blocked("anything", road.now) is not None
        road.run(61, always(Said.FRESH))
        assert road.limiter.breakers.halted is None
    assert Road(POLICY).run(2, always(BreakerFault.REDIRECTED)).limiter.breakers.halted is None
    assert Road(POLICY).run(2, always(BreakerFault.THROTTLED)).limiter.breakers.halted is None


def test_stragglers_say_nothing_new() -> None:
    """What was sent before it opened neither lengthens the pause nor lets a second probe through."""
    road = Road(POLICY)
    early = [road.enter("coinbase") for _ in range(9)]
    road.tell(early[0], "login-a", BreakerFault.UNAVAILABLE)
    road.now += 5.1
    probe = road.enter("coinbase")
    assert probe.probe
    for place in early[1:]:
        road.tell(place, "login-b", BreakerFault.UNAVAILABLE)
        road.limiter.leave(place)
        assert road.limiter.shut("coinbase", "login", road.now) is not None, "the probe is still out"
    road.tell(probe, "login-c", BreakerFault.UNAVAILABLE)
    road.limiter.leave(probe)
    shut = road.limiter.shut("coinbase", "login", road.now)
    assert shut is not None
    assert shut.seconds == pytest.approx(10)
    assert len(road.opened) == 1


def test_a_probe_that_was_not_sent_after_all() -> None:
    """Its place as the probe is free again at once, and only its own."""
    road = Road(POLICY).run(1, always(BreakerFault.UNAVAILABLE))
    road.now += 60
    first = road.enter("coinbase")
    assert road.limiter.shut("coinbase", "login", road.now) is not None
    road.limiter.leave(first)
    assert road.limiter.shut("coinbase", "login", road.now) is None
    second = road.enter("coinbase")
    assert second.probe
    assert road.limiter.shut("coinbase", "login", road.now) is not None
    road.limiter.leave(second)


def test_what_let_one_probe_pass_may_not_let_all_pass() -> None:
    """A Mesh that flaps is asked more and more rarely: an hour of that is bounded."""
    road, calls = Road(POLICY), [0]

    def flapping(_: str) -> Answer:
        calls[0] += 1
        return Said.FRESH if calls[0] % 11 == 0 else BreakerFault.UNAVAILABLE

    road.run(3600, flapping)
    assert len(road.begun) < 3600 / 60 * 11 * 1.5


@pytest.mark.parametrize("run", [1, 5, 10])
def test_a_run_of_unknown_outcomes(run: int) -> None:
    """So many of distinct logins without a success between cool the broker down; two brokers' together, all of them."""
    breakers = Breakers(Policy(unknown_run=run))
    for number in range(run):
        assert breakers.open == {}
        list(breakers.unknown("one", f"login-{number}", 1.0, START, ()))
    assert breakers.open == {"one": BreakerFault.UNKNOWN_OUTCOMES}
    for number in range(2 * run):
        list(breakers.unknown("two", f"login-{number}", 1.0, START, ()))
    assert breakers.open.get("two") is BreakerFault.UNKNOWN_OUTCOMES
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
    assert breakers.open == {"one": BreakerFault.UNREADABLE}
    assert breakers.blocked("two", 1.0) is None
    for number in range(run):
        assert None not in breakers.open
        list(breakers.unreadable("two", f"login-{number}", 1.0, START, ()))
    assert breakers.open == dict.fromkeys(("one", "two", None), BreakerFault.UNREADABLE)


@pytest.mark.parametrize("said", [Said.FRESH, Said.REFUSED, Said.LOCKED])
def test_what_can_be_read_ends_a_run_of_its_broker(said: Answer) -> None:
    """And of no other. An unknown outcome does not: nobody has read anything."""
    road = Road(Policy(refusal_logins=1000), "one", "two")
    for number in range(40):
        between = said if number % 4 == 3 else Said.UNREADABLE
        road.tell(Permit("one", ()), f"login-{number}", between)
        road.tell(Permit("two", ()), f"login-{number}", said)
    assert road.opened == []
    for number in range(5):
        road.tell(Permit("two", ()), f"login-{number}", Said.UNREADABLE)
        road.tell(Permit("two", ()), f"login-{number}", Said.UNKNOWN)
        road.tell(Permit("one", ()), f"login-{number}", said)
    assert road.opened == [("two", BreakerFault.UNREADABLE)]


def test_probes_that_cannot_be_read_keep_it_open() -> None:
    """They grow rarer, whatever opened it, and the first that can be read closes it."""
    road = Road(POLICY)
    road.run(600, always(Said.UNREADABLE))
    assert road.opened == [("coinbase", BreakerFault.UNREADABLE)]
    probes = road.since(road.begun[0][0] + 5.5)
    assert len(probes) <= 15
    assert 55 <= max(later - sooner for sooner, later in itertools.pairwise(probes)) <= 65
    road.run(70, always(Said.LOCKED))
    assert road.closed == road.opened
    road = Road(POLICY).run(5, always(BreakerFault.UNAVAILABLE)).run(600, always(Said.UNREADABLE))
    assert road.opened == [("coinbase", BreakerFault.UNAVAILABLE)]
    assert road.closed == []


_ANSWERS: list[Answer] = [*Said, *BreakerFault]


@given(st.lists(st.tuples(st.sampled_from(_ANSWERS), st.floats(0.5, 200)), min_size=1, max_size=8), st.booleans())
@bounded(60)
def test_whatever_happens_all_goes_on_afterwards(story: list[tuple[Answer, float]], callers: bool) -> None:
    """Within a minute or so after the last fault, at full width, with every opening closed once."""
    road = Road(Policy(concurrency=6), "one", "two", step=1.0)
    for answer, seconds in story:
        road.run(seconds, only("two", answer) if answer in BY_NUMBER else always(answer), callers=callers * 3)
        assert road.most["all"] <= 6
    road.run(200, always(Said.FRESH))
    assert road.limiter.breakers.open == {}
    assert sorted(map(str, road.opened)) == sorted(map(str, road.closed))
    start = road.now
    road.run(10, always(Said.FRESH))
    assert len(road.since(start)) >= 6 * 4


@pytest.mark.parametrize("fault", SPREADING)
def test_an_outage_that_one_login_alone_meets_is_its_own(fault: BreakerFault) -> None:
    """Another login has succeeded since. The first login that meets it besides shows that it is the broker's."""
    breakers, now = Breakers(POLICY), itertools.count(100, 100)

    def meets(login: str) -> tuple[bool, bool]:
        """Whether the login is blamed, and whether a breaker opens."""
        moment = next(now)
        probe = breakers.probe("one", moment)
        found = breakers.outage("one", fault, moment, at(moment), probe, login_id=login)
        breakers.end_probe(probe)
        return found.blamed, bool(found.events)

    def succeeds(login: str) -> None:
        moment = next(now)
        list(breakers.succeeded("one", login, moment, at(moment), breakers.probe("one", moment)))
        assert breakers.open == {}

    assert meets("sick") == (False, True)
    assert meets("sick") == (False, False), "while it is open, nothing is known"
    succeeds("healthy")
    assert [meets("sick") for _ in range(3)] == [(True, False)] * 3
    assert meets("another") == (False, True)
    left = breakers.blocked("one", next(now) - 200)
    assert meets("sick") == (True, False)
    assert left is not None
    assert breakers.blocked("one", next(now)) is None, "as a probe it tells nothing of the broker"
    succeeds("sick")
    assert meets("sick") == (False, True), "it was well"
    succeeds("healthy")
    for number in range(POLICY.fault_logins):
        meets(f"login-{number}")
    succeeds("healthy")
    assert meets("sick") == (False, True), "so many are about the broker"


def test_callers_of_a_login_that_met_an_outage_let_another_try_first() -> None:
    """For one more pause, where there is another one that asks. A caller who asks often would take each probe."""
    breakers = Breakers(POLICY)
    breakers.outage("one", BreakerFault.THROTTLED, 0.0, at(), (), login_id="sick")
    (pause,) = [it.seconds for it in [breakers.keep_back("one", "sick", 0.0)] if it]
    assert breakers.keep_back("one", "sick", pause) is None, "it is alone"
    assert breakers.keep_back("one", "healthy", pause / 2) is not None
    late = breakers.keep_back("one", "sick", pause)
    assert late == Blocked(BreakerFault.THROTTLED, pause)
    assert breakers.keep_back("one", "healthy", pause) is None
    assert breakers.keep_back("one", "sick", 2 * pause) is None


def test_events_tell_times() -> None:
    """When the first probe goes, and since when it was open."""
    breakers = Breakers(POLICY)
    said = {"retry_after": timedelta(seconds=90), "display_message": "Slow down."}
    [opened] = breakers.outage("one", BreakerFault.THROTTLED, 7.0, at(7), (), login_id="login", **said).events  # type: ignore[arg-type]
    assert (opened.at, getattr(opened, "retry_at", None)) == (at(7), at(97))
    probe = breakers.probe("one", 98.0)
    [closed] = breakers.succeeded("one", "login", 99.0, at(99), probe)
    assert (closed.at, getattr(closed, "opened_at", None)) == (at(99), at(7))


def rejected(breakers: Breakers, login: str, broker: str = "one", now: float = 1.0, **given: Any) -> bool:
    """Whether the account is blamed."""
    note = BackedOff(login, f"account of {login}", 1, 0, 0, None, None, None)
    probe = breakers.probe(broker, now)
    found = breakers.rejected(broker, BreakerFault.NOT_PERMITTED, now, at(now), probe, backed_off=note, **given)
    breakers.end_probe(probe)
    return found.blamed


@pytest.mark.parametrize("fault", SPREADING)
def test_a_second_broker_that_says_the_same_holds_all_back(fault: BreakerFault) -> None:
    """While the first one is held back. Another fault of a second broker does not."""
    other = next(it for it in SPREADING if it is not fault)
    breakers = Breakers(POLICY)
    told = [
        *breakers.outage("one", fault, 1.0, at(1), (), login_id="login").events,
        *breakers.outage("two", other, 1.0, at(1), (), login_id="login").events,
    ]
    assert breakers.open == {"one": fault, "two": other}
    assert breakers.blocked("four", 1.0) is None
    told += breakers.outage("three", fault, 2.0, at(2), (), login_id="login").events
    assert breakers.open == {"one": fault, "two": other, "three": fault, None: fault}
    assert breakers.blocked("four", 2.0) is not None
    probe = breakers.probe("four", 100.0)
    told += breakers.succeeded("four", "login", 100.0, at(100), probe)
    assert breakers.blocked("five", 100.0) is None, "one that is well shows that it is not all"
    assert set(breakers.open) == {"one", "two", "three"}
    assert [it.broker for it in told] == ["one", "two", "three", None, None]


def test_the_second_broker_after_the_first_is_well_again() -> None:
    """It is alone with it."""
    breakers = Breakers(POLICY)
    breakers.outage("one", BreakerFault.THROTTLED, 1.0, at(1), (), login_id="login")
    list(breakers.succeeded("one", "login", 60.0, at(60), breakers.probe("one", 60.0)))
    breakers.outage("two", BreakerFault.THROTTLED, 61.0, at(61), (), login_id="login")
    assert breakers.open == {"two": BreakerFault.THROTTLED}


def test_probes_of_all_that_say_the_same_keep_all_back() -> None:
    """And grow rarer."""
    road = Road(POLICY, "one", "two", "three")
    road.run(300, always(BreakerFault.UNAVAILABLE))
    assert (None, BreakerFault.UNAVAILABLE) in road.opened
    assert not [it for it in road.closed if it[0] is None]
    assert len(road.begun) <= 10 + 15


@pytest.mark.parametrize("before", [BreakerFault.THROTTLED, BreakerFault.UNAVAILABLE, BreakerFault.NOT_SENT])
def test_refused_keys_halt_whatever_is_open(before: BreakerFault) -> None:
    """At once, and `halted` says so."""
    breakers = Breakers(POLICY)
    for broker in ("one", "two"):
        breakers.outage(broker, before, 1.0, at(1), (), login_id="login")
    assert None in breakers.open
    breakers.outage("three", BreakerFault.CLIENT_REFUSED, 2.0, at(2), (), login_id="login")
    assert breakers.halted is BreakerFault.CLIENT_REFUSED
    one = Breakers(POLICY)
    one.outage("one", BreakerFault.CLIENT_REFUSED, 2.0, at(2), (), login_id="login")
    assert one.halted is BreakerFault.CLIENT_REFUSED


def test_one_login_opens_nothing_however_often() -> None:
    """Nor do as many as one fewer than the policy says."""
    breakers = Breakers(POLICY)
    for number in range(200):
        assert rejected(breakers, f"login-{number % 9}", now=float(number))
    assert breakers.open == {}
    assert not rejected(breakers, "the tenth", now=200.0)
    assert breakers.open == {"one": BreakerFault.NOT_PERMITTED}


@pytest.mark.parametrize(("healthy", "opens"), [(10, True), (11, False)])
def test_a_broker_that_half_of_its_logins_are_well_at(healthy: int, opens: bool) -> None:
    """By the share of those that were answered, in whatever way, within the window."""
    breakers = Breakers(POLICY)
    for number in range(healthy):
        if number % 3:
            list(breakers.succeeded("one", f"healthy-{number}", 1.0, at(1), ()))
        else:
            list(breakers.answered("one", 1.0, at(1), (), login_id=f"healthy-{number}"))
    for number in range(10):
        rejected(breakers, f"login-{number}")
    assert bool(breakers.open) is opens
    late = Breakers(POLICY)
    for number in range(healthy):
        list(late.succeeded("one", f"healthy-{number}", 1.0, at(1), ()))
    for number in range(10):
        rejected(late, f"login-{number}", now=700.0)
    assert late.open, "those were answered too long ago"


def test_the_tenth_is_not_blamed_and_the_nine_are_undone() -> None:
    """With what was before the first of their failures; what has succeeded since is none of them."""
    breakers = Breakers(POLICY)
    account = replace_account()
    notes = []
    for number in range(1, 4):
        note = BackedOff.of(account, attempt_of(account, number))
        assert breakers.rejected("one", BreakerFault.REJECTED, 1.0, at(1), (), backed_off=note).blamed
        account = evolve(account, failures=account.failures + 1, failed_by=number)
        notes.append(note)
    rejected(breakers, "well again")
    list(breakers.succeeded("one", "well again", 1.0, at(1), (), account="account of well again"))
    for number in range(8):
        rejected(breakers, f"login-{number}")
    found = breakers.rejected(
        "one", BreakerFault.REJECTED, 2.0, at(2), (), backed_off=BackedOff("last", "last", 1, 0, 0, None, None, None)
    )
    assert not found.blamed
    assert {it.epoch for it in found.undo} == {account.epoch, *(f"account of login-{n}" for n in range(8))}
    first = next(it for it in found.undo if it.epoch == account.epoch)
    assert first == evolve(notes[0], number=3)


def replace_account() -> Account:
    return evolve(made().accounts[0], failures=2, failed_by=0, failing_since=at(-9), last_error="Locked")


def attempt_of(account: Account, number: int) -> Attempt:
    return attempt(evolve(made(), accounts=(account,)), number)


def test_a_probe_is_not_blocked_by_its_own_breaker() -> None:
    """All other requests are, as long as it is under way."""
    breakers = Breakers(POLICY)
    breakers.outage("one", BreakerFault.THROTTLED, 0.0, at(), (), login_id="login")
    probe = breakers.probe("one", 100.0)
    assert breakers.blocked("one", 100.0, probe) is None
    assert breakers.blocked("one", 100.0) is not None


def test_a_rejection_of_a_probe_tells_that_the_breaker_is_closed() -> None:
    """The request was accepted, so the fault that held its broker back is over."""
    breakers = Breakers(POLICY)
    breakers.outage("one", BreakerFault.THROTTLED, 0.0, at(), (), login_id="login")
    probe = breakers.probe("one", 100.0)
    found = breakers.rejected("one", BreakerFault.REJECTED, 100.0, at(100), probe, backed_off=None)
    (closed,) = found.events
    assert isinstance(closed, BreakerClosed)
    assert closed.fault is BreakerFault.THROTTLED


def opened(fault: BreakerFault, broker: str = "one") -> Breakers:
    """Breakers of which one was opened at zero seconds."""
    breakers = Breakers(POLICY)
    assert [type(event) for event in breakers.outage(broker, fault, 0.0, at(), (), login_id="login").events] == [
        BreakerOpened
    ]
    return breakers


def test_a_halt_is_told_again_each_hour() -> None:
    """It stands still until a person acts. Other breakers are told once."""
    breakers = opened(BreakerFault.CLIENT_REFUSED)
    assert list(breakers.reminders(3599.0, at(3599))) == []
    (told,) = breakers.reminders(3600.0, at(3600))
    assert isinstance(told, BreakerOpened)
    assert (told.broker, told.fault, told.at, told.retry_at) == (
        None, BreakerFault.CLIENT_REFUSED, at(3600), at(3600)
    )  # fmt: skip
    assert list(breakers.reminders(3601.0, at(3601))) == []
    breakers.outage(
        "one", BreakerFault.CLIENT_REFUSED, 7000.0, at(7000), (), login_id="login", retry_after=timedelta(hours=1)
    )
    (told,) = breakers.reminders(7200.0, at(7200))
    assert isinstance(told, BreakerOpened)
    assert told.retry_at == at(10_600)
    assert list(opened(BreakerFault.NOT_SENT).reminders(3600.0, at(3600))) == []


def test_what_waits_for_a_probe_is_told_no_time() -> None:
    """It may end at any moment. The longest wait of both breakers counts."""
    breakers = opened(BreakerFault.NOT_SENT)
    assert breakers.probe("one", 3600.0)
    found = breakers.blocked("one", 3600.0)
    assert found is not None
    assert (found.fault, found.seconds) == (BreakerFault.NOT_SENT, 0.0)
    breakers.outage("one", BreakerFault.THROTTLED, 3600.0, at(3600), (), login_id="login")
    for broker, fault, waits in (("one", BreakerFault.THROTTLED, True), ("two", BreakerFault.NOT_SENT, False)):
        found = breakers.blocked(broker, 3600.0)
        assert found is not None
        assert (found.fault, found.seconds > 0) == (fault, waits)


def test_of_two_breakers_with_one_end_that_of_all_is_told() -> None:
    breakers = opened(BreakerFault.NOT_SENT)
    breakers.outage("one", BreakerFault.THROTTLED, 0.0, at(), (), login_id="login")
    found = breakers.blocked("one", 1.0)
    assert found is not None
    assert (found.fault, found.seconds) == (BreakerFault.NOT_SENT, POLICY.cool_down.total_seconds() - 1)


def test_the_very_moment_at_which_a_probe_may_go() -> None:
    """Not before the pause is over, and then one: for a request, for a claim, and after a resume."""
    breakers = opened(BreakerFault.THROTTLED)
    blocked = breakers.blocked("one", 0.0)
    assert blocked is not None
    assert breakers.probe("one", blocked.seconds - 0.001) == ()
    assert breakers.limits(blocked.seconds - 0.001) == (None, {"one": 0})
    assert breakers.limits(blocked.seconds) == (None, {"one": 1})
    assert not breakers.resumed({"one": at(1)}, blocked.seconds), "it may go already"
    assert len(breakers.probe("one", blocked.seconds)) == 1
    assert breakers.limits(blocked.seconds) == (None, {"one": 0})


def test_each_broker_is_probed_in_its_turn() -> None:
    """Those that were, wait until all were."""
    breakers = opened(BreakerFault.NOT_SENT)
    for broker in ("one", "two", "one"):
        breakers.end_probe(breakers.probe(broker, 100.0))
    assert breakers.rotated({"one": 3, "two": 4, "three": 5}) == {"one": 0, "two": 0, "three": 5}


def test_a_fault_of_one_broker_shows_that_the_way_to_mesh_is_well() -> None:
    """The probe of all was answered, though with a fault of its broker."""
    breakers = opened(BreakerFault.NOT_SENT)
    events = list(
        breakers.outage(
            "one", BreakerFault.THROTTLED, 100.0, at(100), breakers.probe("one", 100.0), login_id="login"
        ).events
    )
    assert [type(event) for event in events] == [BreakerClosed, BreakerOpened]
    assert breakers.open == {"one": BreakerFault.THROTTLED}


@pytest.mark.parametrize(
    ("first", "second"),
    [(BreakerFault.CLIENT_REFUSED, BreakerFault.NOT_SENT), (BreakerFault.THROTTLED, BreakerFault.UNAVAILABLE)],
)
def test_the_first_fault_gives_a_breaker_its_name(first: BreakerFault, second: BreakerFault) -> None:
    """Only refused keys take the place of another fault."""
    breakers = opened(first)
    assert list(breakers.outage("one", second, 1.0, at(1), (), login_id="login").events) == []
    assert set(breakers.open.values()) == {first}


@pytest.mark.parametrize("said", [Said.FRESH, Said.REFUSED, Said.LOCKED])
def test_it_closes_when_a_request_is_accepted(said: Answer) -> None:
    """Also where what was accepted is refused then: that is of one account."""
    road = Road(POLICY).run(30, always(BreakerFault.REJECTED))
    assert road.opened == [("coinbase", BreakerFault.REJECTED)]
    road.run(30, always(said))
    assert road.closed[:1] == [("coinbase", BreakerFault.REJECTED)]


def test_what_was_not_sent_shows_nothing_of_mesh() -> None:
    """A strategy that raises closes no breaker of another fault; what Mesh says of one request does."""
    for sent in (False, True):
        breakers = Breakers(POLICY)
        breakers.outage("one", BreakerFault.THROTTLED, 1.0, at(1), (), login_id="login")
        assert rejected(breakers, "login", now=60.0, sent=sent) is not sent, "a probe counts against no account"
        assert breakers.open == ({} if sent else {"one": BreakerFault.THROTTLED})


@pytest.mark.parametrize("fault", BY_NUMBER)
def test_a_request_with_a_code_counts_for_nothing(fault: BreakerFault) -> None:
    """However many."""
    breakers = Breakers(POLICY)
    for _ in range(50):
        found = breakers.rejected("one", fault, 1.0, at(1), (), backed_off=None)
        assert not found.blamed
        list(breakers.unreadable("one", None, 1.0, at(1), ()))
    assert breakers.open == {}


@pytest.mark.parametrize(("names", "freed"), [(["one"], ["one"]), (["*"], ["one", "two"]), (["three"], [])])
def test_a_resumed_broker_gets_a_probe(names: list[str], freed: list[str]) -> None:
    """Once for each stamp that is new, in this process or in another one; a stamp of long before is none."""
    breakers = Breakers(POLICY)
    assert not breakers.resumed({"one": at(1), "*": at(1)}, 900.0)
    for broker, fault in (("one", BreakerFault.THROTTLED), ("two", BreakerFault.UNAVAILABLE)):
        breakers.outage(broker, fault, 1000.0, at(1000), (), login_id="login", retry_after=timedelta(hours=1))
    assert not breakers.resumed({"one": at(1), "*": at(2)}, 1001.0), "that was long before"
    stamps = dict.fromkeys(names, at(1002))
    assert breakers.resumed(stamps, 1003.0) is bool(freed)
    assert [name for name in ("one", "two") if breakers.blocked(name, 1003.0) is None] == freed
    for broker in freed:
        probe = breakers.probe(broker, 1003.0)
        list(
            breakers.outage(
                broker,
                BreakerFault.THROTTLED,
                1004.0,
                at(1004),
                probe,
                login_id="login",
                retry_after=timedelta(hours=1),
            ).events
        )
        breakers.end_probe(probe)
        assert not breakers.resumed(stamps, 1005.0), "it has had its probe"
        assert breakers.blocked(broker, 1005.0) is not None


def test_resuming_one_broker_lets_it_probe_for_all() -> None:
    """Else its own probe would have to wait for another one's."""
    breakers = Breakers(POLICY)
    for broker in ("one", "two"):
        list(
            breakers.outage(
                broker, BreakerFault.THROTTLED, 1.0, at(1), (), login_id="login", retry_after=timedelta(hours=1)
            ).events
        )
    assert breakers.resumed({"one": at(2)}, 2.0)
    assert breakers.blocked("one", 2.0) is None
    assert len(breakers.probe("one", 2.0)) == 2

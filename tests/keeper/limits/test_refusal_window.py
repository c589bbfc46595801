"""Refusals of many logins at once are the broker's fault, until they have gone on for too long."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.events import BreakerClosed, BreakerEvent, BreakerFault, BreakerOpened
from mesh_refresh.keeper.limits.breakers import Breakers
from tests.keeper.limits.road import Answer, Road, Said
from tests.keeper.limits.weighing import weight
from tests.keeper.making import START, at

POLICY = Policy(concurrency=10)


def always(said: Answer) -> Callable[[str], Answer]:
    return lambda _: said


def refused(breakers: Breakers, login: str, broker: str = "one", now: float = 1.0, **given: Any) -> bool:
    return breakers.refused(broker, login, now, at(now), breakers.probe(broker, now), **given).blamed


def fresh(breakers: Breakers, login: str, broker: str = "one", now: float = 1.0, **given: Any) -> None:
    list(breakers.succeeded(broker, login, now, at(now), breakers.probe(broker, now), **given))


def test_a_mesh_that_refuses_all() -> None:
    """One event, few probes, and but for the first few nobody is blamed; nobody twice."""
    road = Road(POLICY).run(1800, always(Said.REFUSED), callers=20)
    assert road.opened == [("coinbase", BreakerFault.REFUSALS)]
    assert road.blamed < POLICY.refusal_logins
    assert len(road.begun) < POLICY.refusal_logins + POLICY.concurrency + 45


def test_one_success_and_refusals_count_again() -> None:
    """The broker is well, so what it refuses is meant."""
    road = Road(POLICY).run(300, always(Said.REFUSED))
    blamed = road.blamed
    road.run(70, always(Said.FRESH))
    assert road.closed == [("coinbase", BreakerFault.REFUSALS)]
    road.run(60, always(Said.REFUSED))
    assert road.blamed > blamed + 100
    assert len(road.opened) == 1


def test_after_the_policys_time_refusals_count() -> None:
    """A broker that has thrown everybody out is believed after an hour; nothing is held back any more."""
    road = Road(POLICY).run(3700, always(Said.REFUSED))
    assert road.opened == road.closed == [("coinbase", BreakerFault.REFUSALS)]
    blamed = road.blamed
    road.run(60, always(Said.REFUSED))
    assert road.blamed > blamed + 100


def flood(breakers: Breakers, name: str, now: float, count: int = 20) -> list[str]:
    """Who is blamed for it, of so many logins that are refused."""
    return [login for login in (f"{name}-{number}" for number in range(count)) if refused(breakers, login, now=now)]


def tripped_and_closed(now: float = 1.0, **given: Any) -> Breakers:
    """Twenty were refused, and then one login was not: the broker is believed."""
    breakers = Breakers(POLICY)
    assert len(flood(breakers, "login", now)) == 19
    fresh(breakers, "another", now=now + 60, **given)
    assert breakers.open == {}
    return breakers


def test_refusals_that_were_wrong_are_not_believed_any_more() -> None:
    """A login that was refused succeeds with the same tokens: the next fault is nobody's, however soon it comes."""
    breakers = tripped_and_closed()
    assert refused(breakers, "login-1", now=100)
    fresh(breakers, "login-2", now=130)
    assert breakers.forgiven_until("one") == at(130), "and those which it has refused since are forgiven"
    assert len(flood(breakers, "next", 140, 60)) == 18, "with the one before, and one that is fresh"
    assert breakers.open == {"one": BreakerFault.REFUSALS}


def test_a_probe_that_was_refused_before() -> None:
    """It is the first that succeeds, so nothing that was refused was meant."""
    breakers = Breakers(POLICY)
    flood(breakers, "login", 1.0)
    fresh(breakers, "login-3", now=60)
    assert len(flood(breakers, "next", 61, 60)) == 19


def test_a_person_who_logs_in_anew_proves_nothing() -> None:
    """Those whom the broker has thrown out are parked, though others of them come back one by one."""
    breakers = Breakers(POLICY)
    for number in range(20):
        refused(breakers, f"login-{number}", account=f"login-{number}, before")
    fresh(breakers, "another", now=60)
    for number in range(20):
        fresh(breakers, f"login-{number}", account=f"login-{number}, after", now=61)
    assert len(flood(breakers, "next", 62, 100)) == 100


def test_refusals_that_cease_are_not_believed_when_they_come_again() -> None:
    """After a pause of the window it is another fault, though nobody who was refused has succeeded meanwhile."""
    breakers = tripped_and_closed()
    assert len(flood(breakers, "true", 100, 60)) == 60
    assert len(flood(breakers, "next", 100 + 599, 60)) == 60
    assert len(flood(breakers, "wrong", 100 + 599 + 601, 60)) == 19
    assert breakers.open == {"one": BreakerFault.REFUSALS}


def test_a_login_is_counted_once() -> None:
    """Many refusals of a few logins trip nothing: they may well be meant."""
    breakers = Breakers(POLICY)
    assert all(refused(breakers, f"login-{number % 19}") for number in range(500))
    assert breakers.open == {}
    assert not refused(breakers, "login-20")
    assert breakers.open == {"one": BreakerFault.REFUSALS}


@pytest.mark.parametrize(("good", "trips"), [(0, True), (20, True), (21, False), (200, False)])
def test_the_share_of_those_that_were_answered(good: int, trips: bool) -> None:
    """Twenty refused among forty is too many; among forty-one it is not."""
    breakers = Breakers(POLICY)
    for number in range(good):
        fresh(breakers, f"good-{number}")
    blamed = [refused(breakers, f"login-{number}") for number in range(20)]
    assert blamed == [True] * 19 + [not trips]
    assert bool(breakers.open) is trips


def test_the_last_answer_of_a_login_counts() -> None:
    """A refusal that a success followed is none."""
    breakers = Breakers(POLICY)
    for number in range(100):
        refused(breakers, f"login-{number}")
        fresh(breakers, f"login-{number}")
    assert breakers.open == {}


def test_what_is_long_ago_does_not_count() -> None:
    """A few refusals every ten minutes never trip."""
    breakers = Breakers(POLICY)
    assert all(refused(breakers, f"login-{number}", now=number * 40.0) for number in range(300))


@pytest.mark.parametrize("logins", [1, 20, 999, 1500])
def test_as_many_logins_as_the_policy_wants(logins: int) -> None:
    """Also where that is more than are usually remembered."""
    breakers = Breakers(Policy(refusal_logins=logins))
    blamed = [refused(breakers, f"login-{number}") for number in range(logins)]
    assert blamed == [True] * (logins - 1) + [False]


@pytest.mark.parametrize("brokers", [2, 10])
def test_all_brokers_together(brokers: int) -> None:
    """Where several brokers refuse a few, Mesh is at fault, and everything is held back."""
    breakers = Breakers(POLICY)
    for number in range(20):
        refused(breakers, f"login-{number}", f"broker-{number % brokers}")
    assert breakers.open == {None: BreakerFault.REFUSALS}


def test_refusals_in_the_place_of_another_fault() -> None:
    """What was told to be open is told to be closed, and no probe goes sooner for it."""
    breakers = Breakers(POLICY)
    told = [
        *breakers.outage(
            "one", BreakerFault.NOT_PERMITTED, 0.0, at(0), (), login_id="login", retry_after=timedelta(seconds=90)
        ).events
    ]
    for number in range(20):
        told += breakers.refused("one", f"login-{number}", 1.0, at(1), ()).events
    assert breakers.blocked("one", 89.0) is not None
    assert breakers.blocked("one", 91.0) is None, "the pause is that of the fault before, and not begun anew"
    told += breakers.succeeded("one", "another", 100.0, at(100), breakers.probe("one", 100.0))
    assert [(type(it), it.fault) for it in told if isinstance(it, BreakerEvent)] == [
        (BreakerOpened, BreakerFault.NOT_PERMITTED),
        (BreakerClosed, BreakerFault.NOT_PERMITTED),
        (BreakerOpened, BreakerFault.REFUSALS),
        (BreakerClosed, BreakerFault.REFUSALS),
    ]


def test_403_of_one_broker_does_not_end_it() -> None:
    """It proves that Mesh is there, not that its refusals are meant: one event, also with that in between."""
    road = Road(POLICY, "one", "two", "three")
    road.run(10, always(Said.REFUSED))
    mixed = iter(range(10**6))
    said: list[Answer] = [Said.REFUSED, Said.REFUSED, BreakerFault.NOT_PERMITTED, Said.REFUSED, Said.LOCKED]
    road.run(1800, lambda _: said[next(mixed) % 5])
    assert len([it for it in road.opened if it[1] is BreakerFault.REFUSALS]) <= 3
    assert len(road.begun) < 200


def test_memory_is_bounded() -> None:
    """A hundred thousand logins leave a thousand or so answers, and no sets that grow."""
    breakers = Breakers(Policy(refusal_window=timedelta(days=99)))
    for number in range(20_000):
        fresh(breakers, f"login-{number}", now=number / 100)
        list(breakers.unknown("one", f"login-{number}", number / 100, START, ()))
        list(breakers.answered("one", number / 100, START, ()))
    for number in range(20_000):
        list(breakers.unknown("two", f"login-{number}", 1.0, START, ()))
    for number in range(20_000):
        refused(breakers, f"login-{number}", now=200.0)
    assert weight(breakers) < 5_000

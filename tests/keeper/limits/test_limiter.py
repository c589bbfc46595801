"""The limiter: no more at once, and no more in a second, than the policy says; nobody waits for others' brokers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.keeper.limits.limiter import Limiter, Shut, bulkhead
from tests.examples import bounded
from tests.keeper.limits.road import Answer, Road, Said
from tests.keeper.limits.weighing import weight


def fresh(_: str) -> Answer:
    return Said.FRESH


@given(
    st.integers(1, 30),
    st.none() | st.integers(1, 10),
    st.none() | st.floats(0.2, 50),
    st.none() | st.floats(0.2, 20),
    st.integers(0, 5),
)
@bounded(40)
def test_bounds(most: int, each: int | None, rate: float | None, rate_each: float | None, callers: int) -> None:
    """Loop and callers together, of two brokers, at every moment: at once, and in any span of time."""
    policy = Policy(concurrency=most, concurrency_each=each, rate=rate, rate_each=rate_each)
    road = Road(policy, "one", "two", step=0.1).run(30, fresh, callers=callers)
    assert road.begun
    assert road.most["all"] <= most
    for broker in road.brokers:
        assert road.most[broker] <= (each or bulkhead(most))
    bounds: list[tuple[str | None, float | None]] = [(None, rate), ("one", rate_each), ("two", rate_each)]
    for name, bound in bounds:
        if bound is not None:
            times = road.since(0, name)
            for first in range(0, len(times), 7):
                for last in range(first, len(times), 5):
                    assert last - first + 1 <= bound * (times[last] - times[first]) + max(1.0, bound / 10) + 1.001


def test_a_rate_is_reached() -> None:
    """A bound is no brake: what it allows goes through."""
    road = Road(Policy(rate=20, concurrency=50), step=0.05).run(60, fresh)
    assert len(road.begun) == pytest.approx(1200, rel=0.05)


def test_one_brokers_bounds_are_not_the_others() -> None:
    """A broker that is full, or slow, does not keep another one from its places."""
    limiter = Limiter(Policy(concurrency=10, concurrency_each=3))
    for _ in range(3):
        limiter.enter("one", 0.0)
    assert limiter.shut("one", "login", 0.0) is not None
    assert limiter.shut("two", "login", 0.0) is None
    places, each, limits = limiter.slots(0.0)
    assert (places, each, limits) == (7, 3, {"one": 0})


def test_the_loop_leaves_places_to_callers() -> None:
    """Who waits for a place gets the next one."""
    limiter = Limiter(Policy(concurrency=2))
    place = limiter.enter("one", 0.0)
    limiter.asking = 1
    assert limiter.slots(0.0)[0] == 0
    assert limiter.shut("one", "login", 0.0) is None
    limiter.leave(place)
    assert limiter.slots(0.0)[0] == 1


def test_places_that_a_claim_has_reserved() -> None:
    """Callers do not take what a claim under way will bring."""
    limiter = Limiter(Policy(concurrency=2))
    limiter.reserved = 2
    shut = limiter.shut("one", "login", 0.0)
    assert shut is not None
    assert shut.crowded
    assert limiter.free == 0


def test_what_was_not_begun_takes_nothing_of_the_rate() -> None:
    """Who found the login taken gives back its share, of both rates, and no more than that."""
    limiter = Limiter(Policy(rate=4, rate_each=2))
    for _ in range(50):
        place = limiter.enter("one", 0.0)
        assert limiter.shut("one", "login", 0.0) is not None, "while somebody tries, it is spoken for"
        limiter.leave(place, begun=False)
    assert limiter.shut("one", "login", 0.0) is None
    limiter.leave(limiter.enter("one", 0.0))
    assert limiter.shut("one", "login", 0.0) is not None


def test_a_breaker_is_not_a_crowd() -> None:
    """Who waits for a broker to cool down waits for no place, and so takes none from others."""
    road = Road(Policy(concurrency=5), "bad", "good")
    road.run(5, lambda name: BreakerFault.REJECTED if name == "bad" else Said.FRESH)
    shut = road.limiter.shut("bad", "login", road.now)
    assert shut is not None
    assert not shut.crowded
    assert shut.seconds is None or shut.seconds > 0


def test_how_long_a_rate_holds_back() -> None:
    """Until the next share is there, in seconds. Time that has passed counts at each exchange."""
    limiter = Limiter(Policy(rate=4))
    limiter.enter("one", 0.0)
    assert limiter.shut("one", "login", 0.0) == Shut("the rate of exchanges is bounded", 0.25)
    limiter.enter("one", 10.0)
    assert limiter.shut("one", "login", 10.0) == Shut("the rate of exchanges is bounded", 0.25)


def test_a_burst_is_a_tenth_of_a_second_rate() -> None:
    """And what was not begun gives back one share of it and one place, whatever else is under way."""
    limiter = Limiter(Policy(rate=50, concurrency=100, concurrency_each=100))
    assert limiter.slots(0.0)[0] == 5
    first, *_ = [limiter.enter("one", 0.0) for _ in range(5)]
    assert limiter.slots(0.0)[0] == 0
    limiter.leave(first, begun=False)
    assert limiter.slots(0.0)[0] == 1
    assert limiter.in_flight == 4


def test_memory_follows_what_is_in_flight() -> None:
    """Brokers that come and go leave no counters behind."""
    limiter = Limiter(Policy())
    before = weight(limiter)
    for number in range(1000):
        limiter.leave(limiter.enter(f"broker-{number}", float(number)))
    assert weight(limiter) == before
    assert limiter.in_flight == 0

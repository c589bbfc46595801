"""One breaker for a receiver of webhooks: pure, told the time."""

from datetime import timedelta

import pytest

from mesh_refresh.service.receiver_breaker import AT_ONCE, ReceiverBreaker

RUN = 5


def down(now: float = 0.0) -> ReceiverBreaker:
    """A breaker after five failures in a row."""
    breaker = ReceiverBreaker()
    for _ in range(RUN):
        breaker.fail(now)
    return breaker


def test_ten_attempts_are_under_way_at_the_most() -> None:
    breaker = ReceiverBreaker()
    for left in range(AT_ONCE, 0, -1):
        assert breaker.capacity(0.0) == left
        breaker.begin()
    assert breaker.capacity(0.0) == 0
    breaker.end()
    assert breaker.capacity(0.0) == 1


def test_the_fifth_failure_in_a_row_opens_it() -> None:
    """And it says so once."""
    breaker = ReceiverBreaker()
    assert [breaker.fail(0.0) for _ in range(RUN + 2)] == [False] * 4 + [True] + [False] * 2


def test_four_failures_and_a_success_open_nothing() -> None:
    breaker = ReceiverBreaker()
    for _ in range(10):
        for _ in range(RUN - 1):
            assert not breaker.fail(0.0)
        assert not breaker.succeed()
    assert breaker.capacity(0.0) == AT_ONCE


def test_one_probe_a_minute_for_all() -> None:
    breaker = down()
    assert breaker.capacity(59.9) == 0
    assert breaker.wait(20.0) == 40.0
    for minute in range(1, 100):
        now = 60.0 * minute
        assert breaker.capacity(now) == 1
        breaker.begin()
        assert breaker.capacity(now) == 0
        breaker.end()
        breaker.fail(now)
        assert breaker.capacity(now + 59.9) == 0


def test_a_probe_that_is_taken_ends_it() -> None:
    breaker = down()
    breaker.begin()
    breaker.end()
    assert breaker.succeed()
    assert breaker.capacity(0.0) == AT_ONCE


def test_a_probe_without_an_outcome_lets_the_next_one_go() -> None:
    """The keeper was left, or its lease ran out."""
    breaker = down()
    breaker.begin()
    breaker.end()
    assert breaker.capacity(60.0) == 1


@pytest.mark.parametrize("failures", [1, RUN])
def test_a_receiver_that_names_a_time_is_left_alone_until_then(failures: int) -> None:
    breaker = ReceiverBreaker()
    for _ in range(failures):
        breaker.fail(0.0, timedelta(minutes=5))
    assert breaker.capacity(299.9) == 0
    assert breaker.capacity(300.0) == (1 if failures == RUN else AT_ONCE)


def test_a_success_does_not_take_back_what_the_receiver_asked_for() -> None:
    """It was under way when another attempt was throttled."""
    breaker = ReceiverBreaker()
    breaker.fail(0.0, timedelta(minutes=5))
    breaker.fail(0.0, timedelta(minutes=1))
    breaker.succeed()
    assert breaker.wait(60.0) == 240.0


def test_a_receiver_that_is_gone_is_not_tried_again() -> None:
    breaker = ReceiverBreaker()
    breaker.stop()
    breaker.succeed()
    assert breaker.is_gone
    assert breaker.capacity(1e9) == 0

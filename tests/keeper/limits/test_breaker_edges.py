"""Each condition of a breaker at its very edge, told step by step."""

from datetime import timedelta

import pytest

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.events import BreakerClosed, BreakerFault, BreakerOpened
from mesh_refresh.keeper.limits.breakers import Breakers, Probe, Verdict
from mesh_refresh.keeper.rules.failure import BackedOff
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from tests.keeper.making import at

POLICY = Policy()
COOL_DOWN = POLICY.cool_down.total_seconds()


def throttled(policy: Policy = POLICY, now: float = 0.0) -> Breakers:
    breakers = Breakers(policy)
    breakers.outage("one", BreakerFault.THROTTLED, now, at(now), (), login_id="first")
    return breakers


def reject(breakers: Breakers, login: str, now: float, probe: Probe = (), *, sent: bool = True) -> Verdict:
    note = BackedOff(login, login, 1, 0, 0, None, None, None)
    return breakers.rejected("one", BreakerFault.REJECTED, now, at(now), probe, backed_off=note, sent=sent)


def rejecting() -> Breakers:
    """So many logins met a rejection, right at the start, that the breaker is open."""
    breakers = Breakers(POLICY)
    verdicts = [reject(breakers, f"login-{number}", 0.0) for number in range(POLICY.fault_logins)]
    assert [type(event) for event in verdicts[-1].events] == [BreakerOpened]
    return breakers


def unknown(breakers: Breakers, logins: range, broker: str = "one") -> list[str | None]:
    """Of which brokers it opened the breaker."""
    return [
        event.broker
        for number in logins
        for event in breakers.unknown(broker, f"login-{number}", 0.0, at(), ())
        if isinstance(event, BreakerOpened)
    ]


def test_turns_begin_again() -> None:
    breakers = throttled()
    breakers.probe("one", COOL_DOWN)
    assert breakers.rotated({"one": 1}) == {"one": 0}
    breakers.forget_turns()
    assert breakers.rotated({"one": 1}) == {"one": 1}


def test_a_resume_that_is_as_old_as_clocks_may_differ_does_not_count() -> None:
    """One that is younger does."""
    stamp = at() - CLOCK_TOLERANCE
    assert not throttled().resumed({"one": stamp}, 1.0)
    assert throttled().resumed({"one": stamp + timedelta(microseconds=1)}, 1.0)


def test_rejections_count_anew_after_the_breaker_of_them() -> None:
    """As many as before open it again: they are not believed for a while, as they are after it was open for long."""
    breakers = rejecting()
    probe = breakers.probe("one", COOL_DOWN)
    closed = list(breakers.answered("one", COOL_DOWN, at(COOL_DOWN), probe, login_id="login-0"))
    assert [type(event) for event in closed] == [BreakerClosed]
    for number in range(POLICY.fault_logins):
        verdict = reject(breakers, f"other-{number}", COOL_DOWN + 1)
        assert verdict.blamed is (number < POLICY.fault_logins - 1)
    assert breakers.open == {"one": BreakerFault.REJECTED}


def test_a_breaker_takes_the_blame_until_it_has_been_open_for_so_long() -> None:
    """Then it closes, and is told."""
    trust = POLICY.refusal_trust.total_seconds()
    breakers = rejecting()
    assert reject(breakers, "late", trust - 1) == Verdict([])
    verdict = reject(breakers, "later", trust)
    assert (verdict.blamed, [type(event) for event in verdict.events]) == (True, [BreakerClosed])


def test_what_mesh_rejects_ends_a_run_of_unknown_outcomes() -> None:
    """What was not sent does not."""
    breakers, almost = Breakers(POLICY), POLICY.unknown_run - 1
    assert unknown(breakers, range(almost)) == []
    reject(breakers, "rejected", 0.0)
    assert unknown(breakers, range(100, 100 + almost)) == []
    reject(breakers, "rejected", 0.0, sent=False)
    assert unknown(breakers, range(1)) == ["one"]


def test_unknown_outcomes_of_one_broker_say_nothing_of_the_others() -> None:
    """However many. As soon as a second broker has one, all are held back."""
    breakers = Breakers(POLICY)
    assert unknown(breakers, range(3 * POLICY.unknown_run)) == ["one"]
    assert unknown(breakers, range(1), "two") == [None]


def test_an_unreadable_reply_to_a_code_is_of_no_run() -> None:
    breakers = Breakers(Policy(unreadable_run=1))
    assert list(breakers.unreadable("one", None, 0.0, at(), ())) == []
    assert [type(event) for event in breakers.unreadable("one", "a", 0.0, at(), ())] == [BreakerOpened]


def test_a_brokers_own_breaker_is_not_closed_by_another_outage_of_it() -> None:
    """The probe has failed: the next one waits twice as long."""
    breakers = Breakers(POLICY)
    assert unknown(breakers, range(POLICY.unknown_run)) == ["one"]
    probe = breakers.probe("one", COOL_DOWN)
    breakers.outage("one", BreakerFault.THROTTLED, COOL_DOWN, at(COOL_DOWN), probe, login_id="other")
    breakers.end_probe(probe)
    blocked = breakers.blocked("one", COOL_DOWN)
    assert blocked is not None
    assert (blocked.fault, blocked.seconds) == (BreakerFault.UNKNOWN_OUTCOMES, 2 * COOL_DOWN)


def test_a_straggler_may_ask_for_more_patience() -> None:
    breakers = throttled()
    hour = timedelta(hours=1)
    breakers.outage("one", BreakerFault.THROTTLED, 1.0, at(1), (), login_id="second", retry_after=hour)
    blocked = breakers.blocked("one", 1.0)
    assert blocked is not None
    assert blocked.seconds == hour.total_seconds()


def test_the_first_pause_is_as_long_as_the_policy_says() -> None:
    """Also a short one, and on a machine that was started a moment ago."""
    for pause in (0.5, 1.0):
        blocked = throttled(Policy(cool_down=timedelta(seconds=pause))).blocked("one", 0.0)
        assert blocked is not None
        assert blocked.seconds == pause


@pytest.mark.parametrize(("after", "pause"), [(COOL_DOWN - 1, 2 * COOL_DOWN), (COOL_DOWN, COOL_DOWN)])
def test_a_breaker_that_opens_again_at_once_waits_twice_as_long(after: float, pause: float) -> None:
    """At once is within the pause that it had."""
    breakers = throttled()
    probe = breakers.probe("one", COOL_DOWN)
    closed = list(breakers.succeeded("one", "first", COOL_DOWN, at(COOL_DOWN), probe))
    assert [type(event) for event in closed] == [BreakerClosed]
    now = COOL_DOWN + after
    breakers.outage("one", BreakerFault.THROTTLED, now, at(now), (), login_id="second")
    blocked = breakers.blocked("one", now)
    assert blocked is not None
    assert blocked.seconds == pause

"""When to try again, as a function of values."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import (
    ClientRefused,
    CodeRefused,
    Conflict,
    InvalidRequest,
    Locked,
    MeshRefreshError,
    NotSent,
    OutcomeUnknown,
    RedirectRefused,
    RequestRejected,
    RetryPolicy,
    ServerFailure,
    Throttled,
    TokensRefused,
    Unavailable,
    UnreadableReply,
)
from mesh_refresh.retry import pause_before_retry
from tests.examples import bounded

ZERO = timedelta()
SAFE = [NotSent(), Conflict(), Locked(), Throttled(), Unavailable()]
HOPELESS = [TokensRefused(), CodeRefused(), ClientRefused(), RequestRejected(), RedirectRefused(), InvalidRequest()]
UNKNOWN = [OutcomeUnknown(), ServerFailure(), UnreadableReply()]
SPANS = st.timedeltas(ZERO, timedelta(days=1))
POLICIES = st.builds(
    RetryPolicy,
    max_requests=st.integers(1, 30),
    deadline=st.timedeltas(timedelta(microseconds=1), timedelta(days=1)),
    resend_unknown=st.booleans(),
    backoff=st.timedeltas(ZERO, timedelta(minutes=5)),
    backoff_cap=SPANS,
    resend_after=SPANS,
)
WAITING = st.builds(lambda cls, wait: cls(retry_after=wait), st.sampled_from([Throttled, Unavailable]), SPANS)
CHANCES = st.floats(0, 1, exclude_max=True)


def pause(
    policy: RetryPolicy, error: MeshRefreshError, attempt: int = 1, *,
    elapsed: timedelta = ZERO, may_resend: bool = True, chance: float = 0.0,
) -> timedelta | None:  # fmt: skip
    return pause_before_retry(
        policy, error, attempt=attempt, elapsed=elapsed, may_resend=may_resend, chance=chance
    )  # fmt: skip


@bounded(300)
@given(
    policy=POLICIES,
    error=st.sampled_from(SAFE + HOPELESS + UNKNOWN) | WAITING,
    attempt=st.integers(1, 40),
    elapsed=SPANS,
    may_resend=st.booleans(),
    chance=CHANCES,
)
def test_never_too_often_too_late_or_blindly(
    *, policy: RetryPolicy, error: MeshRefreshError, attempt: int, elapsed: timedelta, may_resend: bool, chance: float
) -> None:
    """A retry fits attempts and deadline, honours retry_after and settling, and never spends a token blindly."""
    found = pause(policy, error, attempt, elapsed=elapsed, may_resend=may_resend, chance=chance)
    if found is None:
        return
    assert attempt < policy.max_requests
    assert found >= ZERO
    assert elapsed + found < policy.deadline
    assert found >= (getattr(error, "retry_after", None) or ZERO)
    if isinstance(error, OutcomeUnknown):
        assert policy.resend_unknown
        assert may_resend
        assert found >= policy.resend_after
    else:
        assert error.retryable


@bounded(100)
@given(POLICIES, st.sampled_from(SAFE), st.integers(1, 30), CHANCES)
def test_backoff(policy: RetryPolicy, error: MeshRefreshError, attempt: int, chance: float) -> None:
    """The pause doubles up to its cap, is shortened by chance by up to half, and is refused only for lack of time."""
    found = pause(policy, error, attempt, chance=chance)
    longest = min(policy.backoff * 2 ** (attempt - 1), policy.backoff_cap)
    if attempt >= policy.max_requests:
        assert found is None
    elif found is None:
        assert longest >= policy.deadline
    else:
        assert longest / 2 - timedelta(microseconds=1) <= found <= longest


def test_the_default_pauses() -> None:
    """By default there are three attempts, half a second and a second apart."""
    policy = RetryPolicy()
    assert (policy.max_requests, policy.deadline, policy.resend_unknown) == (3, timedelta(seconds=60), False)
    found = [pause(policy, NotSent(), attempt) for attempt in (1, 2, 3)]
    assert found == [timedelta(milliseconds=500), timedelta(seconds=1), None]


@pytest.mark.parametrize("error", HOPELESS)
def test_never_what_will_not_help(error: MeshRefreshError) -> None:
    """What is not retryable is not tried again, whatever the policy."""
    assert pause(RetryPolicy(max_requests=99, resend_unknown=True), error) is None


@pytest.mark.parametrize("error", UNKNOWN)
def test_unknown_outcomes(error: MeshRefreshError) -> None:
    """An unknown outcome is sent again only where policy and strategy both allow it, and after settling."""
    willing = RetryPolicy(resend_unknown=True)
    assert pause(RetryPolicy(), error) is None
    assert pause(willing, error, may_resend=False) is None
    assert pause(willing, error) == willing.resend_after


def test_never_over_bytes_that_may_hold_a_token() -> None:
    """A reply that may hold the only copy of a token is never followed by another request."""
    error = UnreadableReply(body=b"{", may_hold_token=True)
    assert pause(RetryPolicy(resend_unknown=True), error) is None


def test_retry_after_beyond_the_deadline() -> None:
    """A wait that does not fit the deadline is not begun."""
    assert pause(RetryPolicy(), Throttled(retry_after=timedelta(seconds=60))) is None
    assert pause(RetryPolicy(), Throttled(retry_after=timedelta(seconds=30)), elapsed=timedelta(seconds=29.5)) is None


def test_callers_told_the_same_second_come_apart() -> None:
    """Jitter comes on top of what Mesh asked for."""
    waits = {
        pause(RetryPolicy(), Throttled(retry_after=timedelta(seconds=5)), chance=chance) for chance in (0, 0.3, 0.9)
    }
    assert len(waits) == 3
    assert min(wait for wait in waits if wait) > timedelta(seconds=5)


@pytest.mark.parametrize(
    "wrong",
    [{"max_requests": 0}, {"max_requests": -1}, {"deadline": ZERO}, {"deadline": timedelta(-1)},
     {"backoff": timedelta(-1)}, {"backoff_cap": timedelta(-1)}, {"resend_after": timedelta(-1)}],
)  # fmt: skip
def test_senseless_policies(wrong: dict[str, Any]) -> None:
    """A policy that makes no sense is refused."""
    with pytest.raises(InvalidRequest):
        RetryPolicy(**wrong)


@pytest.mark.parametrize("wrong", [{"max_requests": "3"}, {"deadline": 60}, {"backoff": 0.5}])
def test_policies_of_wrong_types(wrong: dict[str, Any]) -> None:
    """A policy with numbers where durations belong is refused with a clear error."""
    with pytest.raises(InvalidRequest):
        RetryPolicy(**wrong)


def test_absurd_durations() -> None:
    """A backoff of years overflows nothing."""
    years = timedelta(days=3_650_000)
    policy = RetryPolicy(max_requests=60, backoff=years, backoff_cap=years, deadline=timedelta.max)
    assert pause(policy, NotSent(), 59) is not None

"""How often a request is sent, and how long is waited in between."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mesh_refresh import (
    DefaultStrategy,
    MeshClient,
    MeshRefreshError,
    MfaRequired,
    OutcomeUnknown,
    Refreshed,
    RefreshRequest,
    RetryPolicy,
    SendOptions,
    Throttled,
    Unavailable,
)
from mesh_refresh.testing import FakeMesh, Fault, ManualClock
from tests.client.pausing import pause_before_second

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=60)
AT_ONCE = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta())


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_attempts(fake: FakeMesh, attempts: int) -> None:
    """No more requests than the policy says, and the last error is raised."""
    policy = RetryPolicy(max_requests=attempts, deadline=HOUR, backoff=timedelta())
    fake.fail(Fault.throttle(0), times=None)
    async with fake.client(retry=policy) as mesh:
        with pytest.raises(Throttled):
            await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == attempts


@pytest.mark.parametrize(("own", "sent"), [(1, 1), (4, 4)])
async def test_attempts_of_one_call(fake: FakeMesh, own: int, sent: int) -> None:
    """SendOptions say another number of attempts for one call."""
    fake.fail(Fault.status(409), times=None)
    async with fake.client(retry=AT_ONCE) as mesh:
        with pytest.raises(MeshRefreshError):
            await mesh.refresh(fake.login("coinbase").token, sending=SendOptions(max_requests=own))
    assert len(fake.requests) == sent


async def test_second_attempt_succeeds(fake: FakeMesh) -> None:
    """A throttled request goes out again, with the secret in force by then."""
    secrets = iter(["wrong-key", fake.client_secret])
    fake.fail(Fault.throttle(0))
    mesh = MeshClient(
        fake.client_id, lambda: next(secrets), base_url=fake.base_url, retry=AT_ONCE, on_outcome=fake.saved
    )
    async with mesh:
        assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)
    assert fake.lost() == []


@pytest.mark.parametrize("make", [Fault.throttle, Fault.unavailable])
async def test_retry_after_seconds(fake: FakeMesh, caplog: pytest.LogCaptureFixture, make: Any) -> None:
    """Retry-After in seconds is waited for, and the pause is ended at once by the last caller's cancellation."""
    policy = RetryPolicy(deadline=HOUR, backoff=timedelta(seconds=1))
    pause = await pause_before_second(fake, caplog, make(600), retry=policy)
    assert 600 <= pause <= 602
    assert len(fake.requests) == 1


async def test_retry_after_date(caplog: pytest.LogCaptureFixture) -> None:
    """Retry-After as a date is waited for, counted by the client's clock."""
    clock = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))
    async with FakeMesh(clock=clock) as fake:
        fault = Fault.throttle(clock.now() + timedelta(minutes=5))
        policy = RetryPolicy(deadline=HOUR, backoff=timedelta())
        assert await pause_before_second(fake, caplog, fault, retry=policy, clock=clock) == pytest.approx(300, abs=1)


async def test_retry_after_beyond_the_deadline(fake: FakeMesh) -> None:
    """A Retry-After that the deadline does not leave room for is told to the caller at once."""
    fake.fail(Fault.throttle(600), Fault.unavailable(700))
    async with fake.client(retry=RetryPolicy(deadline=timedelta(minutes=5))) as mesh:
        with pytest.raises(Throttled) as throttled:
            await mesh.refresh(fake.login("coinbase").token)
        with pytest.raises(Unavailable) as unavailable:
            await mesh.refresh(fake.login("coinbase").token)
    assert throttled.value.retry_after == timedelta(seconds=600)
    assert unavailable.value.retry_after == timedelta(seconds=700)
    assert len(fake.requests) == 2


UNKNOWN = [Fault.cut(), Fault.server_error(), Fault.empty(200), Fault.html(502)]
MAYBE_SPENT = [
    Fault.cut(after_rotation=True),
    Fault.server_error(after_rotation=True),
    Fault.html(200, after_rotation=True),
]
LIVE = [Fault.broken_json(), Fault.half_body(), Fault.oversize(), Fault.error_with_token()]


@pytest.mark.parametrize("fault", [*UNKNOWN, *MAYBE_SPENT, *LIVE], ids=lambda fault: fault.name)
async def test_unknown_is_not_sent_again(fake: FakeMesh, fault: Fault) -> None:
    """An unknown outcome is not sent again."""
    fake.fail(fault)
    async with fake.client(retry=AT_ONCE) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == 1
    assert fake.lost(ignoring_undelivered=True) == []


@pytest.mark.parametrize("fault", UNKNOWN, ids=lambda fault: fault.name)
async def test_unknown_is_resent_if_allowed(fake: FakeMesh, fault: Fault) -> None:
    """It is where the policy says so and the strategy allows it."""
    policy = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta(), resend_unknown=True)
    fake.fail(fault)
    async with fake.client(retry=policy) as mesh:
        assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)
    assert len(fake.requests) == 2
    assert fake.lost() == []


class Never(DefaultStrategy):
    """Never sends twice."""

    def may_resend(self, request: RefreshRequest) -> bool:
        return False


async def test_strategy_forbids(fake: FakeMesh) -> None:
    """A strategy that forbids it has the last word."""
    policy = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta(), resend_unknown=True)
    fake.fail(Fault.cut())
    async with fake.client(retry=policy, strategies={"coinbase": Never()}) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("fault", LIVE, ids=lambda fault: fault.name)
async def test_live_bytes_are_never_resent(fake: FakeMesh, fault: Fault) -> None:
    """A reply that may hold the only copy of a token is never followed by another request, whatever the policy says."""
    policy = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta(), resend_unknown=True)
    fake.fail(fault)
    async with fake.client(retry=policy) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == 1


async def test_code_is_never_resent(fake: FakeMesh) -> None:
    """A code is not sent again after an unknown outcome, whatever the policy says."""
    policy = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta(), resend_unknown=True)
    login = fake.login("vanguard", mfa=True)
    async with fake.client(retry=policy) as mesh:
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        fake.fail(Fault.cut())
        with pytest.raises(OutcomeUnknown):
            await mesh.submit_mfa(pending, login.code)
    assert len(fake.requests) == 2

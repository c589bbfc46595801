"""Closing a client, and a client in another loop."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import (
    AiohttpTransport,
    InvalidRequest,
    MeshClient,
    MeshRefreshError,
    NotSaved,
    NotSent,
    Refreshed,
    RetryPolicy,
)
from mesh_refresh.testing import FakeMesh, Fault
from tests.client.pausing import pause_before_second

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=60)
AT_ONCE = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta())


async def test_close_waits(fake: FakeMesh) -> None:
    """aclose waits for an exchange whose bytes are out, and ends one that has no connection."""
    gate = fake.hold()
    mesh = fake.client(transport=AiohttpTransport(connections=1))
    started = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
    await gate.entered.wait()
    waiting = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
    await asyncio.sleep(0)
    closing = asyncio.create_task(mesh.aclose())
    with pytest.raises(NotSent):
        await waiting
    assert not closing.done()
    gate.release()
    assert isinstance(await started, Refreshed)
    await closing
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_close_ends_pauses(fake: FakeMesh, caplog: pytest.LogCaptureFixture) -> None:
    """aclose ends an exchange between its attempts."""

    async def close(mesh: MeshClient, caller: "asyncio.Task[Any]") -> None:
        await mesh.aclose()
        with pytest.raises(MeshRefreshError):
            await caller

    policy = RetryPolicy(deadline=HOUR)
    await pause_before_second(fake, caplog, Fault.throttle(600), end=close, retry=policy)
    assert len(fake.requests) == 1


async def test_close_begins_no_pause(fake: FakeMesh) -> None:
    """An exchange whose first attempt is answered while the client is being closed makes no second one."""
    gate = fake.hold(Fault.throttle(600))
    mesh = fake.client(retry=RetryPolicy(deadline=HOUR))
    caller = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
    await gate.entered.wait()
    closing = asyncio.create_task(mesh.aclose())
    await asyncio.sleep(0)
    gate.release()
    with pytest.raises(MeshRefreshError):
        await caller
    await closing
    assert len(fake.requests) == 1


async def test_closed_client(fake: FakeMesh) -> None:
    """A client that is closed says so, and sends nothing; closing it again is harmless."""
    mesh = fake.client()
    await mesh.refresh(fake.login("coinbase").token)
    await mesh.aclose()
    await mesh.aclose()
    with pytest.raises(InvalidRequest, match="closed"):
        await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == 1


async def test_unused_client_closes() -> None:
    """A client that was never used can be closed."""
    await MeshClient("id", "secret").aclose()


async def test_other_loop(fake: FakeMesh) -> None:
    """A client used in another event loop says so, and nothing is sent."""
    mesh = fake.client()
    await mesh.refresh(fake.login("coinbase").token)
    token = fake.login("coinbase").token

    def elsewhere() -> None:
        with pytest.raises(InvalidRequest, match="event loop"):
            asyncio.run(mesh.refresh(token))

    await asyncio.to_thread(elsewhere)
    await mesh.aclose()
    assert len(fake.requests) == 1


async def test_late_caller_while_closing(fake: FakeMesh) -> None:
    """aclose waits for a late caller's outcome to be saved, too."""
    entered, go_on, told = asyncio.Event(), asyncio.Event(), list[Any]()

    async def hook(outcome: Any) -> None:
        told.append(outcome.before.ref)
        if outcome.before.ref == "late":
            entered.set()
            await go_on.wait()

    login = fake.login("coinbase", ref="early")
    mesh = fake.client(on_outcome=hook)
    await mesh.refresh(login.token)
    late = asyncio.create_task(mesh.refresh(evolve(login.token, ref="late")))
    await entered.wait()
    late.cancel()
    closing = asyncio.create_task(mesh.aclose())
    await asyncio.wait((late,))
    assert not closing.done()
    go_on.set()
    await closing
    assert told == ["early", "late"]


async def test_late_outcome_not_saved(fake: FakeMesh) -> None:
    """A late caller's outcome that its hook could not save, and that it is gone for, is raised by aclose."""
    entered = asyncio.Event()

    async def hook(outcome: Any) -> None:
        if outcome.before.ref == "late":
            entered.set()
            await asyncio.Event().wait()

    login = fake.login("coinbase", accounts=2)
    one, two = (evolve(tokens, ref=ref) for tokens, ref in zip(login.tokens, ("early", "late"), strict=True))
    mesh = fake.client(on_outcome=hook, on_outcome_timeout=timedelta(milliseconds=20))
    await mesh.refresh(one)
    late = asyncio.create_task(mesh.refresh(two))
    await entered.wait()
    late.cancel()
    with pytest.raises(NotSaved) as caught:
        await mesh.aclose()
    assert caught.value.outcome.before == two

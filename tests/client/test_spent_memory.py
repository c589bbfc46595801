"""The memory of spent tokens, and of outcomes that reached nobody."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import MeshClient, MfaRequired, NotSaved, Refreshed, RetryPolicy, TokensRefused, UnreadableReply
from mesh_refresh.testing import FakeMesh, Fault, ManualClock

ONCE = RetryPolicy(max_requests=1, deadline=timedelta(hours=1))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def fake(clock: ManualClock) -> AsyncIterator[FakeMesh]:
    async with FakeMesh(clock=clock) as fake:
        yield fake


def unhooked(fake: FakeMesh, **options: Any) -> MeshClient:
    return MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url, clock=fake.clock, **options)


async def refreshed(mesh: MeshClient, tokens: Any) -> Refreshed:
    outcome = await mesh.refresh(tokens)
    assert isinstance(outcome, Refreshed)
    return outcome


@pytest.mark.parametrize("hook", [True, False], ids=["hook", "no hook"])
async def test_chain_of_three(fake: FakeMesh, clock: ManualClock, hook: bool) -> None:
    """Within the half minute, whoever brings any token of a chain has the newest, and nothing is sent."""
    login = fake.login("coinbase", ref="mine")
    async with fake.client(clock=clock) if hook else unhooked(fake) as mesh:
        chain = [login.token]
        for _ in range(3):
            chain.append((await refreshed(mesh, chain[-1])).tokens)
            clock.advance(9)
        for brought in chain[:3]:
            outcome = await refreshed(mesh, brought)
            assert outcome.tokens == chain[3]
            assert outcome.before == brought
        fake.hold_tokens(chain)
    assert len(fake.requests) == 3
    assert fake.reuses == []
    assert fake.lost() == []


async def test_newest_goes_out(fake: FakeMesh) -> None:
    """The newest token itself is no spent one: who brings it has it refreshed."""
    login = fake.login("coinbase")
    async with fake.client(clock=fake.clock) as mesh:
        first = await refreshed(mesh, login.token)
        second = await refreshed(mesh, first.tokens)
    assert len(fake.requests) == 2
    assert second.tokens.refresh_token == login.live[0].refresh_token


async def test_half_a_minute(fake: FakeMesh, clock: ManualClock) -> None:
    """It is remembered for 30 seconds after the rotation, and then the spent token is sent."""
    login = fake.login("coinbase")
    async with fake.client(clock=clock) as mesh:
        await refreshed(mesh, login.token)
        clock.advance(29.9)
        await refreshed(mesh, login.token)
        assert len(fake.requests) == 1
        clock.advance(0.2)
        with pytest.raises(TokensRefused):
            await mesh.refresh(login.token)
    assert len(fake.requests) == 2


async def test_wall_clock_jumps(fake: FakeMesh, clock: ManualClock) -> None:
    """A wall clock that is set changes nothing about it."""
    login = fake.login("coinbase")
    async with fake.client(clock=clock) as mesh:
        await refreshed(mesh, login.token)
        clock.jump(timedelta(days=300))
        await refreshed(mesh, login.token)
        clock.jump(timedelta(days=-900))
        await refreshed(mesh, login.token)
    assert len(fake.requests) == 1


async def test_sibling_with_the_spent_token(fake: FakeMesh, clock: ManualClock) -> None:
    """Another account of the login that still has the spent token gets its own entry, and is told to the hook."""
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome.before.ref)

    login = fake.login("coinbase", accounts=2)
    one, two = (evolve(tokens, ref=tokens.account_id) for tokens in login.tokens)
    async with fake.client(on_outcome=hook, clock=clock) as mesh:
        await refreshed(mesh, one)
        outcome = await refreshed(mesh, two)
        await refreshed(mesh, two)
    assert outcome.tokens == evolve(login.live[1], ref="acc-2")
    assert len(fake.requests) == 1
    assert told == ["acc-1", "acc-2"]


async def test_no_rotation_is_not_remembered(fake: FakeMesh) -> None:
    """A refresh token that is not spent by it is refreshed again each time."""
    login = fake.login("tdAmeritrade")
    async with fake.client(clock=fake.clock) as mesh:
        await refreshed(mesh, login.token)
        await refreshed(mesh, login.token)
    assert len(fake.requests) == 2


async def test_newest_is_being_renewed(fake: FakeMesh) -> None:
    """A spent token brought while the newest is being renewed waits for what comes of that."""
    login = fake.login("coinbase")
    async with fake.client(clock=fake.clock) as mesh:
        first = await refreshed(mesh, login.token)
        gate = fake.hold()
        renewing = asyncio.create_task(mesh.refresh(first.tokens))
        await gate.entered.wait()
        late = asyncio.create_task(mesh.refresh(login.token))
        await asyncio.sleep(0)
        gate.release()
        assert (await late).tokens == (await renewing).tokens == login.live[0]
    assert len(fake.requests) == 2


async def cancelled_after_rotation(fake: FakeMesh, mesh: MeshClient, tokens: Any, fault: Fault | None = None) -> None:
    """A caller who is gone before its outcome comes; it has come when this returns."""
    gate = fake.hold(fault, after_rotation=True)
    caller = asyncio.create_task(mesh.refresh(tokens))
    await gate.entered.wait()
    caller.cancel()
    await asyncio.wait((caller,))
    gate.release()
    assert caller.cancelled()


async def test_kept_for_the_next(fake: FakeMesh, clock: ManualClock) -> None:
    """What reached nobody is given to the next caller, and aclose has nothing left to raise."""
    login = fake.login("coinbase")
    async with unhooked(fake) as mesh:
        await cancelled_after_rotation(fake, mesh, login.token)
        other = asyncio.create_task(mesh.refresh(login.token))
        assert (await other).tokens == login.live[0]
    assert len(fake.requests) == 1


async def test_kept_past_the_half_minute(fake: FakeMesh, clock: ManualClock) -> None:
    """What reached nobody does not go stale."""
    login = fake.login("coinbase")
    async with unhooked(fake) as mesh:
        await cancelled_after_rotation(fake, mesh, login.token)
        await quiet(fake)
        clock.advance(timedelta(days=2))
        assert (await refreshed(mesh, login.token)).tokens.refresh_token == login.live[0].refresh_token
        assert [request.login for request in fake.requests].count(login.id) == 1
        clock.advance(31)
        with pytest.raises(TokensRefused):
            await mesh.refresh(login.token)


async def quiet(fake: FakeMesh) -> None:
    """Until the fake has answered all, and a round trip of another client after that."""
    async with fake.client() as other:
        await other.refresh(fake.login("coinbase").token)
        await other.refresh(fake.login("coinbase").token)
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("fault", [None, Fault.broken_json()], ids=["success", "broken json"])
async def test_raised_by_aclose(fake: FakeMesh, fault: Fault | None) -> None:
    """What reached nobody is raised by aclose as NotSaved, the oldest first, each time it is called."""
    one, two = fake.login("coinbase"), fake.login("coinbase")
    mesh = unhooked(fake)
    await cancelled_after_rotation(fake, mesh, one.token)
    await cancelled_after_rotation(fake, mesh, two.token, fault)
    with pytest.raises(NotSaved):
        await mesh.aclose()
    with pytest.raises(NotSaved) as caught:
        await mesh.aclose()
    first, second = caught.value.outcomes or ()
    assert first.before == one.token
    assert second.before == two.token
    for outcome in (first, second):
        await fake.saved(outcome)
    assert fake.lost() == []
    assert isinstance(second, UnreadableReply) == (fault is not None)


async def test_question_is_kept(fake: FakeMesh) -> None:
    """A question for a code that reached nobody is given to the next caller, and not asked again."""
    login = fake.login("vanguard", mfa=True)
    async with unhooked(fake) as mesh:
        await cancelled_after_rotation(fake, mesh, login.token)
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        assert login.codes_asked == 1
        assert isinstance(await mesh.submit_mfa(pending, login.code), Refreshed)


async def test_unreadable_is_kept(fake: FakeMesh) -> None:
    """Bytes that may hold a token, and reached nobody, are raised to the next caller: the token is not sent again."""
    login = fake.login("coinbase")
    async with unhooked(fake) as mesh:
        await cancelled_after_rotation(fake, mesh, login.token, Fault.broken_json())
        with pytest.raises(UnreadableReply) as caught:
            await mesh.refresh(login.token)
        await fake.saved(caught.value)
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_next_caller_with_a_newer_token_of_the_chain(fake: FakeMesh) -> None:
    """What reached nobody is given to a caller who brings an older token of its chain."""
    login = fake.login("coinbase")
    async with unhooked(fake) as mesh:
        first = await refreshed(mesh, login.token)
        await cancelled_after_rotation(fake, mesh, first.tokens)
        assert (await refreshed(mesh, login.token)).tokens == login.live[0]
    assert len(fake.requests) == 2


async def test_refusal_is_not_kept(fake: FakeMesh) -> None:
    """A refusal that reached nobody is not worth keeping: aclose is quiet."""
    login = fake.login("coinbase")
    async with unhooked(fake) as mesh:
        await cancelled_after_rotation(fake, mesh, login.token, Fault.refuse())
    assert fake.lost() == []


async def test_memory_does_not_grow(fake: FakeMesh, clock: ManualClock) -> None:
    """What is remembered is let go of after its half minute."""
    async with fake.client(clock=clock) as mesh:
        replies = [weakref.ref((await refreshed(mesh, fake.login("coinbase").token)).reply) for _ in range(20)]
        clock.advance(31)
        for _ in range(30):
            await refreshed(mesh, fake.login("coinbase").token)
        gc.collect()
        # One may live on for a while in the context of a timer of aiohttp's.
        assert len([reply for reply in replies if reply() is not None]) <= 2

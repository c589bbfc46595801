"""on_outcome, when it does not behave."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import MeshClient, NotSaved, Refreshed, RetryPolicy
from mesh_refresh.testing import FakeMesh, Fault

ONCE = RetryPolicy(max_requests=1, deadline=timedelta(hours=1))


async def raising(outcome: Any) -> None:
    raise OSError("the disk is full")


def raising_at_once(outcome: Any) -> None:
    raise OSError("the disk is full")


async def waiting(outcome: Any) -> None:
    await asyncio.Event().wait()


async def cancelled(outcome: Any) -> None:
    raise asyncio.CancelledError


async def cancelling_itself(outcome: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()


async def stubborn(outcome: Any) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return


async def timing_out(outcome: Any) -> None:
    async with asyncio.timeout(0.001):
        await asyncio.Event().wait()


def yielding(outcome: Any) -> Any:
    yield outcome


async def yielding_async(outcome: Any) -> Any:
    yield outcome


async def raising_in_what_it_returns(outcome: Any) -> Any:
    return raising(outcome)


def raising_in_a_thread(outcome: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(raising_at_once, outcome)


async def raising_in_what_that_returns(outcome: Any) -> Any:
    return raising_in_what_it_returns(outcome)


FOR_LATER = [yielding, yielding_async, raising_in_what_it_returns, raising_in_what_that_returns, raising_in_a_thread]
"""Hooks of which nothing, or not all, has run when they return."""
BAD = [raising, raising_at_once, waiting, cancelled, cancelling_itself, stubborn, timing_out, *FOR_LATER]


@pytest.mark.parametrize("hook", BAD)
@pytest.mark.parametrize("fault", [Fault.none(), Fault.broken_json()], ids=["success", "broken json"])
async def test_not_saved(fake: FakeMesh, hook: Any, fault: Fault) -> None:
    """A hook that fails, hangs or is cancelled gives NotSaved with the outcome on it, and the client goes on."""
    login = fake.login("coinbase")
    mesh = MeshClient(
        fake.client_id,
        fake.client_secret,
        base_url=fake.base_url,
        on_outcome=hook,
        on_outcome_timeout=timedelta(milliseconds=20),
        retry=ONCE,
    )
    async with mesh:
        fake.fail(fault)
        with pytest.raises(NotSaved) as caught:
            await mesh.refresh(login.token)
        assert caught.value.outcome.before == login.token
        await fake.saved(caught.value.outcome)
    assert fake.lost() == []
    assert len(fake.requests) == 1
    assert "fake-refresh" not in str(caught.value)


@pytest.mark.parametrize("hook", BAD)
async def test_not_saved_and_caller_gone(fake: FakeMesh, hook: Any) -> None:
    """Where the hook fails and the caller is gone, aclose raises the outcome."""
    login, gate = fake.login("coinbase"), fake.hold()
    mesh = MeshClient(
        fake.client_id, fake.client_secret, base_url=fake.base_url, on_outcome=hook,
        on_outcome_timeout=timedelta(milliseconds=20),
    )  # fmt: skip
    caller = asyncio.create_task(mesh.refresh(login.token))
    await gate.entered.wait()
    caller.cancel()
    gate.release()
    with pytest.raises(NotSaved) as caught:
        await mesh.aclose()
    await fake.saved(caught.value.outcome)
    assert caller.cancelled()
    assert fake.lost() == []


@pytest.mark.parametrize("result", [True, 7, "saved", [], object])
@pytest.mark.parametrize("in_a_thread", [True, False])
async def test_what_a_hook_returns(fake: FakeMesh, result: Any, in_a_thread: bool) -> None:
    """A hook may return anything; a future of an executor's is awaited like any other."""
    told: list[Any] = []

    def save(outcome: Any) -> Any:
        told.append(outcome)
        return result

    async def save_async(outcome: Any) -> Any:
        return save(outcome)

    with ThreadPoolExecutor(1) as pool:
        hooks = [lambda outcome: pool.submit(save, outcome)] if in_a_thread else [save, save_async]
        for hook in hooks:
            async with fake.client(on_outcome=hook) as mesh:
                outcome = await mesh.refresh(fake.login("coinbase").token)
            assert told.pop() is outcome


async def test_hook_is_tried_again_for_the_next(fake: FakeMesh) -> None:
    """After a failure that reached nobody, the next caller who brings the token has the hook tried once more."""
    told: list[Any] = []
    failed = asyncio.Event()

    async def hook(outcome: Any) -> None:
        told.append(outcome)
        if len(told) == 1:
            failed.set()
            raise OSError

    login, gate = fake.login("coinbase"), fake.hold()
    async with fake.client(on_outcome=hook) as mesh:
        caller = asyncio.create_task(mesh.refresh(login.token))
        await gate.entered.wait()
        caller.cancel()
        gate.release()
        await failed.wait()
        for _ in range(20):  # until the exchange is over
            await asyncio.sleep(0)
        assert isinstance(await mesh.refresh(login.token), Refreshed)
    assert caller.cancelled()
    assert len(told) == 2
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_superseded_outcome(fake: FakeMesh) -> None:
    """What reached nobody but was refreshed on since is not raised by aclose: saving it would undo what came after."""
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome)
        if len(told) == 1:
            raise OSError

    login, gate = fake.login("coinbase"), fake.hold()
    mesh = fake.client(on_outcome=hook)
    caller = asyncio.create_task(mesh.refresh(login.token))
    await gate.entered.wait()
    # An unequal one waits for the end of the first, and is then made from what came of it.
    unequal = asyncio.create_task(mesh.refresh(login.token, create_new_refresh_token=True))
    await asyncio.sleep(0)
    caller.cancel()
    gate.release()
    assert isinstance(await unequal, Refreshed)
    try:
        await mesh.aclose()
    except NotSaved as error:
        raised = [tokens for outcome in error.outcomes or () for tokens in outcome.all_tokens]
        assert all(fake.is_live(tokens.refresh_token) for tokens in raised)
    assert fake.lost() == []


async def test_hook_that_refreshes(fake: FakeMesh) -> None:
    """A hook may refresh another account by the same client."""
    other = fake.login("coinbase")
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome)
        if len(told) == 1:
            await mesh.refresh(other.token)

    async with fake.client(on_outcome=hook) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
    assert len(told) == len(fake.requests) == 2
    assert fake.lost() == []


async def test_hook_that_refreshes_the_same(fake: FakeMesh) -> None:
    """A hook that asks for the token that it is told of would wait for itself: its time-out ends that."""

    async def hook(outcome: Any) -> None:
        await mesh.refresh(outcome.before)

    async with fake.client(on_outcome=hook, on_outcome_timeout=timedelta(milliseconds=20)) as mesh:
        with pytest.raises(NotSaved) as caught:
            await mesh.refresh(fake.login("coinbase").token)
        await fake.saved(caught.value.outcome)
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_hook_that_goes_on_with_the_new(fake: FakeMesh) -> None:
    """A hook may refresh the new token that it has just been told of."""
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome)
        if len(told) == 1:
            await mesh.refresh(outcome.tokens)

    async with fake.client(on_outcome=hook) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == 2
    assert fake.reuses == []
    assert fake.lost() == []


async def test_hook_before_return(fake: FakeMesh) -> None:
    """No caller has its outcome before the hook has it."""
    order: list[str] = []

    async def hook(outcome: Any) -> None:
        await asyncio.sleep(0)
        order.append("hook")

    async with fake.client(on_outcome=hook) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
        order.append("caller")
    assert order == ["hook", "caller"]


async def test_hook_is_not_told_of_refusals(fake: FakeMesh) -> None:
    """The hook is told of what may hold a token, and of nothing else."""
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome)

    async with fake.client(on_outcome=hook, retry=ONCE) as mesh:
        for fault in (Fault.refuse(), Fault.cut(after_rotation=True), Fault.html(200), Fault.server_error()):
            fake.fail(fault)
            with pytest.raises(Exception, match=r"."):
                await mesh.refresh(fake.login("coinbase").token)
    assert told == []

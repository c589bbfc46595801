"""aclose() waits whatever happens: on_outcome has ended and the transport is closed before its caller goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from mesh_refresh import AiohttpTransport, InvalidRequest, MeshClient, NotSaved
from mesh_refresh.testing import FakeMesh


class Closing:
    """A client in whose hook an outcome is, while somebody closes it and is cancelled."""

    def __init__(self, fake: FakeMesh) -> None:
        self.in_hook, self.go_on = asyncio.Event(), asyncio.Event()
        self.ends = list[str]()
        transport = AiohttpTransport()
        aclose = transport.aclose

        async def closes() -> None:
            await aclose()
            await asyncio.sleep(0)
            self.ends.append("transport")

        transport.aclose = closes  # type: ignore[method-assign]
        self.mesh = fake.client(transport=transport, on_outcome=self.save)
        self.caller = asyncio.create_task(self.mesh.refresh(fake.login("coinbase").token))

    async def save(self, _: object) -> None:
        self.in_hook.set()
        await self.go_on.wait()
        self.ends.append("hook")


async def twice(mesh: MeshClient) -> None:
    """Cancelled, and cancelled again."""
    task = asyncio.create_task(mesh.aclose())
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await task


async def within_timeout(mesh: MeshClient) -> None:
    async with asyncio.timeout(0):
        await mesh.aclose()


async def within_wait_for(mesh: MeshClient) -> None:
    await asyncio.wait_for(mesh.aclose(), 0.001)


async def in_a_group(mesh: MeshClient) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async with asyncio.TaskGroup() as group:
        group.create_task(mesh.aclose())
        group.create_task(fails())


async def leaving_in_a_group(mesh: MeshClient) -> None:
    """Cancelled as the block of the client is left."""

    async def leaves() -> None:
        async with mesh:
            await asyncio.sleep(0)

    async def fails() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        raise LookupError

    async with asyncio.TaskGroup() as group:
        group.create_task(leaves())
        group.create_task(fails())


async def anyio_move_on(mesh: MeshClient) -> None:
    with anyio.move_on_after(0.001) as scope:
        await mesh.aclose()
    assert scope.cancelled_caught


async def anyio_fail_after(mesh: MeshClient) -> None:
    with anyio.fail_after(0.001):
        await mesh.aclose()


async def anyio_within_asyncio(mesh: MeshClient) -> None:
    """A scope inside of a scope, and both expire."""
    async with asyncio.timeout(0.002):
        with anyio.move_on_after(0.001):
            await mesh.aclose()
        await asyncio.sleep(1000)


ENDINGS: dict[Callable[[MeshClient], Awaitable[None]], type[BaseException] | None] = {
    twice: asyncio.CancelledError,
    within_timeout: TimeoutError,
    within_wait_for: TimeoutError,
    in_a_group: ExceptionGroup,
    leaving_in_a_group: ExceptionGroup,
    anyio_move_on: None,
    anyio_fail_after: TimeoutError,
    anyio_within_asyncio: TimeoutError,
}


@pytest.mark.parametrize("way", ENDINGS, ids=lambda way: way.__name__)
async def test_waits(fake: FakeMesh, way: Callable[[MeshClient], Awaitable[None]]) -> None:
    """However its caller is cancelled, the hook and the transport have ended when aclose does; the cancel counts."""
    closing = Closing(fake)
    await closing.in_hook.wait()
    closer = asyncio.ensure_future(way(closing.mesh))
    done, _ = await asyncio.wait((closer,), timeout=0.02)
    before = [*closing.ends]
    closer.add_done_callback(lambda _: closing.ends.append("closed"))
    closing.go_on.set()
    await asyncio.wait((closer, closing.caller))
    assert not done
    assert before == []
    assert closing.ends == ["hook", "transport", "closed"]
    expected = ENDINGS[way]
    if expected is None:
        closer.result()
    else:
        with pytest.raises(expected):
            closer.result()


async def test_second_aclose_waits(fake: FakeMesh) -> None:
    """A second aclose waits for the first, and for the transport."""
    closing = Closing(fake)
    await closing.in_hook.wait()
    first = asyncio.create_task(closing.mesh.aclose())
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(closing.mesh.aclose())
    second.add_done_callback(lambda _: closing.ends.append("second"))
    closing.go_on.set()
    await second
    await closing.caller
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.sleep(0)
    assert closing.ends == ["hook", "transport", "second"]


async def test_not_saved_beats_the_cancel(fake: FakeMesh) -> None:
    """A pair that reached nobody is raised, though aclose was cancelled: it is worth more."""
    entered = asyncio.Event()

    async def save(_: object) -> None:
        entered.set()
        await asyncio.sleep(0)
        raise OSError

    mesh = fake.client(on_outcome=save)
    caller = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
    await entered.wait()
    caller.cancel()
    closer = asyncio.create_task(mesh.aclose())
    await asyncio.sleep(0)
    closer.cancel()
    with pytest.raises(NotSaved):
        await closer


class Odd:
    """A transport whose aclose is `act`."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act
        self.closed = 0

    async def send(self, request: Any) -> Any:
        raise AssertionError

    async def aclose(self) -> None:
        self.closed += 1
        await self.act()


async def test_transport_closes_its_client(fake: FakeMesh) -> None:
    """A transport that closes the client that closes it is told so, and does not wait for itself."""

    async def act() -> None:
        with pytest.raises(InvalidRequest, match="being closed"):
            await mesh.aclose()

    transport = Odd(act)
    mesh = fake.client(transport=transport)
    await mesh.aclose()
    await mesh.aclose()
    assert transport.closed == 1


async def test_transport_never_closes(fake: FakeMesh) -> None:
    """A transport that never closes holds aclose up for on_outcome_timeout, and no longer."""
    mesh = fake.client(transport=Odd(asyncio.Event().wait), on_outcome_timeout=timedelta(milliseconds=5))
    with pytest.raises(TimeoutError):
        await mesh.aclose()
    await mesh.aclose()

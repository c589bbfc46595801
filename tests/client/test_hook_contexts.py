"""on_outcome sees the context variables of the caller whose outcome it is told, as they were when that joined."""

import asyncio
from contextvars import ContextVar
from typing import Any

from attrs import evolve

from mesh_refresh import MeshClient, Tokens
from mesh_refresh.testing import FakeMesh

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


async def refresh_as(tenant: str, mesh: MeshClient, tokens: Tokens) -> None:
    TENANT.set(tenant)
    await mesh.refresh(evolve(tokens, ref=tenant))


async def test_each_in_its_own(fake: FakeMesh) -> None:
    """Those who share one exchange, who join while hooks run, and who bring the spent token late."""
    seen, entered, go_on = dict[Any, str](), asyncio.Event(), asyncio.Event()

    async def save(outcome: Any) -> None:
        if outcome.before.ref in ("anna", "joined"):
            entered.set()
            await go_on.wait()
        seen[outcome.before.ref] = TENANT.get()
        TENANT.set("the hook's own")

    token, gate = fake.login("coinbase").token, fake.hold()
    async with fake.client(on_outcome=save) as mesh:
        callers = [asyncio.create_task(refresh_as("anna", mesh, token))]
        await gate.entered.wait()
        callers.append(asyncio.create_task(refresh_as("ben", mesh, token)))
        await asyncio.sleep(0)
        gate.release()
        await entered.wait()
        callers.append(asyncio.create_task(refresh_as("joined", mesh, token)))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*callers)
        await asyncio.create_task(refresh_as("late", mesh, token))
    assert seen == {name: name for name in ("anna", "ben", "joined", "late")}
    assert len(fake.requests) == 1


async def test_as_they_were_when_it_joined(fake: FakeMesh) -> None:
    """What the caller sets later is not seen, nor does the hook change what the caller sees."""
    seen, gate = list[str](), fake.hold()

    def save(_: object) -> None:
        seen.append(TENANT.get())
        TENANT.set("the hook's own")

    async with fake.client(on_outcome=save) as mesh:
        TENANT.set("before")
        caller = asyncio.ensure_future(mesh.refresh(fake.login("coinbase").token))
        await gate.entered.wait()
        TENANT.set("after")
        gate.release()
        await caller
    assert seen == ["before"]
    assert TENANT.get() == "after"

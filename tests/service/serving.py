"""A service over `FakeMesh` on a real socket, for tests of routes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession
from attrs import frozen

from mesh_refresh.keeper import Keeper
from mesh_refresh.service.access import Access, AccessKey, Scope
from mesh_refresh.service.service import make_guard
from mesh_refresh.service.web.addresses import parse_address
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.guard import Guard
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.service.web.routes import Route
from mesh_refresh.stores import MemoryStore, Store
from mesh_refresh.testing import FakeMesh


@frozen
class Served:
    """A service that listens, with a keeper that works."""

    url: str
    keeper: Keeper
    guard: Guard
    session: ClientSession
    """Without a key: see `bearer`."""
    access: Access


def bearer(key: str) -> dict[str, str]:
    """The headers of a caller."""
    return {"Authorization": f"Bearer {key}"}


def make_key(*scopes: Scope, name: str = "caller", **limits: object) -> tuple[AccessKey, str]:
    """What is kept of a new key, and the key; without `scopes` it has all."""
    return AccessKey.generate(name, scopes or tuple(Scope), **limits)


@asynccontextmanager
async def serving(
    fake: FakeMesh,
    routes: Sequence[Route],
    *keys: AccessKey,
    store: Store | None = None,
    client: Mapping[str, Any] | None = None,
    **exposure: object,
) -> AsyncIterator[Served]:
    """A service with `routes` on a port of loopback, whose keeper has no loop. `client`: options of its client."""
    access = Access(keys)
    async with (
        fake.client(**(client or {})) as mesh,
        Keeper(mesh, MemoryStore() if store is None else store, background=False) as keeper,
        ClientSession() as session,
    ):
        guard = make_guard(Probes(keeper=keeper), access, Exposure(**{"is_local": True, **exposure}))  # type: ignore[arg-type]
        async with Listening(make_app(guard, None, routes), parse_address("127.0.0.1:0")) as listening:
            yield Served(f"http://{listening.addresses[0]}", keeper, guard, session, access)

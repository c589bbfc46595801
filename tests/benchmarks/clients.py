"""The clients that are compared. Each does one refresh of a token that was never sent before."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from mesh_refresh import BrokerType, MeshClient, Tokens
from mesh_refresh.client.keys import REFRESH_PATH

Refresh = Callable[[], Awaitable[Any]]
_numbers = itertools.count()


@asynccontextmanager
async def hand_written(base_url: str) -> AsyncIterator[Refresh]:
    """What somebody writes in ten minutes: no strategy, no retry, no protection of anything."""
    url, headers = base_url + REFRESH_PATH, {"X-Client-Id": "benchmark-id", "X-Client-Secret": "benchmark-secret"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        async def refresh() -> Any:
            body = {"refreshToken": f"benchmark-old-{next(_numbers)}", "type": "coinbase"}
            async with session.post(url, json=body, headers=headers) as response:
                return await response.json()

        yield refresh


@asynccontextmanager
async def mesh_client(base_url: str) -> AsyncIterator[Refresh]:
    """`MeshClient.refresh` as it comes, with everything on."""
    async with MeshClient("benchmark-id", "benchmark-secret", base_url=base_url) as mesh:

        async def refresh() -> Any:
            tokens = Tokens(BrokerType.COINBASE, f"benchmark-old-{next(_numbers)}")
            return (await mesh.refresh(tokens)).unwrap().tokens

        yield refresh


async def _saved(_: object) -> None:
    """An `on_outcome` that costs nothing itself."""


@asynccontextmanager
async def mesh_client_with_hook(base_url: str) -> AsyncIterator[Refresh]:
    """The same with an `on_outcome`, which runs in a task of its own."""
    async with MeshClient("benchmark-id", "benchmark-secret", base_url=base_url, on_outcome=_saved) as mesh:

        async def refresh() -> Any:
            tokens = Tokens(BrokerType.COINBASE, f"benchmark-old-{next(_numbers)}")
            return (await mesh.refresh(tokens)).unwrap().tokens

        yield refresh


CLIENTS = {"hand-written aiohttp": hand_written, "MeshClient": mesh_client, "MeshClient + hook": mesh_client_with_hook}
BASELINE = "hand-written aiohttp"

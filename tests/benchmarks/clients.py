"""The clients that are compared. Each exchanges one refresh token, and gives the new one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from mesh_refresh import BrokerType, MeshClient, Tokens
from mesh_refresh.client.keys import REFRESH_PATH
from tests.benchmarks import floor

CLIENT_ID, CLIENT_SECRET = "benchmark-id", "benchmark-secret"
KEYS = {"X-Client-Id": CLIENT_ID, "X-Client-Secret": CLIENT_SECRET}

Refresh = Callable[[str], Awaitable[str | None]]
Make = Callable[[str], AbstractAsyncContextManager[Refresh]]
"""From a base URL to a client of it."""


def new_token(reply: Any) -> str:
    """The refresh token in the JSON of a reply."""
    return str(reply["content"]["brokerAccountTokens"][0]["refreshToken"])


@asynccontextmanager
async def bare_protocol(base_url: str) -> AsyncIterator[Refresh]:
    """As little as can be: a bare protocol of asyncio's, and orjson."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in KEYS.items()) + "Content-Type: application/json\r\n"
    async with floor.connections(base_url) as (pool, host):

        async def refresh(token: str) -> str:
            body = {"refreshToken": token, "type": "coinbase"}
            return new_token(await floor.post(pool, host, REFRESH_PATH, headers, body))

        yield refresh


@asynccontextmanager
async def hand_written(base_url: str) -> AsyncIterator[Refresh]:
    """What somebody writes in ten minutes: no strategy, no retry, no protection of anything."""
    url = base_url + REFRESH_PATH
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        async def refresh(token: str) -> str:
            body = {"refreshToken": token, "type": "coinbase"}
            async with session.post(url, json=body, headers=KEYS) as response:
                return new_token(await response.json())

        yield refresh


@asynccontextmanager
async def mesh_client(base_url: str) -> AsyncIterator[Refresh]:
    """`MeshClient.refresh` as it comes, with everything on."""
    async with MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=base_url) as mesh:

        async def refresh(token: str) -> str | None:
            refreshed = await mesh.refresh(Tokens(BrokerType.COINBASE, token))
            return refreshed.unwrap().tokens.refresh_token

        yield refresh


async def _saved(_: object) -> None:
    """An `on_outcome` that costs nothing itself."""


@asynccontextmanager
async def mesh_client_with_hook(base_url: str) -> AsyncIterator[Refresh]:
    """The same with an `on_outcome`, which runs in a task of its own."""
    async with MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=base_url, on_outcome=_saved) as mesh:

        async def refresh(token: str) -> str | None:
            refreshed = await mesh.refresh(Tokens(BrokerType.COINBASE, token))
            return refreshed.unwrap().tokens.refresh_token

        yield refresh


BASELINE, OURS, HOOKED = "hand-written aiohttp", "MeshClient", "MeshClient + hook"

CLIENTS: dict[str, Make] = {
    "floor: bare Protocol + orjson": bare_protocol,
    BASELINE: hand_written,
    OURS: mesh_client,
    HOOKED: mesh_client_with_hook,
}
"""Those that need nothing but this project. What is compared most stands side by side: it runs so too."""


def every_client(generated: Path) -> dict[str, Make]:
    """These, and what somebody would take instead; `generated` is the folder of the generated ones."""
    from tests.benchmarks.rivals import rivals  # they are in the extra `bench`, which the tests do not install

    return {**CLIENTS, **rivals(generated)}

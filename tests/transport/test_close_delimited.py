"""Replies whose body ends with the connection: HTTP/1.0, and proxies that say no length."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from mesh_refresh import AiohttpTransport, MeshClient, Outcome, Refreshed, Tokens, UnreadableReply
from tests.transport.transports import BySession

PAIR = {"accessToken": "fake-access-new", "refreshToken": "fake-refresh-new"}
BODY = json.dumps({"status": "ok", "content": {"status": "succeeded", "brokerAccountTokens": [PAIR]}}).encode()
HEADS = [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"]
WAYS: list[Callable[[], AiohttpTransport]] = [AiohttpTransport, BySession]


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().splitlines() if b"content-length" in line)
        await reader.readexactly(length)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("head", HEADS)
async def test_whole(head: bytes, way: Callable[[], AiohttpTransport]) -> None:
    """A body that ends with the connection is read whole."""
    async with answering(head + BODY) as url, MeshClient("id", "fake", base_url=url, transport=way()) as mesh:
        outcome = await mesh.refresh(Tokens("coinbase", "fake-refresh-old"))
    assert isinstance(outcome, Refreshed)
    assert outcome.tokens.refresh_token == PAIR["refreshToken"]


@pytest.mark.parametrize("way", WAYS)
async def test_cut(way: Callable[[], AiohttpTransport]) -> None:
    """Where such a body is cut, its bytes are kept: a token may be in them."""
    seen: list[Outcome] = []
    async with (
        answering(HEADS[1] + BODY[:-20]) as url,
        MeshClient("id", "fake", base_url=url, transport=way(), on_outcome=seen.append) as mesh,
    ):
        with pytest.raises(UnreadableReply) as caught:
            await mesh.refresh(Tokens("coinbase", "fake-refresh-old"))
    assert caught.value.may_hold_token
    assert isinstance(seen[0], UnreadableReply)
    assert seen[0].body == BODY[:-20]


async def test_session_of_the_user() -> None:
    """A session of the user's reads it as well."""
    async with answering(HEADS[0] + BODY) as url, aiohttp.ClientSession() as session:
        mesh = MeshClient("id", "fake", base_url=url, transport=AiohttpTransport(session))
        assert isinstance(await mesh.refresh(Tokens("coinbase", "fake-refresh-old")), Refreshed)
        await mesh.aclose()
        assert not session.closed

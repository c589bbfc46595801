"""What is raised before the first byte is NotSent, whatever it is; and names, which are looked up once for all."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from mesh_refresh import AiohttpTransport, MeshClient, NotSent, OutcomeUnknown, Refreshed, RetryPolicy, Tokens
from mesh_refresh.testing import FakeMesh
from tests.transport.transports import BySession

ONCE = RetryPolicy(max_requests=1)
TOKENS = Tokens("coinbase", "fake-refresh-old")
LONG_LABEL = f"https://{'a' * 64}.example"
WAYS: list[Callable[[], AiohttpTransport]] = [AiohttpTransport, BySession]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", [LONG_LABEL, "https://nowhere.invalid", "https://127.0.0.1:1"])
async def test_no_way_there(url: str, way: Callable[[], AiohttpTransport]) -> None:
    """A host that cannot be reached, and a name that cannot be one."""
    async with MeshClient("id", "fake", base_url=url, transport=way(), retry=ONCE) as mesh:
        with pytest.raises(NotSent):
            await mesh.refresh(TOKENS)


@pytest.mark.parametrize("url", [LONG_LABEL, "https://nowhere.invalid", None])
async def test_a_given_session(fake: FakeMesh, url: str | None) -> None:
    """The same on a session of the caller's; and one that is closed."""
    session = aiohttp.ClientSession()
    try:
        if url is None:
            await session.close()
        transport = AiohttpTransport(session)
        async with MeshClient("id", "fake", base_url=url or fake.base_url, transport=transport, retry=ONCE) as mesh:
            with pytest.raises(NotSent):
                await mesh.refresh(TOKENS)
    finally:
        await session.close()


async def test_a_session_of_another_loop(fake: FakeMesh) -> None:
    """One that was made in another event loop sends nothing, and the error says so."""

    async def made() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    session = await asyncio.to_thread(asyncio.run, made())
    async with fake.client(transport=AiohttpTransport(session), retry=ONCE) as mesh:
        with pytest.raises(NotSent, match="another event loop"):
            await mesh.refresh(fake.login("coinbase").token)
    await session.close()
    assert fake.requests == []


@asynccontextmanager
async def proxy(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that answers every request with `answer`, and what it was asked."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://somebody:fake-password@127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@pytest.mark.parametrize("given", [False, True])
async def test_a_proxy_that_refuses(given: bool) -> None:
    """A proxy that refuses to connect has seen no token; it was asked with its own password."""
    async with (
        proxy(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as (url, heads),
        aiohttp.ClientSession() as session,
    ):
        transport = AiohttpTransport(session if given else None, proxy=url)
        async with MeshClient("id", "fake", base_url="https://mesh.example", transport=transport, retry=ONCE) as mesh:
            with pytest.raises(NotSent) as caught:
                await mesh.refresh(TOKENS)
    assert heads
    assert heads[0].startswith(b"CONNECT mesh.example:443 ")
    assert b"Proxy-Authorization: Basic " in heads[0]
    assert b"fake-refresh" not in b"".join(heads)
    assert "fake-password" not in f"{caught.value!r} {transport!r}"


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    "answer", [b"\x00\x01\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"]
)  # fmt: skip
async def test_a_proxy_that_speaks_no_http(answer: bytes, given: bool) -> None:
    """What is wrong with its answer to CONNECT came before the request, by a given session too."""
    async with proxy(answer) as (url, _), aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session if given else None, proxy=url)
        async with MeshClient("id", "fake", base_url="https://mesh.example", transport=transport, retry=ONCE) as mesh:
            with pytest.raises(NotSent):
                await mesh.refresh(TOKENS)


async def test_a_proxy_on_the_way(fake: FakeMesh) -> None:
    """Through a proxy a request in plain text names its host, and carries the proxy's password and nothing of it on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-len"))
        body = await reader.readexactly(length)
        upstream, down = await asyncio.open_connection(fake.server.host, fake.server.port)
        line, _, rest = head.partition(b"\r\n")
        target = line.split(b" ")[1].decode().removeprefix(fake.base_url).encode()
        down.write(b"POST " + target + b" HTTP/1.1\r\nConnection: close\r\n" + rest + body)
        writer.write(await upstream.read())
        writer.close()
        down.close()

    heads: list[bytes] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://somebody:fake-password@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with fake.client(transport=AiohttpTransport(proxy=url)) as mesh:
            assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)
    assert heads[0].startswith(f"POST {fake.base_url}/api/v1/token/refresh HTTP/1.1\r\n".encode())
    assert heads[0].count(b"Proxy-Authorization: Basic ") == 1
    assert fake.lost() == []


async def test_the_bytes_are_out(fake: FakeMesh) -> None:
    """What is raised after the bytes never counts as not sent."""
    gate = fake.hold()
    async with fake.client(retry=ONCE) as mesh:
        caller = asyncio.ensure_future(mesh.refresh(fake.login("coinbase").token))
        await gate.entered.wait()
        await fake.stop()
        with pytest.raises(OutcomeUnknown):
            await caller


@pytest.mark.parametrize("found", [[], [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 1))]])
async def test_a_name_without_an_address(found: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One of which no address can be used sends nothing, and is no reason to take another way."""
    transport = AiohttpTransport()
    async with MeshClient("id", "fake", base_url="https://localhost", transport=transport, retry=ONCE) as mesh:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(NotSent):
            await mesh.refresh(TOKENS)
    assert transport.way == "direct"


class Names:
    """Look-ups of one name, which wait until they are told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.go_on = 0, threading.Event()
        self.begun = asyncio.Event()
        self._loop, self._look_up = asyncio.get_running_loop(), socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._slowly)

    def _slowly(self, host: Any, *args: Any, **options: Any) -> Any:
        if host == "localhost":
            self.count += 1
            self._loop.call_soon_threadsafe(self.begun.set)
            assert self.go_on.wait(60)
        return self._look_up(host, *args, **options)


async def test_a_name_is_looked_up_once(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred cold refreshes look a name up once, and leave the program's threads to the program."""
    names, url = Names(monkeypatch), fake.base_url.replace("127.0.0.1", "localhost")
    async with fake.client(base_url=url) as mesh:
        callers = [asyncio.ensure_future(mesh.refresh(fake.login("coinbase").token)) for _ in range(100)]
        await names.begun.wait()
        assert await asyncio.to_thread(int, "7") == 7
        callers[0].cancel()  # the others' look-up goes on
        names.go_on.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert names.count == 1
    assert all(isinstance(outcome, Refreshed) for outcome in outcomes[1:])
    assert fake.lost() == []

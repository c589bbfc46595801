"""Deadlines, redirects, sessions, pools: what is sent, and what ends it."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from mesh_refresh import (
    AiohttpTransport,
    MeshClient,
    MeshRefreshError,
    NotSent,
    OutcomeUnknown,
    RedirectRefused,
    Refreshed,
    RetryPolicy,
    SendOptions,
    Tokens,
    UnreadableReply,
)
from mesh_refresh.testing import FakeMesh, Fault
from tests.transport.transports import BySession

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=60)
AT_ONCE = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta())


@pytest.mark.parametrize("after_rotation", [False, True])
async def test_no_answer(fake: FakeMesh, after_rotation: bool) -> None:
    """A server that never answers ends at the deadline as OutcomeUnknown."""
    gate = fake.hold(after_rotation=after_rotation)
    async with fake.client(retry=RetryPolicy(deadline=SOON)) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == 1
    gate.release()


@pytest.mark.parametrize(("pool", "error"), [(AiohttpTransport, NotSent), (BySession, OutcomeUnknown)])
async def test_no_free_connection(fake: FakeMesh, pool: Any, error: type[MeshRefreshError]) -> None:
    """Who finds no free connection before the deadline was not sent, which aiohttp's session does not tell."""
    gate, only = fake.hold(), pool(connections=1)
    async with (
        fake.client(retry=RetryPolicy(deadline=HOUR), transport=only) as first,
        fake.client(retry=RetryPolicy(deadline=SOON), transport=only) as second,
    ):
        holder = asyncio.create_task(first.refresh(fake.login("coinbase").token))
        await gate.entered.wait()
        with pytest.raises(error):
            await second.refresh(fake.login("coinbase").token)
        gate.release()
        assert isinstance(await holder, Refreshed)
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_too_late_to_send(fake: FakeMesh) -> None:
    """What could go out only with the deadline at hand stays here: its answer would come too late to be seen."""
    deadline = timedelta(seconds=0.5)  # a machine under load must get as far as `before_send` within it

    def check() -> None:
        ready = asyncio.get_running_loop().time() + deadline.total_seconds() * 0.95
        while asyncio.get_running_loop().time() < ready:  # the loop itself is late, not only this request
            pass

    async with fake.client(retry=RetryPolicy(deadline=deadline, max_requests=1)) as mesh:
        with pytest.raises(NotSent, match="too little time"):
            await mesh.refresh(fake.login("coinbase").token, sending=SendOptions(before_send=check))
    assert fake.requests == []
    assert fake.lost() == []


async def test_secret_never_comes(fake: FakeMesh) -> None:
    """A secret that never comes ends at the deadline as NotSent."""

    async def secret() -> str:
        await asyncio.Event().wait()
        return ""

    mesh = MeshClient(fake.client_id, secret, base_url=fake.base_url, retry=RetryPolicy(deadline=SOON))
    async with mesh:
        with pytest.raises(NotSent):
            await mesh.refresh(fake.login("coinbase").token)
    assert fake.requests == []


async def test_no_answer_and_nobody_waits(fake: FakeMesh) -> None:
    """aclose does not wait longer than the deadline for a server that never answers."""
    gate = fake.hold()
    mesh = fake.client(retry=RetryPolicy(deadline=SOON))
    caller = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
    await gate.entered.wait()
    caller.cancel()
    await mesh.aclose()
    assert caller.cancelled()
    gate.release()


async def test_half_a_reply_at_the_deadline() -> None:
    """What has come of a reply when the deadline passes is handed up as an UnreadableReply with its bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"content": {"refreshToken": "r-2"')
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with MeshClient("id", "secret", base_url=url, retry=RetryPolicy(deadline=SOON)) as mesh:
            with pytest.raises(UnreadableReply) as caught:
                await mesh.refresh(Tokens("coinbase", "r-1"))
    assert caught.value.body == b'{"content": {"refreshToken": "r-2"'
    assert caught.value.may_hold_token


@pytest.mark.parametrize("way", ["direct", "long", "given"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirect(fake: FakeMesh, code: int, way: str) -> None:
    """No redirect is followed, neither within the host nor to another, and the secret goes nowhere."""
    async with FakeMesh() as thief, aiohttp.ClientSession() as session:
        for location in (f"{thief.base_url}/api/v1/token/refresh", f"{fake.base_url}/api/v1/token/refresh"):
            fake.fail(Fault.redirect(location, code))
            transport = {"direct": None, "long": BySession(), "given": AiohttpTransport(session)}[way]
            async with fake.client(retry=AT_ONCE, transport=transport) as mesh:
                with pytest.raises(RedirectRefused):
                    await mesh.refresh(fake.login("coinbase").token)
        assert thief.requests == []
    assert len(fake.requests) == 2


@pytest.mark.parametrize("way", ["direct", "long", "given"])
async def test_before_send(fake: FakeMesh, way: str) -> None:
    """A before_send that raises is NotSent, and nothing is on the wire; it is not lost for the next."""
    calls = 0

    async def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("the lease is over")

    login = fake.login("coinbase")
    async with aiohttp.ClientSession() as session:
        transport = {"direct": None, "long": BySession(), "given": AiohttpTransport(session)}[way]
        async with fake.client(retry=AT_ONCE, transport=transport) as mesh:
            with pytest.raises(NotSent):
                await mesh.refresh(login.token, sending=SendOptions(max_requests=1, before_send=check))
            assert fake.requests == []
            await mesh.refresh(login.token, sending=SendOptions(max_requests=1, before_send=check))
    assert calls == 2
    assert fake.lost() == []


async def test_session_stays_open(fake: FakeMesh) -> None:
    """A ClientSession of the caller's is used, and left open."""
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with fake.client(transport=AiohttpTransport(session)) as mesh:
                await mesh.refresh(fake.login("coinbase").token)
        assert not session.closed
    assert fake.lost() == []


async def test_thousands(fake: FakeMesh) -> None:
    """Three thousand refreshes at once go through a pool of twenty, and none is lost."""
    logins = [fake.login("coinbase") for _ in range(3000)]
    async with fake.client(transport=AiohttpTransport(connections=20)) as mesh:
        outcomes = await asyncio.gather(*(mesh.refresh(login.token) for login in logins))
    assert all(isinstance(outcome, Refreshed) for outcome in outcomes)
    assert fake.max_in_flight <= 20
    assert len(fake.requests) == 3000
    assert fake.lost() == []

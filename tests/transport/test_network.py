"""What stands between the client and Mesh: TLS, and proxies that the machine names."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web

from mesh_refresh import AiohttpTransport, MeshClient, NotSent, Refreshed, RetryPolicy, Tokens
from mesh_refresh.testing import FakeMesh

ONCE = RetryPolicy(max_requests=1)
PAIR = {"accessToken": "fake-access-new", "refreshToken": "fake-refresh-new"}
BODY = json.dumps({"status": "ok", "content": {"status": "succeeded", "brokerAccountTokens": [PAIR]}})
TOKENS = Tokens("coinbase", "fake-refresh-old")


@asynccontextmanager
async def encrypted(authority: trustme.CA, name: str) -> AsyncIterator[tuple[str, list[web.BaseRequest]]]:
    """A server with a certificate for `name`, and what it was sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    seen: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request)
        return web.Response(text=BODY)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://localhost:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


async def test_a_certificate_that_nobody_vouches_for() -> None:
    """A server whose certificate cannot be verified is sent nothing."""
    async with (
        encrypted(trustme.CA(), "localhost") as (url, seen),
        MeshClient("id", "fake", base_url=url, retry=ONCE) as mesh,
    ):
        with pytest.raises(NotSent, match="ertificate"):
            await mesh.refresh(TOKENS)
    assert not seen


async def test_an_authority_of_your_own() -> None:
    """An SSLContext says whom to trust, and the name is checked all the same."""
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        encrypted(authority, "localhost") as (url, seen),
        MeshClient("id", "fake", base_url=url, transport=AiohttpTransport(ssl=context)) as mesh,
    ):
        assert isinstance(await mesh.refresh(TOKENS), Refreshed)
    assert len(seen) == 1
    async with encrypted(authority, "somebody.example") as (url, seen):
        transport = AiohttpTransport(ssl=context)
        async with MeshClient("id", "fake", base_url=url, transport=transport, retry=ONCE) as mesh:
            with pytest.raises(NotSent):
                await mesh.refresh(TOKENS)
    assert not seen


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine names a proxy at which nobody listens."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("proxied")
async def test_no_proxy_from_the_environment(fake: FakeMesh) -> None:
    """A proxy that the environment names is not used: it would see every token."""
    async with fake.client() as mesh:
        assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)


@pytest.mark.usefixtures("proxied")
async def test_a_proxy_that_was_asked_for(fake: FakeMesh) -> None:
    """With trust_env it is used."""
    async with fake.client(transport=AiohttpTransport(trust_env=True), retry=ONCE) as mesh:
        with pytest.raises(NotSent):
            await mesh.refresh(fake.login("coinbase").token)
    assert not fake.requests

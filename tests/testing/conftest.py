"""A FakeMesh on a clock that the test moves, and a raw HTTP client that talks to it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from mesh_refresh.testing import FakeMesh, ManualClock
from mesh_refresh.tokens import Tokens
from tests.testing.openapi import check_reply, keeps_contract

PATH = "/api/v1/token/refresh"


@frozen
class Got:
    """A reply, read whole."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def payload(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.body)
        return loaded

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = self.payload["content"]
        return content

    @property
    def pairs(self) -> list[dict[str, Any]]:
        pairs: list[dict[str, Any]] = self.content["brokerAccountTokens"]
        return pairs


class Caller:
    """Posts to a FakeMesh and checks both directions against the contract, unless `faulty`."""

    def __init__(self, fake: FakeMesh, session: aiohttp.ClientSession) -> None:
        self.fake, self.session = fake, session

    async def post(self, body: object, *, headers: dict[str, str] | None = None, faulty: bool = False) -> Got:
        keys = {"X-Client-Id": self.fake.client_id, "X-Client-Secret": self.fake.client_secret}
        posted = self.session.post(
            self.fake.base_url + PATH,
            data=body if isinstance(body, bytes) else json.dumps(body),
            headers={"Content-Type": "application/json", **keys, **(headers or {})},
            allow_redirects=False,
        )
        async with posted as reply:
            got = Got(reply.status, await reply.read(), dict(reply.headers))
        if not faulty and got.status in (200, 400):
            check_reply(got.status, got.payload)
        return got

    async def refresh(self, tokens: Tokens, *, faulty: bool = False, **more: object) -> Got:
        body = {"type": str(tokens.broker), "refreshToken": tokens.refresh_token, **more}
        assert keeps_contract(body) or str(tokens.broker) not in KNOWN
        return await self.post(body, faulty=faulty)


KNOWN = frozenset({"coinbase", "weBull", "vanguard", "sandbox", "tdAmeritrade", "interactiveBrokers"})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def fake(clock: ManualClock) -> AsyncIterator[FakeMesh]:
    async with FakeMesh(clock=clock) as fake:
        yield fake


@pytest.fixture
async def caller(fake: FakeMesh) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(fake, session)

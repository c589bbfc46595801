"""The client over a session that aioresponses answers for."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession
from yarl import URL

from mesh_refresh import (
    PRODUCTION_URL,
    AiohttpTransport,
    MeshClient,
    NotSent,
    OutcomeUnknown,
    Refreshed,
    RetryPolicy,
    SendOptions,
    Throttled,
    Tokens,
    TokensRefused,
)
from tests.aioresponses_shim import MockedHttp
from tests.replies.wire_replies import PAIR, envelope, success

URL_OF_REFRESH = f"{PRODUCTION_URL}/api/v1/token/refresh"
TOKENS = Tokens("coinbase", "fake-refresh", ref="user-7")
AT_ONCE = RetryPolicy(backoff=timedelta())
Make = Callable[..., MeshClient]


@pytest.fixture
async def http() -> AsyncIterator[MockedHttp]:
    mocked = MockedHttp()
    with mocked:
        yield mocked


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


@pytest.fixture
def make(session: ClientSession) -> Make:
    def client(**options: Any) -> MeshClient:
        options.setdefault("retry", AT_ONCE)
        return MeshClient("fake-client-id", "fake-client-secret", transport=AiohttpTransport(session), **options)

    return client


def calls(http: MockedHttp) -> list[dict[str, Any]]:
    return [call.kwargs for call in http.requests.get(("POST", URL(URL_OF_REFRESH)), [])]


async def test_happy_path(http: MockedHttp, make: Make) -> None:
    """A refresh gives the fresh tokens, tells the hook first, and sends what the contract has."""
    told: list[Any] = []
    http.post(URL_OF_REFRESH, payload=success(PAIR, expiresInSeconds=60))
    async with make(on_outcome=told.append) as mesh:
        outcome = await mesh.refresh(TOKENS)
    assert isinstance(outcome, Refreshed)
    assert (outcome.tokens.access_token, outcome.tokens.refresh_token) == tuple(PAIR.values())
    assert (outcome.before, outcome.tokens.ref) == (TOKENS, "user-7")
    assert told == [outcome]
    (call,) = calls(http)
    assert json.loads(call["data"]) == {"type": "coinbase", "refreshToken": "fake-refresh"}


async def test_what_is_sent(http: MockedHttp, make: Make) -> None:
    """The keys go as headers, no redirect is followed, and no time-out of aiohttp's is on."""
    http.post(URL_OF_REFRESH, payload=success(PAIR))
    async with make() as mesh:
        await mesh.refresh(TOKENS)
    (call,) = calls(http)
    headers = call["headers"]
    assert headers["X-Client-Id"] == "fake-client-id"
    assert headers["X-Client-Secret"] == "fake-client-secret"
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert call["allow_redirects"] is False
    assert call["timeout"].total is None


async def test_create_new_refresh_token(http: MockedHttp, make: Make) -> None:
    """The wish for a new refresh token goes into the body."""
    http.post(URL_OF_REFRESH, payload=success(PAIR))
    async with make() as mesh:
        await mesh.refresh(TOKENS, create_new_refresh_token=True)
    assert json.loads(calls(http)[0]["data"])["createNewRefreshToken"] is True


async def test_refused_tokens(http: MockedHttp, make: Make) -> None:
    """A 400 with the envelope is a refusal, and is asked once."""
    body = envelope(None, "badRequest", message="Unauthorized token", errorType="badRequest")
    http.post(URL_OF_REFRESH, status=400, payload=body)
    async with make() as mesh:
        with pytest.raises(TokensRefused, match="Unauthorized token"):
            await mesh.refresh(TOKENS)
    assert len(calls(http)) == 1


async def test_throttled_then_served(http: MockedHttp, make: Make) -> None:
    """A 429 is tried again, and what comes then is the outcome."""
    http.post(URL_OF_REFRESH, status=429, headers={"Retry-After": "0"})
    http.post(URL_OF_REFRESH, payload=success(PAIR))
    async with make() as mesh:
        assert isinstance(await mesh.refresh(TOKENS), Refreshed)
    assert len(calls(http)) == 2


async def test_one_attempt_only(http: MockedHttp, make: Make) -> None:
    """With one attempt, a 429 is the caller's to wait for."""
    http.post(URL_OF_REFRESH, status=429, headers={"Retry-After": "7"})
    async with make() as mesh:
        with pytest.raises(Throttled) as caught:
            await mesh.refresh(TOKENS, sending=SendOptions(max_requests=1))
    assert caught.value.retry_after == timedelta(seconds=7)


async def test_a_secret_for_each_request(http: MockedHttp, make: Make, session: ClientSession) -> None:
    """A secret callable is asked before each request."""
    secrets = iter(["fake-secret-1", "fake-secret-2"])
    http.post(URL_OF_REFRESH, status=429)
    http.post(URL_OF_REFRESH, payload=success(PAIR))
    transport = AiohttpTransport(session)
    async with MeshClient("fake-id", lambda: next(secrets), transport=transport, retry=AT_ONCE) as mesh:
        await mesh.refresh(TOKENS)
    assert [call["headers"]["X-Client-Secret"] for call in calls(http)] == ["fake-secret-1", "fake-secret-2"]


async def test_no_connection(http: MockedHttp, make: Make) -> None:
    """Where aiohttp could not connect nothing was sent; an error of a connection that was there leaves it open."""
    refused = aiohttp.ClientConnectorError(_key(), OSError("refused"))
    http.post(URL_OF_REFRESH, exception=refused)
    http.post(URL_OF_REFRESH, exception=aiohttp.ServerDisconnectedError())
    async with make(retry=RetryPolicy(max_requests=1)) as mesh:
        with pytest.raises(NotSent):
            await mesh.refresh(TOKENS)
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(TOKENS)


def _key() -> Any:
    from aiohttp.client_reqrep import ConnectionKey

    return ConnectionKey("integration-api.meshconnect.com", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None,
                         proxy_headers_hash=None)  # fmt: skip


async def test_a_session_of_the_callers_stays_open(http: MockedHttp, make: Make, session: ClientSession) -> None:
    """The client leaves a session of the caller's open."""
    http.post(URL_OF_REFRESH, payload=success(PAIR))
    async with make() as mesh:
        await mesh.refresh(TOKENS)
    assert not session.closed


async def test_before_send(http: MockedHttp, make: Make) -> None:
    """before_send is awaited first, and what it raises means that nothing was sent."""

    async def hold() -> None:
        raise RuntimeError("the lease is gone")

    async with make(retry=RetryPolicy(max_requests=1)) as mesh:
        with pytest.raises(NotSent, match="RuntimeError"):
            await mesh.refresh(TOKENS, sending=SendOptions(before_send=hold))
    assert not calls(http)


async def test_attempts_of_the_callers_own_wait_like_any(http: MockedHttp, make: Make) -> None:
    """More attempts than the policy's are made, each after a pause of the policy's."""
    for _ in range(4):
        http.post(URL_OF_REFRESH, status=429)
    http.post(URL_OF_REFRESH, payload=success(PAIR))
    async with make() as mesh:
        assert isinstance(await mesh.refresh(TOKENS, sending=SendOptions(max_requests=5)), Refreshed)
    assert len(calls(http)) == 5

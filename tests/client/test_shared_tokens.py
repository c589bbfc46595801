"""Two accounts that share a refresh token, and a reply without ids to the request of one of them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import (
    DefaultStrategy,
    HttpReply,
    HttpRequest,
    MeshClient,
    MfaRequired,
    Outcome,
    Refreshed,
    RetryPolicy,
    SendOptions,
    Tokens,
)
from mesh_refresh.testing import ManualClock

BROKER = "vanguard"
WITH_ACCESS = DefaultStrategy(send_access_token=True)
WITHOUT = DefaultStrategy()


class OneByOne:
    """Renews the account whose access token it is sent, or whose turn it is, and names none."""

    def __init__(self, *, rotates: bool = True, status: str = "succeeded") -> None:
        self.rotates, self.status = rotates, status
        self.sent: list[tuple[str, str | None]] = []
        self.refresh = "r-0"
        self.reuses = 0
        self.go = asyncio.Event()
        self.go.set()
        self.arrived = asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpReply:
        await request.before_send()
        body = json.loads(request.body)
        self.sent.append((body["refreshToken"], body.get("accessToken")))
        self.reuses += body["refreshToken"] != self.refresh
        self.arrived.set()
        number = len(self.sent)
        if self.rotates:
            self.refresh = f"r-{number}"
        await self.go.wait()
        entry: dict[str, Any] = {"accessToken": f"access-{number}-of-{body.get('accessToken')}"}
        if self.rotates:
            entry["refreshToken"] = self.refresh
        content = {"status": self.status, "brokerAccountTokens": [entry]}
        return HttpReply(200, {}, json.dumps({"status": "ok", "content": content}).encode())

    async def aclose(self) -> None:
        pass


def both(**ids: Any) -> tuple[Tokens, Tokens]:
    one = Tokens(BROKER, "r-0", access_token="a", ref="one")
    two = Tokens(BROKER, "r-0", access_token="b", ref="two")
    return (evolve(one, account_id="A"), evolve(two, account_id="B")) if ids.get("named") else (one, two)


def client(broker: OneByOne, strategy: DefaultStrategy, **options: Any) -> MeshClient:
    retry = RetryPolicy(max_requests=1)
    return MeshClient("fake-id", "fake-secret", transport=broker, strategies={BROKER: strategy}, retry=retry, **options)


Callers = Callable[[MeshClient, OneByOne, Tokens, Tokens], Any]


async def at_once(mesh: MeshClient, broker: OneByOne, one: Tokens, two: Tokens) -> Any:
    return await asyncio.gather(mesh.refresh(one), mesh.refresh(two))


async def afterwards(mesh: MeshClient, broker: OneByOne, one: Tokens, two: Tokens) -> Any:
    return await mesh.refresh(one), await mesh.refresh(two)


async def unequal(mesh: MeshClient, broker: OneByOne, one: Tokens, two: Tokens) -> Any:
    return await asyncio.gather(mesh.refresh(one), mesh.refresh(two, create_new_refresh_token=True))


@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize(("strategy", "named"), [(WITH_ACCESS, False), (WITH_ACCESS, True), (WITHOUT, True)])
@pytest.mark.parametrize("callers", [at_once, afterwards, unequal])
async def test_each_gets_an_access_token_of_its_own(
    callers: Callers, strategy: DefaultStrategy, named: bool, rotates: bool
) -> None:
    """The second takes the shared refresh token, and one more exchange is made for its access token."""
    broker, told = OneByOne(rotates=rotates), dict[Any, Tokens]()
    one, two = both(named=named)
    stored = {"one": one, "two": two}

    async def save(outcome: Outcome) -> None:
        ref = outcome.before.ref
        stored[str(ref)] = outcome.onto(stored[str(ref)])
        for name, tokens in stored.items():  # the rows that share the token which is spent
            if tokens.refresh_token == outcome.before.refresh_token:
                stored[name] = evolve(tokens, refresh_token=outcome.all_tokens[0].refresh_token)
        told[ref] = stored[str(ref)]

    async with client(broker, strategy, on_outcome=save) as mesh:
        first, second = await callers(mesh, broker, one, two)
    assert len(broker.sent) == 2
    assert broker.reuses == 0
    assert first.tokens.access_token.startswith("access-1-")
    assert second.tokens.access_token.startswith("access-2-")
    if strategy is WITH_ACCESS:
        assert second.tokens.access_token == "access-2-of-b"
    assert (first.tokens.ref, second.tokens.ref) == ("one", "two")
    assert second.tokens.refresh_token == broker.refresh
    assert second.onto(two).refresh_token == broker.refresh
    assert stored["two"].access_token == second.tokens.access_token
    assert stored["two"].refresh_token == broker.refresh


async def test_accounts_that_nothing_tells_apart_share() -> None:
    """Without ids and without an access token in the request, there is one exchange, as for one account."""
    broker = OneByOne()
    one, two = both()
    async with client(broker, WITHOUT) as mesh:
        first, second = await asyncio.gather(mesh.refresh(one), mesh.refresh(two))
    assert len(broker.sent) == 1
    assert first.tokens.access_token == second.tokens.access_token


async def test_one_account_in_two_dresses_shares() -> None:
    """The same id is the same account, whatever access token its caller still has."""
    broker = OneByOne()
    one, _ = both(named=True)
    async with client(broker, WITH_ACCESS) as mesh:
        first = await mesh.refresh(one)
        again = await mesh.refresh(evolve(one, access_token="older"))
    assert len(broker.sent) == 1
    assert again.tokens.access_token == first.tokens.access_token


async def test_an_outcome_that_reached_nobody_serves_another_account_once() -> None:
    """A kept answer of another account's, which rotated nothing, is not asked of for ever."""
    broker = OneByOne(rotates=False)
    one, two = both(named=True)
    broker.go.clear()
    mesh = client(broker, WITHOUT, clock=ManualClock())
    caller = asyncio.create_task(mesh.refresh(one))
    await broker.arrived.wait()
    caller.cancel()
    await asyncio.wait((caller,))
    broker.go.set()
    second = await mesh.refresh(two)
    assert second.tokens.access_token == "access-2-of-None"
    own = await mesh.refresh(one)
    assert own.tokens.access_token is not None
    await mesh.aclose()


async def test_a_question_of_another_accounts_exchange() -> None:
    """It is shared, as there is one code; the access token in it does not become the other account's."""
    broker = OneByOne(status="mfaRequired")
    one, two = both(named=True)
    async with client(broker, WITHOUT) as mesh:
        first, second = await asyncio.gather(mesh.refresh(one), mesh.refresh(two))
    assert isinstance(first, MfaRequired)
    assert isinstance(second, MfaRequired)
    assert len(broker.sent) == 1
    assert second.access_token == first.access_token
    assert (second.tokens.access_token, second.tokens.refresh_token) == ("b", "r-1")


async def test_a_caller_without_the_hook(caplog: pytest.LogCaptureFixture) -> None:
    """For code that stores by itself it is the same."""
    broker = OneByOne()
    one, two = both(named=True)
    async with client(broker, WITHOUT) as mesh:
        sending = SendOptions(call_on_outcome=False)
        outcomes = await asyncio.gather(mesh.refresh(one, sending=sending), mesh.refresh(two, sending=sending))
    assert [type(it) for it in outcomes] == [Refreshed, Refreshed]
    assert outcomes[0].tokens.access_token != outcomes[1].tokens.access_token

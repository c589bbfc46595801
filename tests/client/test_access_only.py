"""What an exchange spends is what a strategy says: by it callers share, wait, and are answered from memory."""

import asyncio
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import DefaultStrategy, InvalidRequest, MeshClient, Refreshed, Tokens, TokensRefused
from mesh_refresh.testing import FakeMesh, ManualClock
from tests.access_broker import BROKER, AccessBroker, SpendsAccessTokens


def client(broker: AccessBroker, strategy: Any = None, **options: Any) -> MeshClient:
    strategies = {BROKER: strategy or SpendsAccessTokens()}
    return MeshClient("fake-id", "fake-secret", transport=broker, strategies=strategies, **options)


async def test_people_with_one_placeholder_share_nothing() -> None:
    """Tokens of different people never wait for one another, though the same word goes out as refresh token."""
    broker = AccessBroker()
    anna, ben = broker.login("anna"), broker.login("ben")
    async with client(broker) as mesh:
        one, two = await asyncio.gather(mesh.refresh(anna), mesh.refresh(ben))
    assert [broker.live[it.tokens.access_token or ""] for it in (one, two)] == ["anna", "ben"]
    assert set(broker.sent) == {anna.access_token, ben.access_token}


async def test_equal_callers_share_and_late_ones_are_answered_from_memory() -> None:
    """A spent access token is never sent again for half a minute: its caller gets the newest of the chain."""
    broker, clock = AccessBroker(), ManualClock()
    first = broker.login("anna")
    async with client(broker, clock=clock) as mesh:
        outcomes = await asyncio.gather(*(mesh.refresh(first) for _ in range(5)))
        second = (await mesh.refresh(outcomes[0].tokens)).tokens
        assert (await mesh.refresh(first)).tokens == second
        unequal = await asyncio.gather(mesh.refresh(second), mesh.refresh(second, create_new_refresh_token=True))
        assert unequal[1].tokens.access_token in broker.live
        clock.advance(31)
        with pytest.raises(TokensRefused):
            await mesh.refresh(first)
    assert broker.reuses == [first.access_token]
    assert len(broker.sent) == 5


async def test_a_kept_outcome_is_of_the_credential() -> None:
    """What reached nobody goes to whoever brings the spent access token, and ends with the exchange after it."""
    broker, reached, go = AccessBroker(), asyncio.Event(), asyncio.Event()
    first = broker.login("anna")
    real = broker.send

    async def slow(request: Any) -> Any:
        reply = await real(request)
        reached.set()
        await go.wait()
        return reply

    broker.send = slow  # type: ignore[method-assign]
    mesh = client(broker)
    caller = asyncio.create_task(mesh.refresh(first))
    await reached.wait()
    caller.cancel()
    await asyncio.wait((caller,))
    go.set()
    assert isinstance(await mesh.refresh(first), Refreshed)
    await mesh.aclose()
    assert broker.reuses == []
    assert len(broker.sent) == 1


class Nothing(SpendsAccessTokens):
    """Says that there is nothing to spend."""

    def credential(self, tokens: Tokens) -> str | None:
        return None


async def test_nothing_to_spend_is_refused_before_anything_is_sent() -> None:
    """`credential` gives None: the tokens cannot be refreshed, whatever `build` would make of them."""
    broker = AccessBroker()
    async with client(broker, Nothing()) as mesh:
        with pytest.raises(InvalidRequest, match="nothing to refresh"):
            await mesh.refresh(broker.login("anna"))
        assert mesh.credential(broker.login("anna")) is None
    assert broker.sent == []


class Wrong(DefaultStrategy):
    """Its `credential` is broken, in one way or another."""

    def __init__(self, what: object) -> None:
        super().__init__()
        self.what = what

    def credential(self, tokens: Tokens) -> Any:
        if isinstance(self.what, Exception):
            raise type(self.what)(*self.what.args)  # one that is raised again and again keeps all its frames
        return self.what


class WithoutOne:
    """Derives from nothing, and was written before there was a `credential`."""

    def __init__(self) -> None:
        own = DefaultStrategy()
        self.build, self.build_mfa, self.interpret = own.build, own.build_mfa, own.interpret
        self.may_resend = own.may_resend


@pytest.mark.parametrize("strategy", [Wrong(KeyError("x")), Wrong(7), Wrong(b"r"), WithoutOne()])
async def test_a_broken_credential_costs_nothing(fake: FakeMesh, strategy: Any) -> None:
    """The refresh token is what counts then."""
    login = fake.login("coinbase")
    async with fake.client(strategies={"coinbase": strategy}) as mesh:
        assert mesh.credential(login.token) == login.token.refresh_token
        outcomes = await asyncio.gather(*(mesh.refresh(login.token) for _ in range(3)))
        again = await mesh.refresh(login.token)
    tokens = {it.tokens.refresh_token for it in (again, *outcomes)}
    assert tokens == {login.live[0].refresh_token}
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_a_blank_credential_is_none(fake: FakeMesh) -> None:
    """As everywhere: what has no character that is seen is no token."""
    async with fake.client(strategies={"coinbase": Wrong(" ")}) as mesh:
        with pytest.raises(InvalidRequest):
            await mesh.refresh(fake.login("coinbase").token)
    assert fake.requests == []


async def test_a_credential_of_ones_own_making(fake: FakeMesh) -> None:
    """It need not be a field of the tokens: here the form in which it is kept is not the form in which it is sent."""

    class Trimmed(DefaultStrategy):
        def credential(self, tokens: Tokens) -> str | None:
            return tokens.refresh_token and tokens.refresh_token.strip()

    login = fake.login("coinbase")
    padded = evolve(login.token, metadata={"a": "b"})
    async with fake.client(strategies={"coinbase": Trimmed()}) as mesh:
        one, two = await asyncio.gather(mesh.refresh(login.token), mesh.refresh(padded))
    assert one.tokens.refresh_token != two.tokens.refresh_token
    assert fake.reuses == []
    assert fake.lost() == []

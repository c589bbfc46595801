"""Transports of the user's."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import (
    DefaultStrategy,
    HttpReply,
    HttpRequest,
    MeshClient,
    MeshRefreshError,
    NotSent,
    OutcomeUnknown,
    Refreshed,
    RetryPolicy,
    SendOptions,
    Throttled,
    Tokens,
    UnreadableReply,
)
from mesh_refresh.testing import FakeMesh, Fault
from tests.transport.transports import PlainTransport

AT_ONCE = RetryPolicy(deadline=timedelta(hours=1), backoff=timedelta(), resend_after=timedelta())


class Raising:
    """Calls before_send, and raises."""

    def __init__(self, error: BaseException, *, sends: bool = True) -> None:
        self.error, self.sends = error, sends
        self.sent = 0

    async def send(self, request: HttpRequest) -> HttpReply:
        self.sent += 1
        if self.sends:
            await request.before_send()
        raise self.error

    async def aclose(self) -> None:
        pass


async def test_works(fake: FakeMesh) -> None:
    """A plain transport with asyncio.timeout inside works, and is closed once by the client."""
    transport = PlainTransport()
    async with fake.client(transport=transport) as mesh:
        assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)
    assert transport.closed == 1
    assert fake.lost() == []


async def test_its_time_out_works(fake: FakeMesh) -> None:
    """asyncio.timeout inside a transport goes off: the outcome is unknown, and nothing is sent again."""
    gate = fake.hold()
    async with fake.client(transport=PlainTransport(0.02), retry=AT_ONCE) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)
    assert len(fake.requests) == 1
    gate.release()


async def test_wait_for_works(fake: FakeMesh) -> None:
    """So does asyncio.wait_for."""

    class Waiting(PlainTransport):
        async def send(self, request: HttpRequest) -> HttpReply:
            await request.before_send()
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
            raise AssertionError

    async with fake.client(transport=Waiting()) as mesh:
        with pytest.raises(OutcomeUnknown, match="TimeoutError"):
            await mesh.refresh(fake.login("coinbase").token)


@pytest.mark.parametrize(
    "error",
    [ValueError("odd"), TimeoutError(), OSError(5, "odd"), KeyError("odd"), StopAsyncIteration(), StopIteration(),
     asyncio.InvalidStateError(), ExceptionGroup("odd", [ValueError()]), asyncio.CancelledError(), EOFError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("sends", [True, False])
async def test_odd_errors(fake: FakeMesh, error: BaseException, sends: bool) -> None:
    """Whatever a transport raises, but NotSent, is an unknown outcome, and nothing is sent again."""
    transport = Raising(error, sends=sends)
    async with fake.client(transport=transport, retry=AT_ONCE) as mesh:
        with pytest.raises(OutcomeUnknown) as caught:
            await mesh.refresh(fake.login("coinbase").token)
    assert type(caught.value) is OutcomeUnknown
    assert transport.sent == 1


async def test_not_sent(fake: FakeMesh) -> None:
    """A transport's NotSent is believed, and sent again."""
    transport = Raising(NotSent())
    async with fake.client(transport=transport, retry=AT_ONCE) as mesh:
        with pytest.raises(NotSent):
            await mesh.refresh(fake.login("coinbase").token)
    assert transport.sent == 3


async def test_before_send_goes_through(fake: FakeMesh) -> None:
    """A before_send that raises ends it as NotSent in a transport of the user's, too."""

    async def check() -> None:
        raise RuntimeError

    async with fake.client(transport=PlainTransport()) as mesh:
        with pytest.raises(NotSent):
            await mesh.refresh(fake.login("coinbase").token, sending=SendOptions(max_requests=1, before_send=check))
    assert fake.requests == []


async def test_deadline_ends_it(fake: FakeMesh) -> None:
    """The client's deadline ends a transport that never comes back."""
    gate = fake.hold()
    async with fake.client(transport=PlainTransport(), retry=RetryPolicy(deadline=timedelta(milliseconds=50))) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)
    gate.release()


@pytest.mark.parametrize("reply", [None, 7, b"", "text", (200, {}, b"")], ids=repr)
async def test_odd_replies(fake: FakeMesh, reply: Any) -> None:
    """A transport that brings no HttpReply gives an unknown outcome, and the client goes on."""

    class Odd(Raising):
        async def send(self, request: HttpRequest) -> Any:
            await request.before_send()
            return reply

    async with fake.client(transport=Odd(ValueError()), retry=AT_ONCE) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)


@pytest.mark.parametrize("headers", [{"retry-after": "0"}, {"RETRY-AFTER": "0"}])
async def test_headers_in_any_case(headers: dict[str, str]) -> None:
    """Header names may be in any case."""

    class Throttling(Raising):
        async def send(self, request: HttpRequest) -> HttpReply:
            self.sent += 1
            await request.before_send()
            return HttpReply(429, headers, b"")

    transport = Throttling(ValueError())
    async with MeshClient("id", "secret", transport=transport, retry=AT_ONCE) as mesh:
        with pytest.raises(Throttled) as caught:
            await mesh.refresh(Tokens("coinbase", "r-1"))
    assert caught.value.retry_after == timedelta()
    assert transport.sent == 3


@pytest.mark.parametrize("name", ["half a body", "half a body with the pair"])
async def test_cut_short(fake: FakeMesh, name: str) -> None:
    """A transport that drops a body cut short costs the bytes, but never a second request."""
    fake.fail(Fault.all()[name])
    async with fake.client(transport=PlainTransport(), retry=AT_ONCE) as mesh:
        with pytest.raises(OutcomeUnknown) as caught:
            await mesh.refresh(fake.login("coinbase").token)
    # The plain one reads to the end of the connection, and so cannot tell: the broken JSON tells.
    assert isinstance(caught.value, UnreadableReply)
    assert len(fake.requests) == 1


class Odd(DefaultStrategy):
    """A strategy with a bug in one place."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def interpret(self, request: Any, tokens: Any, reply: Any, at: Any) -> Any:
        if self.place == "interpret":
            raise ZeroDivisionError
        if self.place == "interpret gives None":
            return None
        return super().interpret(request, tokens, reply, at)

    def may_resend(self, request: Any) -> bool:
        if self.place == "may_resend":
            raise ZeroDivisionError
        return super().may_resend(request)


@pytest.mark.parametrize("place", ["interpret", "interpret gives None", "may_resend"])
async def test_odd_strategies(fake: FakeMesh, place: str) -> None:
    """A bug in a strategy of the user's ends as an error, costs no token, and holds up nobody."""
    login = fake.login("coinbase")
    if place == "may_resend":
        fake.fail(Fault.cut())
    async with fake.client(strategies={"coinbase": Odd(place)}, retry=AT_ONCE) as mesh:
        with pytest.raises(MeshRefreshError):
            await mesh.refresh(login.token)
    assert len(fake.requests) == 1
    assert fake.lost() == []

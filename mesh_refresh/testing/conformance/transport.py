"""What every transport must do, as tests: derive from `TransportConformance`, and pytest runs them on yours."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar

from mesh_refresh.client import MeshClient, SendOptions
from mesh_refresh.errors import MeshRefreshError, NotSent, OutcomeUnknown, RedirectRefused
from mesh_refresh.messages import HttpRequest
from mesh_refresh.protocols import Transport
from mesh_refresh.replies.outcomes import Refreshed, UnreadableReply
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.testing.fake.mesh import FakeMesh
from mesh_refresh.testing.faults.edge import Edge, EdgeFault, Reach
from mesh_refresh.testing.faults.fault import Fault

_AT_ONCE = 32
_LOGINS = 2
_TURNS = 10
_SHORT = timedelta(seconds=1)


class Shortfall(Enum):
    """What a transport does not do with a reply behind an edge fault."""

    UNREAD = "the tokens came whole in one envelope, and no outcome has them: at best their bytes are kept"
    LOST = "tokens came, and neither an outcome nor a body has them"
    MISPLACED = "one login got the tokens of another"


class TransportConformance:
    """Derive a test class from this, say how your transport is made, and pytest checks it::

        class TestMyTransport(TransportConformance):
            def make_transport(self):
                return MyTransport()

    The tests are coroutines: they need pytest-asyncio. One of them meets every `EdgeFault`. What your transport cannot
    do there, `shortfalls` says, by the fault's name; where it says too much, the test fails too.
    """

    shortfalls: ClassVar[Mapping[str, frozenset[Shortfall]]] = {}
    """What is expected of your transport beside nothing at all, by the name of the edge fault."""
    deadline: ClassVar[timedelta] = timedelta(seconds=30)
    """How long one refresh may take. A transport that does not see the end of a damaged reply takes all of it."""

    def make_transport(self) -> Transport:
        """A new transport, each time, on the running loop."""
        raise NotImplementedError("Give your test class a make_transport that returns your transport.")

    def client_of(self, fake: FakeMesh, **options: Any) -> MeshClient:
        """A client on the transport, whose outcomes `fake` counts as saved."""
        options.setdefault("retry", RetryPolicy(max_requests=1, deadline=self.deadline))
        return fake.client(transport=self.make_transport(), **options)

    # The protocol.

    async def test_a_refresh_is_one_post(self) -> None:
        """The request goes out once, with its headers and its body to the byte, and the reply comes back."""
        async with FakeMesh() as fake:
            login = fake.login("coinbase")
            async with self.client_of(fake) as mesh:
                outcome = await mesh.refresh(login.token)
            assert isinstance(outcome, Refreshed)
            assert len(fake.requests) == 1
            assert fake.requests[0].body["refreshToken"] == login.token.refresh_token
            assert fake.lost() == []

    async def test_before_send_is_asked_once_and_before_the_bytes(self) -> None:
        """`before_send` is awaited once, and nothing has arrived when it is."""
        async with FakeMesh() as fake:
            seen: list[int] = []
            options = SendOptions(before_send=lambda: seen.append(len(fake.requests)))
            async with self.client_of(fake) as mesh:
                for _ in range(3):
                    await mesh.refresh(fake.login("coinbase").token, sending=options)
            assert seen == [0, 1, 2]

    async def test_what_before_send_raises_goes_through(self) -> None:
        """Where `before_send` raises, nothing is sent, and the next request is none the worse."""

        def refuse() -> None:
            raise ValueError

        async with FakeMesh() as fake:
            login = fake.login("coinbase")
            async with self.client_of(fake) as mesh:
                error = await _error_of(mesh, login.token, SendOptions(before_send=refuse))
                assert isinstance(error, NotSent), f"NotSent was to be raised, not {error!r}"
                assert fake.requests == []
                await mesh.refresh(login.token)

    async def test_nobody_listens(self) -> None:
        """Where there is no connection, nothing is sent: `NotSent`."""
        async with FakeMesh() as fake:
            login = fake.login("coinbase")
            await fake.stop()
            async with self.client_of(fake) as mesh:
                error = await _error_of(mesh, login.token)
            assert isinstance(error, NotSent), f"NotSent was to be raised, not {error!r}"

    async def test_no_redirect_is_followed(self) -> None:
        """A redirect is brought back as it is; the secrets in the request go nowhere."""
        async with FakeMesh() as fake, FakeMesh() as thief:
            for code in (301, 302, 303, 307, 308):
                fake.fail(Fault.redirect(f"{thief.base_url}/api/v1/token/refresh", code))
                async with self.client_of(fake) as mesh:
                    error = await _error_of(mesh, fake.login("coinbase").token)
                assert isinstance(error, RedirectRefused), f"HTTP {code}: {error!r}"
            assert thief.requests == []

    async def test_a_request_goes_out_once(self) -> None:
        """A connection that is cut with nothing read is an unknown outcome; the transport does not send again."""
        for after_rotation in (False, True):
            async with FakeMesh() as fake:
                fake.fail(Fault.cut(after_rotation=after_rotation), times=None)
                async with self.client_of(fake) as mesh:
                    error = await _error_of(mesh, fake.login("coinbase").token)
                assert isinstance(error, OutcomeUnknown), f"OutcomeUnknown was to be raised, not {error!r}"
                assert len(fake.requests) == 1

    async def test_a_body_that_breaks_off_is_kept(self) -> None:
        """Of a body that is cut short, what came is brought back."""
        async with FakeMesh() as fake:
            fake.fail(Fault.half_body(keep_pair=True))
            async with self.client_of(fake) as mesh:
                error = await _error_of(mesh, fake.login("coinbase").token)
            assert isinstance(error, UnreadableReply), f"UnreadableReply was to be raised, not {error!r}"
            assert fake.lost() == []

    async def test_closing_twice_does_no_harm(self) -> None:
        """`aclose` may come before the first request, and again."""
        transport = self.make_transport()
        await transport.aclose()
        await transport.aclose()

    async def test_a_deadline_ends_it(self) -> None:
        """A request that is cancelled ends at once, with what came of the reply, or with its `CancelledError`."""
        async with FakeMesh() as fake:
            gate, transport = fake.hold(), self.make_transport()
            sending = asyncio.ensure_future(transport.send(self._request(fake)))
            try:
                await gate.entered.wait()
                sending.cancel()
                await asyncio.wait((sending,))
                assert sending.cancelled()
            finally:
                gate.release()
                await transport.aclose()

    # Damaged replies.

    async def test_every_edge_fault(self) -> None:
        """Behind every edge fault, tokens that reach the client are held by whom they belong to.

        Where they come whole in an envelope, the outcome is a success; else their bytes are with the hook. Left out is
        what no client can do (`Reach.GAP`, `Reach.CLOSED`).
        """
        faults, limit = EdgeFault.all(), asyncio.Semaphore(_AT_ONCE)

        async def tried(fault: EdgeFault) -> frozenset[Shortfall]:
            async with limit:
                return await self.behind(fault)

        found = dict(zip(faults, await asyncio.gather(*map(tried, faults.values())), strict=True))
        short = {name: missing for name, missing in found.items() if missing}
        expected = dict(self.shortfalls)
        unexpected = {name: _names(it) for name, it in short.items() if expected.get(name) != it}
        assert not unexpected, f"shortfalls that were not expected: {unexpected}"
        better = {name: _names(expected[name]) for name in expected if short.get(name) != expected[name]}
        assert not better, f"shortfalls that were expected and are none: {better}"

    async def behind(self, fault: EdgeFault) -> frozenset[Shortfall]:
        """What the transport does not do behind `fault`, with some logins after one another on its connections."""
        deadline = _SHORT if fault.reach in (Reach.GONE, Reach.UNTOUCHED) else self.deadline
        outcomes: dict[str, object] = {}
        async with FakeMesh() as fake, Edge(fake, fault) as edge:
            retry = RetryPolicy(max_requests=1, deadline=deadline)
            mesh = self.client_of(fake, base_url=edge.base_url, retry=retry)
            for _ in range(_LOGINS):
                login = fake.login("coinbase")
                try:
                    outcomes[login.id] = await mesh.refresh(login.token)
                except MeshRefreshError as error:
                    outcomes[login.id] = error
                await edge.idle()
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
            await mesh.aclose()
            return frozenset(_shortfalls(fake, edge, outcomes))

    def _request(self, fake: FakeMesh) -> HttpRequest:
        async def before_send() -> None:
            pass

        headers = {
            "X-Client-Id": fake.client_id,
            "X-Client-Secret": fake.client_secret,
            "Content-Type": "application/json",
        }
        return HttpRequest(f"{fake.base_url}/api/v1/token/refresh", headers, b"{}", before_send)


def _shortfalls(fake: FakeMesh, edge: Edge, outcomes: Mapping[str, object]) -> set[Shortfall]:
    reaches = {relay.reach for relay in edge.relays}
    found: set[Shortfall] = set()
    if not reaches & {Reach.GAP, Reach.CLOSED}:
        if fake.lost(ignoring_undelivered=True):
            found.add(Shortfall.LOST)
        if fake.misplaced():
            found.add(Shortfall.MISPLACED)
    whole = [relay.login for relay in edge.relays if relay.reach is Reach.WHOLE]
    if any(not isinstance(outcomes.get(login or ""), Refreshed) for login in whole):
        found.add(Shortfall.UNREAD)
    return found


def _names(shortfalls: frozenset[Shortfall]) -> list[str]:
    return sorted(shortfall.name for shortfall in shortfalls)


async def _error_of(mesh: MeshClient, tokens: Any, sending: SendOptions | None = None) -> BaseException | None:
    try:
        await mesh.refresh(tokens, sending=sending or SendOptions())
    except Exception as error:  # noqa: BLE001 - which one it is, the test says
        return error
    return None

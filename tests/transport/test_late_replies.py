"""What comes late, behind the deadline or behind the reply, belongs to the exchange that the connection served last."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import (
    AiohttpTransport,
    MeshClient,
    NotSaved,
    Outcome,
    OutcomeUnknown,
    Refreshed,
    RetryPolicy,
    SendOptions,
    Unavailable,
    UnreadableReply,
)
from mesh_refresh.testing import Edge, EdgeFault, FakeMesh, Fault, Gate, Moment
from mesh_refresh.transport import wire

ONCE = RetryPolicy(max_requests=1)
EARLY = EdgeFault.early(200, when=Moment.IDLE)
"""The edge answers ``{}`` at once; what Mesh answers comes while the connection is idle."""


async def refreshed_early(mesh: MeshClient, edge: Edge, tokens: Any, **options: Any) -> None:
    """A refresh whose tokens come late, until they have come."""
    with pytest.raises(UnreadableReply) as caught:
        await mesh.refresh(tokens, **options)
    assert not caught.value.may_hold_token
    await edge.idle()


async def test_it_goes_to_the_hook(fake: FakeMesh, caplog: pytest.LogCaptureFixture) -> None:
    """The real reply, which comes after an early one, goes to `on_outcome` as bytes, with what was sent."""
    told: list[Any] = []
    login = fake.login("coinbase", ref="user-7")
    async with (
        Edge(fake, EARLY) as edge,
        fake.client(base_url=edge.base_url, retry=ONCE, on_outcome=told.append) as mesh,
    ):
        await refreshed_early(mesh, edge, login.token)
    (late,) = told
    assert isinstance(late, UnreadableReply)
    assert late.may_hold_token
    assert late.before == login.token
    assert fake.lost() == []
    assert any(record.levelno == logging.ERROR and "behind its reply" in record.message for record in caplog.records)


async def test_each_ref_is_told(fake: FakeMesh) -> None:
    """Callers with refs of their own who shared the request are told each."""
    told: list[Any] = []
    first = fake.login("coinbase", ref="first").token
    second = type(first).from_json(first.to_json().replace('"first"', '"second"'))
    async with (
        Edge(fake, EARLY) as edge,
        fake.client(base_url=edge.base_url, retry=ONCE, on_outcome=told.append) as mesh,
    ):
        results = await asyncio.gather(mesh.refresh(first), mesh.refresh(second), return_exceptions=True)
        assert all(isinstance(result, UnreadableReply) for result in results)
        await edge.idle()
    assert {late.before.ref for late in told} == {"first", "second"}
    assert len(fake.requests) == 1


async def test_what_is_known_is_told_nobody(fake: FakeMesh) -> None:
    """A second copy of a reply, and what holds no token, tell the hook nothing; the connection is not used again."""
    strays = (
        EdgeFault.repeat(when=Moment.IDLE),
        EdgeFault.stray(b"HTTP/1.1 408 Late\r\n\r\n", "408", when=Moment.IDLE),
    )
    for stray in strays:
        told: list[Any] = []
        async with Edge(fake, stray) as edge:
            async with fake.client(base_url=edge.base_url, retry=ONCE, on_outcome=told.append) as mesh:
                for _ in range(2):
                    await mesh.refresh(fake.login("coinbase").token)
                    await edge.idle()
            assert edge.connections == 2
        assert [type(outcome) for outcome in told] == [Refreshed, Refreshed]
    assert fake.misplaced() == []


async def test_a_hook_that_fails(fake: FakeMesh) -> None:
    """What the hook does not take is kept, and raised when the client is closed; so is what has no hook."""

    def refuse(outcome: object) -> None:
        if isinstance(outcome, UnreadableReply):
            raise OSError

    login = fake.login("coinbase")
    options: list[dict[str, Any]] = [{"on_outcome": refuse}, {}]
    for option in options:
        async with Edge(fake, EARLY) as edge:
            keys = {"base_url": edge.base_url, "retry": ONCE, **option}
            mesh = MeshClient(fake.client_id, fake.client_secret, **keys)
            await refreshed_early(mesh, edge, login.token)
            with pytest.raises(NotSaved) as caught:
                await mesh.aclose()
        assert isinstance(caught.value.outcome, UnreadableReply)
        await fake.saved(caught.value.outcome)
        assert fake.lost() == []
        login = fake.login("coinbase")


async def test_a_late_caller_gets_what_the_reply_brought(fake: FakeMesh) -> None:
    """Whoever brings the spent token gets its successor, though what came behind the reply is still with nobody."""

    told = asyncio.Event()

    def refuse(outcome: object) -> None:
        if isinstance(outcome, UnreadableReply):
            told.set()
            raise OSError

    login = fake.login("coinbase")
    async with Edge(fake, EdgeFault.repeat(foreign=True, when=Moment.IDLE), times=1) as edge:
        mesh = fake.client(base_url=edge.base_url, retry=ONCE, on_outcome=refuse)
        first = await mesh.refresh(login.token)
        await told.wait()
        for _ in range(10):
            await asyncio.sleep(0)  # until that it failed is noted
        again = await mesh.refresh(login.token)
        with pytest.raises(NotSaved) as caught:
            await mesh.aclose()
    assert isinstance(caught.value.outcome, UnreadableReply)
    assert isinstance(again, Refreshed)
    assert again.tokens == first.tokens
    assert len(fake.requests) == 1


async def test_code_that_keeps_tokens_itself(fake: FakeMesh) -> None:
    """`SendOptions.on_late` is told in the hook's place, and awaited before the client is closed."""
    told: list[Outcome] = []

    async def keep(late: Outcome) -> None:
        await asyncio.sleep(0)
        told.append(late)

    hooked: list[object] = []
    async with Edge(fake, EARLY) as edge:
        async with fake.client(base_url=edge.base_url, retry=ONCE, on_outcome=hooked.append) as mesh:
            sending = SendOptions(call_on_outcome=False, on_late=keep)
            await refreshed_early(mesh, edge, fake.login("coinbase").token, sending=sending)
        (late,) = told
    await fake.saved(late)
    assert hooked == []
    assert fake.lost() == []


async def test_between_two_attempts(fake: FakeMesh) -> None:
    """What came behind the reply to a first attempt is told, whatever comes of the second."""
    told: list[Any] = []
    fault = EdgeFault.early(503, when=Moment.AT_ONCE)
    async with (
        Edge(fake, fault, times=1) as edge,
        fake.client(base_url=edge.base_url, retry=ONCE, on_outcome=told.append) as mesh,
    ):
        with pytest.raises(UnreadableReply):
            await mesh.refresh(fake.login("coinbase").token)
    assert [type(outcome) for outcome in told] == [UnreadableReply]
    assert fake.lost() == []


async def test_while_the_client_is_closed(fake: FakeMesh) -> None:
    """What has arrived when the client is closed is told before `aclose` returns."""
    told: list[Any] = []
    gate = Gate()
    async with Edge(fake, EdgeFault.early(200, when=gate)) as edge:
        mesh = fake.client(base_url=edge.base_url, retry=ONCE, on_outcome=told.append)
        with pytest.raises(UnreadableReply):
            await mesh.refresh(fake.login("coinbase").token)
        gate.release()
        await edge.idle()
        await mesh.aclose()
    assert [type(outcome) for outcome in told] == [UnreadableReply]
    assert fake.lost() == []


SOON = RetryPolicy(max_requests=1, deadline=timedelta(milliseconds=60))


async def test_a_reply_after_the_deadline(fake: FakeMesh) -> None:
    """A reply that comes after the deadline is read all the same, and the hook is told; nothing is sent again."""
    told: list[Any] = []
    gate, login = fake.hold(), fake.login("coinbase", ref="user-7")
    came = asyncio.Event()

    def save(outcome: object) -> None:
        told.append(outcome)
        came.set()

    async with fake.client(retry=SOON, on_outcome=save) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(login.token)
        assert told == []
        gate.release()
        await came.wait()
        again = await mesh.refresh(login.token)
    (late,) = told
    assert isinstance(late, Refreshed)
    assert late.before == login.token
    assert again.all_tokens == late.all_tokens, "who brings the spent token gets what came for it"
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_a_reply_that_is_cut_after_the_deadline(fake: FakeMesh) -> None:
    """What comes of a reply after the deadline is kept as bytes where it cannot be read; a late error tells nothing."""
    for fault, kinds in ((Fault.half_body(keep_pair=True), [UnreadableReply]), (Fault.refuse(), [])):
        told: list[Any] = []
        gate = fake.hold(fault, after_rotation=True)
        async with fake.client(retry=SOON, on_outcome=told.append) as mesh:
            with pytest.raises(OutcomeUnknown):
                await mesh.refresh(fake.login("coinbase").token)
            gate.release()
            await fake.idle()
        assert [type(outcome) for outcome in told] == kinds
    assert fake.lost() == []


async def test_a_reply_after_the_deadline_that_the_hook_does_not_take(fake: FakeMesh) -> None:
    """It is kept, and raised when the client is closed."""

    def refuse(_: object) -> None:
        raise OSError

    gate = fake.hold()
    mesh = MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url, retry=SOON, on_outcome=refuse)
    with pytest.raises(OutcomeUnknown):
        await mesh.refresh(fake.login("coinbase").token)
    gate.release()
    await fake.idle()
    with pytest.raises(NotSaved) as caught:
        await mesh.aclose()
    assert isinstance(caught.value.outcome, Refreshed)
    await fake.saved(caught.value.outcome)
    assert fake.lost() == []


async def test_a_connection_that_owes_a_reply_makes_no_room(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an outage some replies come late and others are errors: no connection of these displaces one of those."""
    monkeypatch.setattr(wire, "_MOST_LINGERING", 2)
    monkeypatch.setattr(wire, "_MOST_UNANSWERED", 4)
    told: list[Any] = []
    gate = fake.hold(after_rotation=True, times=4)
    held = [fake.login("coinbase") for _ in range(4)]
    patient = RetryPolicy(max_requests=1, deadline=timedelta(seconds=0.5))
    async with fake.client(retry=patient, on_outcome=told.append) as mesh:
        came = await asyncio.gather(*(mesh.refresh(login.token) for login in held), return_exceptions=True)
        assert all(isinstance(error, OutcomeUnknown) for error in came)
        fake.fail(Fault.unavailable(), times=6)
        for _ in range(6):
            with pytest.raises(Unavailable):
                await mesh.refresh(fake.login("coinbase").token)
        gate.release()
        await fake.idle()
    assert [type(outcome) for outcome in told] == [Refreshed] * 4
    assert fake.lost() == []


async def test_as_many_are_waited_on_as_there_are_connections(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests were out when the deadline came."""
    monkeypatch.setattr(wire, "_MOST_UNANSWERED", 1)
    told: list[Any] = []
    gate = fake.hold(times=3)
    async with fake.client(retry=SOON, on_outcome=told.append, transport=AiohttpTransport(connections=3)) as mesh:
        for _ in range(3):
            with pytest.raises(OutcomeUnknown):
                await mesh.refresh(fake.login("coinbase").token)
        gate.release()
        await fake.idle()
    assert len(told) == 3


async def test_a_late_reply_that_stalls(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a late reply that breaks off where one may end, and that the server never ends, the bytes are handed over."""
    monkeypatch.setattr(wire, "UNANSWERED", 0.5)
    told: list[Any] = []
    came, given_up = asyncio.Event(), asyncio.Event()
    body = b'{"status": "ok", "content": {"refreshToken": "r-late"}'

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        await given_up.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + body)
        await came.wait()
        writer.close()

    def save(outcome: object) -> None:
        told.append(outcome)
        came.set()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, fake.client(base_url=f"http://127.0.0.1:{port}", retry=SOON, on_outcome=save) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)
        given_up.set()
        await came.wait()
    (late,) = told
    assert isinstance(late, UnreadableReply)
    assert body in late.body


async def test_two_replies_behind_one(fake: FakeMesh) -> None:
    """Each whole reply that comes while the connection is idle is handed over at once, and reading goes on."""
    told: list[Any] = []
    first, second = asyncio.Event(), asyncio.Event()

    def with_token(token: str) -> bytes:
        tokens = f'[{{"refreshToken": "{token}"}}]'
        body = f'{{"status": "ok", "content": {{"status": "succeeded", "brokerAccountTokens": {tokens}}}}}'
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(with_token("r-own"))
        await first.wait()
        writer.write(with_token("r-second"))
        await second.wait()
        writer.write(with_token("r-third"))
        await came.wait()
        writer.close()

    async def save(outcome: object) -> None:
        told.append(outcome)
        {1: first, 2: second}.get(len(told), asyncio.Event()).set()
        if len(told) == 3:
            came.set()

    came = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, fake.client(base_url=f"http://127.0.0.1:{port}", on_outcome=save) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
        await came.wait()
    assert [type(outcome) for outcome in told] == [Refreshed, UnreadableReply, UnreadableReply]
    assert b"r-second" in told[1].body
    assert b"r-third" in told[2].body

"""Whole exchanges with a fake Mesh, with all logs, tasks and objects in view."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import (
    AiohttpTransport,
    CodeRefused,
    DefaultStrategy,
    HttpReply,
    HttpRequest,
    MeshClient,
    MfaRequired,
    NotSaved,
    Refreshed,
    RefreshRequest,
    Reply,
    RetryPolicy,
    Tokens,
    TokensRefused,
)
from mesh_refresh.testing import FakeMesh, Fault
from mesh_refresh.testing.model.logins import FakeLogin
from tests.leaks.witness import KEYS, Witness, outcome_of, planted

AT_ONCE = RetryPolicy(max_requests=2, backoff=timedelta(), resend_after=timedelta(), resend_unknown=True)


def opened(fake: FakeMesh, **options: Any) -> MeshClient:
    options = {"retry": AT_ONCE, **options}
    return fake.client(**options)


def prepared(fake: FakeMesh, broker: str = "weBull", **choices: Any) -> tuple[FakeLogin, Tokens]:
    """A login, and its tokens with planted secrets where they are the user's own."""
    login = fake.login(broker, **choices)
    tokens = evolve(login.token, trade_token=planted("trade"), metadata={"region": planted("metadata")})
    return login, tokens


def learn(witness: Witness, fake: FakeMesh) -> None:
    """Search for every token that the fake ever made."""
    witness.also(*fake.ledger.tokens)


async def settle(client: MeshClient) -> None:
    await outcome_of(client.aclose())


@pytest.mark.parametrize("name", Fault.all())
async def test_every_fault(watched: Witness, fake: FakeMesh, name: str) -> None:
    """Whatever goes wrong, it shows no secret."""
    _, tokens = prepared(fake)
    fake.fail(Fault.all()[name])
    client = opened(fake)
    watched.look_at(await outcome_of(client.refresh(tokens)))
    learn(watched, fake)
    watched.look_at(client)
    watched.look_inside(client, "client")
    await settle(client)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 429, 500, 503])
async def test_echoes(watched: Witness, fake: FakeMesh, code: int) -> None:
    """A server that repeats every secret that it was sent, the client's own too, does not get it into an error."""
    _, tokens = prepared(fake)
    fake.fail(Fault.echo(code), times=None)
    client = opened(fake)
    watched.look_at(await outcome_of(client.refresh(tokens)))
    learn(watched, fake)
    await settle(client)


@pytest.mark.parametrize("choices", [{}, {"accounts": 3}, {"top_level": True}, {"token_ids": True}])
async def test_successes(watched: Witness, fake: FakeMesh, choices: dict[str, Any]) -> None:
    """A success shows no secret, in its outcome, its log lines or its tasks."""
    _, tokens = prepared(fake, **choices)
    client = opened(fake, transport=AiohttpTransport(connections=2))
    task = asyncio.ensure_future(client.refresh(tokens))
    outcome = await task
    assert isinstance(outcome, Refreshed)
    learn(watched, fake)
    watched.look_at(outcome)
    watched.saw("task with its result", repr(task))
    await settle(client)


async def test_codes(watched: Witness, fake: FakeMesh) -> None:
    """A question, a wrong code and the right one show neither codes nor tokens."""
    login, tokens = prepared(fake, "vanguard", mfa=True)
    client = opened(fake)
    asked = await client.refresh(tokens)
    assert isinstance(asked, MfaRequired)
    watched.look_at(asked)
    watched.look_at(await outcome_of(unwrapped(asked)))
    refused = await outcome_of(client.submit_mfa(asked, planted("code")))
    assert isinstance(refused, CodeRefused)
    watched.look_at(refused)
    watched.look_at(refused.pending)
    watched.also(login.code)
    outcome = await client.submit_mfa(asked, login.code)
    learn(watched, fake)
    watched.look_at(outcome)
    await settle(client)


async def unwrapped(asked: MfaRequired) -> object:
    return asked.unwrap()


async def test_in_flight(watched: Witness, fake: FakeMesh) -> None:
    """While a request is under way, none of the client's objects and tasks shows a secret."""
    _, tokens = prepared(fake)
    learn(watched, fake)
    gate = fake.hold(after_rotation=True)
    client = opened(fake)
    task = asyncio.ensure_future(client.refresh(tokens))
    await gate.entered.wait()
    for running in asyncio.all_tasks():
        watched.saw("task in flight", repr(running))
        for frame in running.get_stack():
            if "/mesh_refresh/" in frame.f_code.co_filename and "/testing/" not in frame.f_code.co_filename:
                watched.saw(f"locals of {frame.f_code.co_qualname}", repr(list(frame.f_locals.items())))
    for value in reachable(client):
        watched.look_at(value, "reachable")
        watched.look_inside(value, type(value).__name__)
    gate.release()
    await task
    learn(watched, fake)
    for value in reachable(client):
        watched.look_inside(value, f"{type(value).__name__} afterwards")
    await settle(client)


PLAIN = (
    "Exchange",
    "Participant",
    "Memory",
    "MeshClient",
    "ClientRuntime",
    "Deadlines",
    "AiohttpTransport",
    "Answered",
    "Call",
)


def reachable(value: object, seen: dict[int, object] | None = None) -> list[object]:
    """The client's own working objects, found from the client."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return []
    if isinstance(value, dict):
        return [found for item in (*value.keys(), *value.values()) for found in reachable(item, seen)]
    if isinstance(value, list | tuple | set):
        return [found for item in value for found in reachable(item, seen)]
    if type(value).__name__ not in PLAIN:
        return []
    seen[id(value)] = value
    slots = [getattr(value, slot, None) for slot in getattr(type(value), "__slots__", ())]
    inner = [*slots, *getattr(value, "__dict__", {}).values()]
    return [value, *(found for item in inner for found in reachable(item, seen))]


async def test_a_hook_that_fails(watched: Witness, fake: FakeMesh) -> None:
    """Where on_outcome raised, the error that carries the outcome shows none of it."""

    async def broken(outcome: Any) -> None:
        del outcome
        raise OSError("disk full")

    _, tokens = prepared(fake)
    client = opened(fake, on_outcome=broken)
    error = await outcome_of(client.refresh(tokens))
    learn(watched, fake)
    assert isinstance(error, NotSaved)
    watched.look_at(error)
    watched.look_at(error.outcomes)
    await settle(client)


async def test_nobody_took_it(watched: Witness, fake: FakeMesh) -> None:
    """The error that aclose raises for an outcome that nobody took shows none of it."""
    _, tokens = prepared(fake)
    gate = fake.hold(after_rotation=True)
    client = MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url)
    task = asyncio.ensure_future(client.refresh(tokens))
    await gate.entered.wait()
    task.cancel()
    await asyncio.wait([task])
    gate.release()
    error = await outcome_of(client.aclose())
    learn(watched, fake)
    assert isinstance(error, NotSaved)
    watched.look_at(error)
    watched.saw("task", repr(task))


class Odd(DefaultStrategy):
    """Fails while it reads."""

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: Any) -> Refreshed | MfaRequired:
        raise KeyError("region")


async def test_a_strategy_that_fails(watched: Witness, fake: FakeMesh) -> None:
    """Where a strategy raised over a reply that echoes, nothing of the reply is shown."""
    _, tokens = prepared(fake, "paxos")
    client = opened(fake, strategies={"paxos": Odd()})
    fake.fail(Fault.none(), Fault.echo(400))
    for _ in range(2):
        watched.look_at(await outcome_of(client.refresh(tokens)))
    learn(watched, fake)
    await settle(client)


class Broken:
    """A transport of the user's that breaks off."""

    async def send(self, request: HttpRequest) -> HttpReply:
        await request.before_send()
        raise OSError("cable")

    async def aclose(self) -> None: ...


async def test_a_transport_that_fails(watched: Witness) -> None:
    """Where the user's transport raised, our frames show nothing of the request."""
    tokens = Tokens("coinbase", planted("refresh"), metadata={"a": planted("metadata")})
    client = MeshClient(KEYS["client id"], KEYS["client secret"], transport=Broken(), retry=RetryPolicy(max_requests=1))
    watched.look_at(await outcome_of(client.refresh(tokens)))
    await settle(client)


async def test_nobody_listens(watched: Witness, fake: FakeMesh) -> None:
    """A refused connection shows nothing of the request."""
    _, tokens = prepared(fake)
    learn(watched, fake)
    client = opened(fake)
    await fake.stop()
    watched.look_at(await outcome_of(client.refresh(tokens)))
    await settle(client)


async def test_the_deadline(watched: Witness, fake: FakeMesh) -> None:
    """An exchange that its deadline ended shows nothing of the request."""
    _, tokens = prepared(fake)
    gate = fake.hold()
    client = opened(fake, retry=RetryPolicy(max_requests=1, deadline=timedelta(milliseconds=50)))
    watched.look_at(await outcome_of(client.refresh(tokens)))
    learn(watched, fake)
    gate.release()
    await settle(client)


async def test_refused(watched: Witness, fake: FakeMesh) -> None:
    """A refusal by the broker shows no token."""
    login, tokens = prepared(fake)
    login.revoke()
    client = opened(fake)
    error = await outcome_of(client.refresh(tokens))
    learn(watched, fake)
    assert isinstance(error, TokensRefused)
    watched.look_at(error)
    await settle(client)


async def test_delayed_auth(watched: Witness, fake: FakeMesh) -> None:
    """Tokens that cannot be exchanged yet are refused unseen."""
    login = fake.delayed_login()
    learn(watched, fake)
    client = opened(fake)
    for tokens in Tokens.from_link(login.link_payload()):
        watched.look_at(tokens)
        watched.look_at(await outcome_of(client.refresh(tokens)))
    await settle(client)


async def test_a_closed_client(watched: Witness, fake: FakeMesh) -> None:
    """A client that is closed refuses tokens unseen."""
    _, tokens = prepared(fake)
    learn(watched, fake)
    client = opened(fake)
    await client.aclose()
    watched.look_at(await outcome_of(client.refresh(tokens)))

"""Each of the fake's faults, at each point of an exchange: the error of the reply table, and no token lost."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from mesh_refresh import (
    AiohttpTransport,
    MeshRefreshError,
    MfaRequired,
    NotSent,
    OutcomeUnknown,
    Refreshed,
    RetryPolicy,
    ServerFailure,
    Tokens,
    UnreadableReply,
)
from mesh_refresh.testing import Delivery, FakeMesh, Fault
from tests.transport.transports import BySession

ONCE = RetryPolicy(max_requests=1, deadline=timedelta(hours=1))
THRICE = RetryPolicy(max_requests=3, deadline=timedelta(hours=1), backoff=timedelta(), resend_after=timedelta())

# The design's reply table, by the names of the faults. Refreshed where the pair can be read.
EXPECTED = {
    "delay": "Refreshed",
    "delay after rotation": "Refreshed",
    "throttle": "Throttled",
    "throttle with seconds": "Throttled",
    "throttle, bare": "Throttled",
    "throttle with a date": "Throttled",
    "unavailable": "Unavailable",
    "refuse": "TokensRefused",
    "missing field": "RequestRejected",
    "client refused": "ClientRefused",
    "status 403": "PermissionDenied",
    "status 404": "NotFound",
    "status 409": "Conflict",
    "status 418": "RequestRejected",
    "status 423": "Locked",
    "status 451": "UnavailableForLegalReasons",
    "problem 400": "RequestRejected",
    "problem 403": "PermissionDenied",
    "problem 500": "ServerFailure",
    "html 200": "UnreadableReply",
    "empty 200": "UnreadableReply",
    "html 400": "RequestRejected",
    "empty 400": "RequestRejected",
    "html 502": "ServerFailure",
    "empty 502": "ServerFailure",
    "server error": "ServerFailure",
    "cut": "OutcomeUnknown",
    "no token": "UnreadableReply",
    "server error after rotation": "ServerFailure",
    "cut after rotation": "OutcomeUnknown",
    "no token after rotation": "UnreadableReply",
    "html 200 after rotation": "UnreadableReply",
    "empty 200 after rotation": "UnreadableReply",
    "half a body": "UnreadableReply",
    "half a body with the pair": "UnreadableReply",
    "half a chunked body": "UnreadableReply",
    "half a chunked body with the pair": "UnreadableReply",
    "oversize": "UnreadableReply",
    "broken json": "UnreadableReply",
    "failed": "TokensRefused",
    "failed with token": "UnreadableReply",
    "error 500 with token": "UnreadableReply",
    "error 400 with token": "UnreadableReply",
    "envelope ok": "UnreadableReply",
    "envelope serverFailure": "ServerFailure",
    "envelope permissionDenied": "PermissionDenied",
    "envelope badRequest": "TokensRefused",
    "envelope notFound": "NotFound",
    "envelope conflict": "Conflict",
    "envelope tooManyRequest": "Throttled",
    "envelope locked": "Locked",
    "envelope unavailableForLegalReasons": "UnavailableForLegalReasons",
    "novelties": "Refreshed",
    "wrong types": "Refreshed",
    "gzip": "Refreshed",
    "throttle with a fraction": "Throttled",
    "throttle with words": "Throttled",
    "unavailable with a fraction, bare": "Unavailable",
    "unavailable with words, bare": "Unavailable",
    "blanks": "Refreshed",
    "odd numbers": "Refreshed",
    "repeats under ok": "UnreadableReply",
    "repeats under badRequest": "TokensRefused",
    "quotes 200": "UnreadableReply",
    "quotes 400": "TokensRefused",
    "redirect 302": "RedirectRefused",
    "redirect 307": "RedirectRefused",
    "echo 400": "TokensRefused",
}
RETRYABLE = {"Throttled", "Unavailable", "Conflict", "Locked", "NotSent"}
FAULTS = Fault.all()
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


def expected(fault: Fault) -> str:
    return "Refreshed" if fault.name.startswith("pair under ") else EXPECTED[fault.name]


async def outcome_of(awaitable: Any) -> Any:
    try:
        return await awaitable
    except MeshRefreshError as error:
        return error


def check(fake: FakeMesh, fault: Fault, outcome: Any, before: Tokens, told: list[Any]) -> None:
    """What holds of every fault, wherever it strikes."""
    assert fake.lost(ignoring_undelivered=True) == []
    assert fake.reuses == []
    if fault.delivery is not Delivery.WITHHELD:
        assert fake.lost() == []
        assert fake.undelivered == []
    if fault.delivery is Delivery.BURIED:
        assert isinstance(outcome, UnreadableReply)
        assert outcome.may_hold_token
    if isinstance(outcome, UnreadableReply):
        assert outcome.before == before
        assert (outcome in told) == outcome.may_hold_token
    if isinstance(outcome, Refreshed):
        assert fake.is_live(outcome.tokens.refresh_token)
        assert fake.is_live(outcome.tokens.access_token)
    if isinstance(outcome, MeshRefreshError):
        assert outcome.retryable == (type(outcome).__name__ in RETRYABLE)
        assert outcome.needs_reconnect == (type(outcome).__name__ == "TokensRefused")
        assert "fake-refresh" not in str(outcome)
        assert fake.client_secret not in f"{outcome} {outcome!r}"


def listening(fake: FakeMesh, told: list[Any], **options: Any) -> Any:
    async def hook(outcome: Any) -> None:
        told.append(outcome)

    return fake.client(on_outcome=hook, retry=ONCE, **options)


@every_fault
@pytest.mark.parametrize("way", [AiohttpTransport, BySession])
async def test_new_connection(fake: FakeMesh, fault: Fault, way: type[AiohttpTransport]) -> None:
    """A fault on a new connection gives the table's error either way, and on_outcome has whatever token came."""
    told: list[Any] = []
    async with listening(fake, told, transport=way()) as mesh:
        login = fake.login("coinbase", ref="mine")
        fake.fail(fault)
        outcome = await outcome_of(mesh.refresh(login.token))
        assert type(outcome).__name__ == expected(fault)
        assert len(fake.requests) == 1
        check(fake, fault, outcome, login.token, told)


@every_fault
async def test_kept_connection(fake: FakeMesh, fault: Fault) -> None:
    """A fault on a connection that was used before gives the same, and the client is good for the next request."""
    told: list[Any] = []
    async with listening(fake, told) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
        login = fake.login("coinbase", ref="mine", accounts=2)
        fake.fail(fault)
        outcome = await outcome_of(mesh.refresh(login.token))
        assert type(outcome).__name__ == expected(fault)
        assert len(fake.requests) == 2
        check(fake, fault, outcome, login.token, told)
        assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)


@every_fault
async def test_session_of_the_caller(fake: FakeMesh, fault: Fault) -> None:
    """A fault met by a ClientSession of the caller's gives the same, and the session stays open."""
    told: list[Any] = []
    async with aiohttp.ClientSession() as session:
        async with listening(fake, told, transport=AiohttpTransport(session)) as mesh:
            login = fake.login("coinbase", ref="mine")
            fake.fail(fault)
            outcome = await outcome_of(mesh.refresh(login.token))
            assert type(outcome).__name__ == expected(fault)
            check(fake, fault, outcome, login.token, told)
        assert not session.closed


@every_fault
async def test_second_attempt(fake: FakeMesh, fault: Fault) -> None:
    """After a first attempt that may be repeated, a fault gives the same; what is not retryable is not sent again."""
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome)

    async with fake.client(on_outcome=hook, retry=THRICE) as mesh:
        login = fake.login("coinbase", ref="mine")
        fake.fail(Fault.throttle(0), fault)
        outcome = await outcome_of(mesh.refresh(login.token))
        if expected(fault) in RETRYABLE and getattr(outcome, "retry_after", None) is None:
            assert isinstance(outcome, Refreshed)
            assert len(fake.requests) == 3
        else:
            assert type(outcome).__name__ == expected(fault)
            assert len(fake.requests) == 2
        check(fake, Fault.none() if isinstance(outcome, Refreshed) else fault, outcome, login.token, told)


@every_fault
@pytest.mark.parametrize("broker", ["vanguard", "coinbase"])
async def test_code(fake: FakeMesh, fault: Fault, broker: str) -> None:
    """A fault on the request with the code gives the same, but a refusal is of the code, and nothing is sent again."""
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome)

    async with fake.client(on_outcome=hook, retry=ONCE) as mesh:
        login = fake.login(broker, mfa=True, ref="mine")
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        fake.fail(fault)
        outcome = await outcome_of(mesh.submit_mfa(pending, login.code))
        want = expected(fault)
        assert type(outcome).__name__ == ("CodeRefused" if want == "TokensRefused" else want)
        if want == "TokensRefused":
            assert outcome.pending == pending
        assert len(fake.requests) == 2
        check(fake, fault, outcome, pending.tokens, told)


@every_fault
async def test_asked_for_a_code(fake: FakeMesh, fault: Fault) -> None:
    """A fault on the reply that asks for a code costs no token, the access token of that reply included."""
    told: list[Any] = []
    async with listening(fake, told) as mesh:
        login = fake.login("vanguard", mfa=True, mfa_rotates=True, ref="mine")
        fake.fail(fault)
        outcome = await outcome_of(mesh.refresh(login.token))
        if expected(fault) == "Refreshed":
            # `novelties` renames the status too, which is one way to see a success.
            assert isinstance(outcome, MfaRequired | Refreshed)
            assert isinstance(outcome, Refreshed) == (fault.name == "novelties")
        elif fault.name == "no token after rotation":
            assert isinstance(outcome, MfaRequired)
        else:
            assert type(outcome).__name__ == expected(fault)
        assert fake.lost(ignoring_undelivered=fault.delivery is Delivery.WITHHELD) == []


@every_fault
@pytest.mark.parametrize("broker", ["weBull", "tdAmeritrade"])
async def test_other_brokers(fake: FakeMesh, fault: Fault, broker: str) -> None:
    """A fault gives the same for a broker with a trade token, and for one that does not rotate."""
    told: list[Any] = []
    async with listening(fake, told) as mesh:
        login = fake.login(broker, ref="mine")
        fake.fail(fault)
        outcome = await outcome_of(mesh.refresh(login.token))
        if broker == "weBull" or not fault.name.startswith("half"):
            assert type(outcome).__name__ == expected(fault)
        assert fake.lost(ignoring_undelivered=fault.delivery is Delivery.WITHHELD) == []


@pytest.mark.parametrize("name", [name for name in FAULTS if expected(FAULTS[name]) == "UnreadableReply"])
async def test_bytes_are_kept(fake: FakeMesh, name: str) -> None:
    """An UnreadableReply has the bytes as they came, up to the limit."""
    fault, told = FAULTS[name], list[Any]()
    async with listening(fake, told) as mesh:
        login = fake.login("coinbase")
        fake.fail(fault)
        with pytest.raises(UnreadableReply) as caught:
            await mesh.refresh(login.token)
    body, live = caught.value.body, login.live[0].refresh_token
    assert live is not None
    if fault.delivery is Delivery.BURIED:
        assert live.encode() in body
    elif name.startswith("half"):
        assert body.endswith(live.encode()[:10])
        assert caught.value.may_hold_token
    elif name.startswith("html"):
        assert body == b"<html><body><h1>200</h1></body></html>"
        assert not caught.value.may_hold_token
    elif name.startswith("empty"):
        assert body == b""
        assert not caught.value.may_hold_token
    else:
        assert body.startswith(b"{")
        assert not caught.value.may_hold_token


async def test_no_server(fake: FakeMesh) -> None:
    """Nobody who listens gives NotSent, and the same tokens are good afterwards."""
    async with fake.client(retry=ONCE) as mesh:
        login = fake.login("coinbase")
        await fake.stop()
        with pytest.raises(NotSent):
            await mesh.refresh(login.token)
        await fake.start()
        assert isinstance(await mesh.refresh(login.token), Refreshed)
    assert fake.lost() == []


async def test_server_stopped_under_it(fake: FakeMesh) -> None:
    """A server that stops while it works on the request gives OutcomeUnknown, never a second request."""
    async with fake.client(retry=THRICE) as mesh:
        login, gate = fake.login("coinbase"), fake.hold()
        caller = asyncio.create_task(outcome_of(mesh.refresh(login.token)))
        await gate.entered.wait()
        await fake.stop()
        outcome = await caller
        assert type(outcome) in (OutcomeUnknown, ServerFailure)
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_every_fault_is_expected() -> None:
    """No fault of the kit is without its row here."""
    named = {name for name in FAULTS if not name.startswith("pair under ")}
    assert named == set(EXPECTED)

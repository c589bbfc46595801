"""Every fault does what its mark says, and the ledger knows what became of the pair."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from mesh_refresh import Refreshed
from mesh_refresh.testing import Delivery, FakeMesh, Fault, LossReason, Lost, ManualClock
from mesh_refresh.testing.fake.gate import Gate
from tests.testing.conftest import Caller, Got

FAULTS = Fault.all()


async def _read_all(caller: Caller, login_token: str) -> bytes:
    """Everything that came, also where the connection was cut."""
    got = bytearray()
    keys = {"X-Client-Id": caller.fake.client_id, "X-Client-Secret": caller.fake.client_secret}
    body = {"type": "coinbase", "refreshToken": login_token}
    url = caller.fake.base_url + "/api/v1/token/refresh"
    try:
        async with caller.session.post(url, json=body, headers=keys, allow_redirects=False) as reply:
            while chunk := await reply.content.readany():
                got += chunk
    except aiohttp.ClientError:
        pass
    return bytes(got)


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_does_what_its_mark_says(fake: FakeMesh, caller: Caller, name: str) -> None:
    """The pair is untouched, whole, buried or withheld, as `Delivery` has it; it meets one request and is gone."""
    fault = FAULTS[name]
    login = fake.login("coinbase")
    old = login.token.refresh_token
    assert old is not None
    fake.fail(fault)
    came = await _read_all(caller, old)
    new = login.live[0].refresh_token
    assert new is not None
    assert (new != old) is fault.rotates
    assert fake.requests[-1].fault == name
    if fault.rotates:
        assert (new.encode() in came) is (fault.delivery is not Delivery.WITHHELD)
        assert bool(fake.undelivered) is (fault.delivery is Delivery.WITHHELD)
        fake.hold_body(came)
        reasons = [item.reason for item in fake.lost()]
        assert reasons == ([LossReason.UNDELIVERED] if fault.delivery is Delivery.WITHHELD else [])
        assert not fake.lost(ignoring_undelivered=True)
    else:
        assert not fake.lost()
        assert (await caller.refresh(login.token)).status == 200


@pytest.mark.parametrize("name", FAULTS)
async def test_the_client_loses_nothing_that_reached_the_wire(fake: FakeMesh, name: str) -> None:
    """Under every fault our client hands whatever came to its hook, and sends no spent token."""
    login = fake.login("coinbase")
    fake.fail(FAULTS[name])
    async with fake.client() as mesh:
        outcome = (await asyncio.gather(mesh.refresh(login.token), return_exceptions=True))[0]
        assert isinstance(outcome, Refreshed) or FAULTS[name].delivery is not Delivery.WHOLE
    assert not fake.lost(ignoring_undelivered=True)
    assert not fake.reuses
    assert not fake.sent_twice()


async def test_faults_meet_requests_in_their_order(fake: FakeMesh, caller: Caller) -> None:
    """The queue is served in order, each fault as often as asked, and only for whom it is meant."""
    one, other = fake.login("coinbase"), fake.login("sandbox")
    fake.fail(Fault.status(503), times=2, login=one)
    fake.fail(Fault.status(409), broker="sandbox")
    fake.fail(Fault.status(418))
    codes = [(await caller.refresh(login.token)).status for login in (other, one, one, one, other)]
    assert codes == [409, 503, 503, 418, 200]


async def test_a_permanent_fault_lasts_until_healed(fake: FakeMesh, caller: Caller) -> None:
    """``times=None`` meets every request, until `heal`."""
    login = fake.login("coinbase")
    fake.fail(Fault.throttle(), times=None)
    assert [(await caller.refresh(login.token)).status for _ in range(3)] == [429] * 3
    fake.heal()
    assert (await caller.refresh(login.token)).status == 200


@pytest.mark.parametrize(
    ("given", "header"),
    [
        (None, None),
        (7, "7"),
        (timedelta(minutes=1), "60"),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), "Thu, 01 Jan 2026 12:00:00 GMT"),
        ("soon", "soon"),
    ],
)
async def test_throttling_says_for_how_long(
    fake: FakeMesh, caller: Caller, given: float | timedelta | datetime | str | None, header: str | None
) -> None:
    """Retry-After comes as seconds, as a date, as nonsense or not at all."""
    fake.fail(Fault.throttle(given))
    got = await caller.refresh(fake.login("coinbase").token)
    assert got.headers.get("Retry-After") == header


async def test_gzip_is_gzip(fake: FakeMesh) -> None:
    """The compressed reply is one, and its pair counts as delivered."""
    login = fake.login("coinbase")
    fake.fail(Fault.gzip())
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        got = await Caller(fake, session).refresh(login.token, faulty=True)
    assert str(login.live[0].refresh_token).encode() in gzip.decompress(got.body)
    assert not fake.undelivered


async def test_blanks_erase_no_token_of_a_broker_that_does_not_rotate(fake: FakeMesh) -> None:
    """Where the reply leaves the refresh token out, a blank in its place leaves the stored one as it is."""
    login = fake.login("tdAmeritrade")
    fake.fail(Fault.blanks())
    async with fake.client() as mesh:
        fresh = (await mesh.refresh(login.token)).unwrap().tokens
        assert fresh.refresh_token == login.token.refresh_token
        assert fake.is_live(fresh.access_token)
        assert (await mesh.refresh(fresh)).unwrap().tokens.access_token != fresh.access_token


async def test_a_redirect_says_where_to(fake: FakeMesh, caller: Caller) -> None:
    """The redirect names its host."""
    fake.fail(Fault.redirect("http://127.0.0.1:1/x", 302))
    got = await caller.refresh(fake.login("coinbase").token)
    assert (got.status, got.headers["Location"]) == (302, "http://127.0.0.1:1/x")


async def test_echo_repeats_every_secret(fake: FakeMesh, caller: Caller) -> None:
    """The message of the error has all that was sent in it."""
    fake.fail(Fault.echo())
    token = fake.login("coinbase").token
    said = (await caller.refresh(token, accessToken="planted-access", mfaCode="planted-code")).payload["message"]
    for secret in (token.refresh_token, "planted-access", "planted-code", fake.client_secret, fake.client_id):
        assert str(secret) in said


async def _held(fake: FakeMesh, caller: Caller, *, after_rotation: bool) -> tuple[Gate, asyncio.Task[Got], str]:
    login = fake.login("coinbase")
    gate = fake.hold(after_rotation=after_rotation)
    running = asyncio.create_task(caller.refresh(login.token))
    await gate.entered.wait()
    return gate, running, str(login.token.refresh_token)


@pytest.mark.parametrize("after_rotation", [False, True])
async def test_a_gate_holds_a_request(fake: FakeMesh, caller: Caller, after_rotation: bool) -> None:
    """A held request waits before or after Mesh's work, and goes on when it is released."""
    gate, running, old = await _held(fake, caller, after_rotation=after_rotation)
    assert (fake.in_flight, gate.waiting, running.done()) == (1, 1, False)
    assert fake.is_live(old) is not after_rotation
    gate.release()
    assert (await running).status == 200
    assert (fake.in_flight, gate.waiting) == (0, 0)


async def test_a_gate_holds_several_and_a_fault_may_follow(fake: FakeMesh, caller: Caller) -> None:
    """Several requests can be gathered at one gate; what follows may be any fault."""
    gate = fake.hold(Fault.status(409), times=3)
    running = [asyncio.create_task(caller.refresh(fake.login("coinbase").token)) for _ in range(3)]
    await gate.arrivals(3)
    gate.release()
    assert [got.status for got in await asyncio.gather(*running)] == [409] * 3
    assert fake.max_in_flight == 3


async def test_one_token_in_two_requests_is_seen(fake: FakeMesh, caller: Caller) -> None:
    """`sent_twice` has the requests whose token was under way already; one after the other is no such case."""
    login = fake.login("tdAmeritrade")
    await caller.refresh(login.token)
    await caller.refresh(login.token)
    assert not fake.sent_twice()
    gate = fake.hold()
    running = asyncio.create_task(caller.refresh(login.token))
    await gate.entered.wait()
    await caller.refresh(login.token)
    gate.release()
    await running
    assert [request.login for request in fake.sent_twice()] == [login.id]


async def _hang_up(fake: FakeMesh, gate: Gate) -> None:
    login = fake.login("coinbase")
    async with aiohttp.ClientSession() as session:
        running = asyncio.create_task(Caller(fake, session).refresh(login.token))
        await gate.entered.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    # The server hears of it from its own loop; another connection's round trip comes after that.
    async with aiohttp.ClientSession() as session:
        await Caller(fake, session).refresh(fake.login("tdAmeritrade").token)


async def _stop(fake: FakeMesh, gate: Gate) -> None:
    login = fake.login("coinbase")
    async with aiohttp.ClientSession() as session:
        running = asyncio.create_task(Caller(fake, session).refresh(login.token))
        await gate.entered.wait()
        await fake.stop()
        await asyncio.gather(running, return_exceptions=True)
    await fake.start()


@pytest.mark.parametrize(("end", "reason"), [(_hang_up, LossReason.HUNG_UP), (_stop, LossReason.UNDELIVERED)])
async def test_who_is_to_blame_for_a_pair_that_never_came(
    fake: FakeMesh, end: Callable[[FakeMesh, Gate], Awaitable[None]], reason: LossReason
) -> None:
    """A client that hangs up has lost the pair itself; a server that stops has withheld it."""
    gate = fake.hold(after_rotation=True)
    await end(fake, gate)
    gate.release()
    await fake.idle()
    assert fake.lost() == [Lost("login-1", "acc-1", "coinbase", reason)]
    assert bool(fake.lost(ignoring_undelivered=True)) is (reason is LossReason.HUNG_UP)


async def test_a_stopped_server_is_out_of_reach_until_it_starts(fake: FakeMesh, caller: Caller) -> None:
    """A restart keeps the port, the tokens and the ledger."""
    login, url = fake.login("coinbase"), fake.base_url
    await fake.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.refresh(login.token)
    await fake.start()
    assert fake.base_url == url
    assert (await caller.refresh(login.token)).status == 200


async def test_lateness_moves_no_clock(fake: FakeMesh, caller: Caller, clock: ManualClock) -> None:
    """A delay is real time; the model's clock stands still."""
    before = clock.now()
    fake.fail(Fault.delay(0.001))
    assert (await caller.refresh(fake.login("coinbase").token)).status == 200
    assert clock.now() == before


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith(("cut", "half"))])
async def test_a_cut_is_seen_as_one(fake: FakeMesh, caller: Caller, name: str) -> None:
    """Where the connection is cut, a client's HTTP library says so."""
    fake.fail(FAULTS[name])
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)):
        await caller.refresh(fake.login("coinbase").token)

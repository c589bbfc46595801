"""The sandbox: a FakeMesh for any program, driven by its own routes and by the contract."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import given
from schemathesis import checks

from mesh_refresh.testing import FakeMesh, Fault, ManualClock
from mesh_refresh.testing.clock import MovableClock
from mesh_refresh.testing.fake.serve import add_control_routes, serve
from mesh_refresh.tokens import Tokens
from tests.examples import bounded
from tests.testing.conftest import Caller
from tests.testing.openapi import DOCUMENT

checks.load_all_checks()

pytestmark = pytest.mark.once
_CHECKS: list[Any] = [
    checks.CHECKS.get_one(f"{name}_conformance") for name in ("status_code", "content_type", "response_schema")
]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture
async def sandbox() -> AsyncIterator[FakeMesh]:
    ready = asyncio.Event()
    fake = FakeMesh()
    running = asyncio.create_task(serve(fake, on_ready=lambda _: ready.set()))
    await ready.wait()
    yield fake
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class Control:
    """Speaks JSON to the control routes."""

    def __init__(self, fake: FakeMesh, session: aiohttp.ClientSession) -> None:
        self.fake, self.session = fake, session

    async def __call__(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        url = f"{self.fake.base_url}/sandbox/{path}"
        async with self.session.request(method, url, json=body) as reply:
            return reply.status, await reply.json()


@pytest.fixture
async def control(sandbox: FakeMesh) -> AsyncIterator[Control]:
    async with aiohttp.ClientSession() as session:
        yield Control(sandbox, session)


@pytest.mark.parametrize(("asked", "told"), [(90, 90), (90.0, 90), (1.5, 2), (0.25, 1), (0, 0), (None, None)])
async def test_lifetimes_are_numbers_of_seconds(control: Control, asked: float | None, told: int | None) -> None:
    """Whole ones, as they are told; half a second does not become none."""
    status, login = await control("POST", "logins", {"broker": "coinbase", "accessLifetime": asked})
    assert status == 200
    payload: Any = login["accessTokenPayload"]
    assert payload.get("expiresInSeconds") == told


@pytest.mark.parametrize("value", [-1, -0.5, "90", True, [], float("inf"), float("nan"), 2**31, 1e300])
@pytest.mark.parametrize("name", ["accessLifetime", "refreshLifetime", "grace"])
async def test_what_is_no_lifetime_is_refused(control: Control, name: str, value: object) -> None:
    status, answer = await control("POST", "logins", {"broker": "coinbase", name: value})
    assert (status, answer) == (400, {"error": f"{name} must be a number of seconds, 0 or more"})


async def test_a_grace_may_be_less_than_a_second(control: Control) -> None:
    assert (await control("POST", "logins", {"broker": "coinbase", "grace": 0.25}))[0] == 200
    assert control.fake.logins.popitem()[1].options.grace == timedelta(milliseconds=250)


async def test_a_login_made_over_http_can_be_refreshed(sandbox: FakeMesh, control: Control) -> None:
    """A program asks for a login, reads Link's payload, refreshes, and asks what it has lost."""
    status, made = await control("POST", "logins", {"broker": "coinbase", "accounts": 2, "sharing": "PAIR_EACH"})
    assert status == 200
    tokens = Tokens.from_link(made)
    assert [item.account_id for item in tokens] == ["acc-1", "acc-2"]
    async with sandbox.client() as mesh:
        fresh = (await mesh.refresh(tokens[0])).unwrap().all_tokens
    _, lost = await control("POST", "lost", {"refreshTokens": [item.refresh_token for item in fresh]})
    assert lost == {"lost": []}
    _, lost = await control("POST", "lost", {"refreshTokens": [item.refresh_token for item in tokens]})
    assert len(str(lost["lost"]).split("acc-")) == 3


async def test_delayed_logins_and_codes_over_http(sandbox: FakeMesh, control: Control) -> None:
    """Link's other form is there too, and the code that the person would type."""
    _, made = await control("POST", "logins", {"broker": "interactiveBrokers", "delayed": True})
    assert Tokens.from_link(made)[0].not_before is not None
    _, made = await control("POST", "logins", {"broker": "vanguard", "mfa": True, "mfaToken": "TOP_LEVEL"})
    async with sandbox.client() as mesh:
        pending = await mesh.refresh(Tokens.from_link(made)[0])
        _, shown = await control("GET", f"logins/{made['login']}")
        done = await mesh.submit_mfa(pending, str(shown["code"]))  # type: ignore[arg-type]
    assert done.unwrap().tokens.refresh_token


async def test_faults_and_the_ledger_over_http(sandbox: FakeMesh, control: Control) -> None:
    """A fault is named, meets a request, and the ledger shows what it cost; no token is in it."""
    _, made = await control("POST", "logins", {"broker": "coinbase", "revokesOnReuse": True})
    _, known = await control("GET", "faults")
    assert list(known) == list(Fault.all())
    await control("POST", "faults", {"fault": "throttle", "times": None})
    assert await control("DELETE", "faults") == (200, {"waiting": 0})
    await control("POST", "faults", {"fault": "cut after rotation", "login": made["login"]})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await Caller(sandbox, session).refresh(Tokens.from_link(made)[0])
    _, ledger = await control("GET", "ledger")
    assert (ledger["requests"], ledger["undelivered"], ledger["reuses"]) == (1, 1, [])
    assert "a fault withheld" in str(ledger["lost"])
    assert not any(value in str(ledger) for value in sandbox.ledger.tokens)
    assert await control("DELETE", f"logins/{made['login']}") == (200, {})
    _, ledger = await control("GET", "ledger")
    assert ledger["lost"] == []


async def test_time_can_be_moved() -> None:
    """Tokens run out in no time, where the fake has a clock that can be moved, as the command's has."""
    for clock in (MovableClock(), ManualClock()):
        fake = FakeMesh(clock=clock)
        add_control_routes(fake)
        async with fake, aiohttp.ClientSession() as session:
            control = Control(fake, session)
            login = fake.login("coinbase", access_lifetime=timedelta(hours=1))
            begun, started = fake.clock.now(), fake.clock.monotonic()
            status, told = await control("POST", "clock", {"advance": 3600})
            assert (status, list(told)) == (200, ["now"])
            assert fake.clock.now() - begun >= timedelta(hours=1)
            assert fake.clock.monotonic() - started >= 3600
            assert not fake.is_live(login.token.access_token)


async def test_a_clock_that_cannot_be_moved_says_so(control: Control) -> None:
    assert (await control("POST", "clock", {"advance": 60}))[0] == 400


async def test_rows_are_held_as_they_are_kept(control: Control) -> None:
    """With what a program keeps together, and for which account: a part of it may not be enough."""
    _, made = await control("POST", "logins", {"broker": "weBull", "accounts": 2, "sharing": "PAIR_EACH"})
    payload: Any = made["accessTokenPayload"]
    rows = [
        {**{name: it[name] for name in ("refreshToken", "accessToken")}, "tradeToken": made["tradeToken"]}
        | {"accountId": it["account"]["accountId"], "meshAccountId": it["account"]["meshAccountId"]}
        for it in payload["accountTokens"]
    ]
    assert await control("POST", "lost", {"tokens": rows}) == (200, {"lost": []})
    values = [row["refreshToken"] for row in rows]
    assert await control("POST", "lost", {"refreshTokens": values}) == (200, {"lost": []})
    rows[0]["refreshToken"], rows[1]["refreshToken"] = values[::-1]
    _, swapped = await control("POST", "lost", {"tokens": rows})
    assert len(swapped["lost"]) == 2  # type: ignore[arg-type]
    _, some = await control("POST", "lost", {"refreshTokens": values[:1]})
    assert len(some["lost"]) == 1  # type: ignore[arg-type]


async def test_the_ledger_takes_what_went_out_for_held(sandbox: FakeMesh, control: Control) -> None:
    """Nobody tells the sandbox what was saved: a pair that went out whole is no loss there."""
    _, made = await control("POST", "logins", {"broker": "coinbase"})
    await Caller(sandbox, control.session).refresh(Tokens.from_link(made)[0])
    _, ledger = await control("GET", "ledger")
    assert (ledger["exchanges"], ledger["lost"]) == ({"succeeded": 1}, [])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("logins", []),
        ("logins", {}),
        ("logins", {"broker": "coinbase", "unheardOf": 1}),
        ("logins", {"broker": "coinbase", "accounts": 0}),
        ("logins", {"broker": "coinbase", "mfa": "yes"}),
        ("logins", {"broker": "coinbase", "sharing": "NONE"}),
        ("logins", {"broker": "coinbase", "grace": None}),
        ("faults", {"fault": "unheardOf"}),
        ("faults", {"fault": "cut", "times": 0}),
        ("lost", {"refreshTokens": "all"}),
        ("clock", {"advance": -1}),
        ("clock", {"advance": "1h"}),
        ("clock", {}),
        ("lost", {}),
        ("lost", {"refreshToken": []}),
        ("lost", {"tokens": {}}),
        ("lost", {"tokens": [{"refresh": "r"}]}),
        ("lost", {"tokens": [{"refreshToken": 1}]}),
        ("faults", {"fault": "cut", "tmies": 2}),
        ("faults", {"fault": "cut", "login": "login-99"}),
        ("faults", {"fault": "cut", "broker": "coinbas"}),
        ("logins", {"broker": "coinbas"}),
    ],
)
async def test_what_the_control_routes_do_not_understand_they_say(control: Control, path: str, body: object) -> None:
    """A wrong request is a 400 with a sentence."""
    status, said = await control("POST", path, body)
    assert (status, list(said)) == (400, ["error"])
    assert (await control("GET", "logins/none"))[0] == 404


@pytest.fixture(scope="module")
def sandbox_in_a_thread() -> Iterator[FakeMesh]:
    """Schemathesis is synchronous: the server has a loop of its own."""
    loop, fake = asyncio.new_event_loop(), FakeMesh()
    ready = threading.Event()

    async def run() -> None:
        await serve(fake, on_ready=lambda _: ready.set())

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = asyncio.run_coroutine_threadsafe(run(), loop)
    assert ready.wait(10)
    yield fake
    running.cancel()
    # The cancelled task still has to close its sockets.
    asyncio.run_coroutine_threadsafe(_others_done(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _others_done() -> None:
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


def _validate(case: schemathesis.Case[Any], fake: FakeMesh) -> int:
    keys = {"X-Client-Id": fake.client_id, "X-Client-Secret": fake.client_secret}
    response = case.call(base_url=fake.base_url, headers=keys)
    # Not whether valid data is accepted: a token that nobody issued never is.
    case.validate_response(response, checks=_CHECKS)
    return response.status_code


_BOUNDED = bounded(60)


@SCHEMA.parametrize()
@_BOUNDED
def test_random_requests_are_answered_by_the_contract(
    case: schemathesis.Case[Any], sandbox_in_a_thread: FakeMesh
) -> None:
    """Whatever schemathesis makes of the contract is answered as the contract says."""
    answers = (200, 400, 401) if case.method.upper() == "POST" else (405,)
    assert _validate(case, sandbox_in_a_thread) in answers


def test_random_requests_for_live_tokens_are_answered_by_the_contract(sandbox_in_a_thread: FakeMesh) -> None:
    """The same with tokens that are good: every success validates too."""
    fake, answered = sandbox_in_a_thread, set()

    @given(SCHEMA["/api/v1/token/refresh"]["POST"].as_strategy())
    @_BOUNDED
    def run(case: schemathesis.Case[Any]) -> None:
        body = case.body if isinstance(case.body, dict) else {}
        login = fake.login(str(body.get("type", "coinbase")), accounts=2, refreshable=True)
        case.body = {**body, "refreshToken": login.token.refresh_token, "accessToken": login.token.access_token}
        answered.add(_validate(case, fake))

    run()
    assert 200 in answered

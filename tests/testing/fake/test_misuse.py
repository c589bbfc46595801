"""What a test gets wrong is told at once, and a fault that was never tried at its end."""

import asyncio
import threading
import warnings
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.testing import Edge, EdgeFault, FakeMesh, Fault, LoginOptions, ManualClock, UnusedFault
from mesh_refresh.testing.fake.traffic import QUEUES, tell_unused
from tests.testing.conftest import Caller


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"login": "login-99"}, "no login 'login-99'"),
        ({"login": ""}, "no login ''"),
        ({"broker": "coinbas"}, "'coinbas' is no broker"),
        ({"broker": ""}, "'' is no broker"),
        ({"times": 0}, "times is 0"),
        ({"times": -1}, "times is -1"),
        ({"times": True}, "times is True"),
        ({"times": 1.5}, "times is 1.5"),
    ],
)
async def test_a_fault_that_no_request_could_meet_is_refused(fake: FakeMesh, wrong: dict[str, Any], said: str) -> None:
    """By the fake, by a gate, and by an edge; and nothing of it is in the queue."""
    async with Edge(fake) as edge:
        for ask in (lambda: fake.fail(Fault.cut(), **wrong), lambda: fake.hold(**wrong)):
            with pytest.raises(ValueError, match=said):
                ask()
        with pytest.raises(ValueError, match=said):
            edge.fail(EdgeFault.long_header(), **wrong)
    assert fake.faults.rules == []


async def test_a_login_of_another_fake_is_refused(fake: FakeMesh) -> None:
    """Though this fake has one of the same id."""
    fake.login("coinbase")
    stranger = FakeMesh().login("coinbase")
    with pytest.raises(ValueError, match="no login 'login-1'"):
        fake.fail(Fault.cut(), login=stranger)


def test_a_broker_that_is_not_known_is_refused() -> None:
    """Every request of it would be: a misspelt one is told, and one that Mesh has added is given to the fake."""
    with pytest.raises(ValueError, match="'coinbas' is no broker"):
        FakeMesh().login("coinbas")
    fake = FakeMesh(extra_brokers=["brandNew"])
    assert fake.login("brandNew").broker == "brandNew"
    assert fake.login("webull").broker == "weBull"


@pytest.mark.parametrize(
    "wrong",
    [
        {"accounts": 0},
        {"accounts": -1},
        {"accounts": True},
        {"mfa_rounds": 0},
        {"access_lifetime": timedelta(seconds=0.5)},
        {"refresh_lifetime": timedelta(seconds=90.25)},
        {"access_lifetime": timedelta(seconds=-1)},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """At the making of a login, and when its options are changed."""
    (name,) = wrong
    for make in (lambda: FakeMesh().login("coinbase", **wrong), lambda: evolve(LoginOptions(), **wrong)):
        with pytest.raises(ValueError, match=name):
            make()


async def test_a_fake_that_was_not_started_says_so() -> None:
    """It has no port yet, so no client could reach it."""
    fake = FakeMesh()
    for ask in (lambda: fake.base_url, fake.client):
        with pytest.raises(RuntimeError, match="not started"):
            ask()
    assert "?" in repr(fake)


@pytest.mark.parametrize("wrong", [None, Tokens("coinbase", "r"), "text", ValueError()])
async def test_saved_takes_outcomes(fake: FakeMesh, wrong: Any) -> None:
    """A hook that is called with something else would note nothing, and `lost` would be right for a wrong reason."""
    with pytest.raises(TypeError, match="saved takes an outcome"):
        await fake.saved(wrong)


async def test_what_is_held_are_tokens(fake: FakeMesh) -> None:
    wrong: Any = ["fake-refresh-1"]
    for ask in (lambda: fake.hold_tokens(wrong), lambda: fake.lost(wrong)):
        with pytest.raises(TypeError, match="Tokens"):
            ask()


async def test_a_client_of_the_fake_goes_by_its_clock(clock: ManualClock, fake: FakeMesh) -> None:
    """A `ManualClock` that stands in another year is the client's too: ends are told in it."""
    async with fake.client() as mesh:
        login = fake.login("coinbase", access_lifetime=timedelta(hours=2))
        fresh = (await mesh.refresh(login.token)).unwrap().tokens
    assert fresh.expires_at == clock.now() + timedelta(hours=2)


async def test_faults_that_met_no_request_are_told() -> None:
    """Each once, at the end of the fake or the edge, and only where the test has not failed anyway."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        await _leave_faults(FakeMesh())
        with pytest.raises(KeyError):
            await _leave_faults(FakeMesh(), KeyError())
    assert [it.category for it in told] == [UnusedFault] * 4
    assert [str(it.message) for it in told] == [
        "The fault 'long header of 20000 bytes' met no request.",
        "The fault 'throttle' met no request of login-1.",
        "The fault 'cut' met no request.",
        "The fault 'hold' met no request of robinhood.",
    ]


async def _leave_faults(fake: FakeMesh, error: Exception | None = None) -> None:
    async with fake, Edge(fake) as edge:
        fake.fail(Fault.throttle(), login=fake.login("coinbase"))
        fake.fail(Fault.cut(), times=None)
        fake.hold(broker="robinhood")
        edge.fail(EdgeFault.long_header(), times=3)
        fake.heal()
        if error is not None:
            raise error


async def test_a_fault_is_told_once() -> None:
    """The end of the fake tells it, so the end of its test, which forgets all faults, tells nothing."""
    others = set(QUEUES)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        async with FakeMesh() as fake, Edge(fake) as edge:
            fake.fail(Fault.cut())
            edge.fail(EdgeFault.long_header())
        for queue in set(QUEUES) - others:
            queue.forget()
            tell_unused(queue)
    assert sorted(str(warning.message) for warning in told) == [
        "The fault 'cut' met no request.",
        "The fault 'long header of 20000 bytes' met no request.",
    ]


async def test_a_fault_that_met_a_request_is_not_told(fake: FakeMesh, caller: Caller) -> None:
    """One that was to meet several has been tried too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with FakeMesh() as other:
            login = other.login("coinbase")
            other.fail(Fault.refuse(), times=5)
            await Caller(other, caller.session).refresh(login.token, faulty=True)


def test_a_fake_in_a_loop_that_stands_still_says_so() -> None:
    """A fixture and its test may have different loops: no request would ever be answered."""
    loop = asyncio.new_event_loop()
    fake = loop.run_until_complete(_started())

    async def use() -> None:
        for ask in (lambda: fake.base_url, fake.client, lambda: fake.login("coinbase"), fake.hold):
            with pytest.raises(RuntimeError, match="another event loop"):
                ask()

    asyncio.run(use())
    fake.login("coinbase")
    loop.run_until_complete(fake.stop())
    loop.close()


def test_a_fake_in_a_loop_of_another_thread_is_used_from_here() -> None:
    """Its loop runs: nothing is wrong with that."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    fake = asyncio.run_coroutine_threadsafe(_started(), loop).result()

    async def use() -> None:
        async with fake.client() as mesh:
            await mesh.refresh(fake.login("coinbase").token)

    asyncio.run(use())
    asyncio.run_coroutine_threadsafe(fake.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _started() -> FakeMesh:
    fake = FakeMesh()
    await fake.start()
    return fake

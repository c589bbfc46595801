"""Transports that wrap ours, and what a program can do to them: the obvious way to add a header must hold."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import anyio
import pytest

from mesh_refresh import AiohttpTransport, HttpReply, HttpRequest, InvalidRequest, NotSaved, OutcomeUnknown, RetryPolicy
from mesh_refresh.testing import FakeMesh
from tests.transport.transports import Wrapping

PATIENT = RetryPolicy(max_requests=1, deadline=timedelta(hours=1))


async def waits_with_timeout(request: HttpRequest) -> None:
    await request.before_send()
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()


async def waits_with_wait_for(request: HttpRequest) -> None:
    await request.before_send()
    await asyncio.wait_for(asyncio.Event().wait(), 0.01)


async def waits_with_anyio(request: HttpRequest) -> None:
    await request.before_send()
    with anyio.fail_after(0.01):
        await anyio.sleep_forever()


async def cancels_itself_later(request: HttpRequest) -> None:
    await request.before_send()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    await asyncio.Event().wait()


@pytest.mark.parametrize("wait", [waits_with_timeout, waits_with_wait_for, waits_with_anyio, cancels_itself_later])
async def test_its_time_outs_go_off(fake: FakeMesh, wait: Any) -> None:
    """Whatever a transport ends itself with, it ends."""

    class Waiting(Wrapping):
        async def send(self, request: HttpRequest) -> HttpReply:
            await wait(request)
            raise AssertionError

    async with fake.client(transport=Waiting(AiohttpTransport()), retry=PATIENT) as mesh:
        with pytest.raises(OutcomeUnknown):
            await mesh.refresh(fake.login("coinbase").token)


async def test_a_time_out_that_ends_as_it_goes_off(fake: FakeMesh) -> None:
    """A time-out that goes off in the very step in which its work is done leaves no cancel behind."""

    class Close(Wrapping):
        async def send(self, request: HttpRequest) -> HttpReply:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(None) as scope:
                done = loop.create_future()
                loop.call_soon(done.set_result, None)
                scope.reschedule(loop.time())
                await done
            return await super().send(request)

    async with fake.client(transport=Close(AiohttpTransport()), retry=PATIENT) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
    assert fake.lost() == []


@pytest.fixture(params=["direct", "session"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How requests go out: by a session where aiohttp is not known."""
    if request.param == "session":
        monkeypatch.setattr(aiohttp, "__version__", "99.0")


@pytest.mark.usefixtures("way")
async def test_headers_of_the_transport(fake: FakeMesh) -> None:
    """`headers` go with every request, on the direct way and by a session."""
    transport = AiohttpTransport(headers={"X-Gateway": "fake-gateway", "User-Agent": "mine/1"})
    async with fake.client(transport=transport) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
    sent = {name.lower(): value for name, value in fake.requests[-1].headers.items()}
    assert (sent["x-gateway"], sent["user-agent"]) == ("fake-gateway", "mine/1")
    assert "fake-gateway" not in repr(transport)


@pytest.mark.usefixtures("way")
async def test_headers_in_another_case(fake: FakeMesh) -> None:
    """A header of the transport's takes the place of the client's own, whatever its case: it is sent once."""
    transport = AiohttpTransport(headers={"user-agent": "mine/1", "ACCEPT": "fake/accept"})
    async with fake.client(transport=transport) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
    sent = fake.requests[-1].headers
    assert [sent[name] for name in sent if name.lower() == "user-agent"] == ["mine/1"]
    assert [sent[name] for name in sent if name.lower() == "accept"] == ["fake/accept"]


@pytest.mark.parametrize(
    "options",
    [{"headers": ["X"]}, {"headers": {"": "x"}}, {"headers": {"X Y": "x"}}, {"headers": {"X": "a\r\nY: b"}},
     {"headers": {"X": 7}}, {"headers": {"Content-Length": "7"}}, {"headers": {"x-client-secret": "fake"}},
     {"headers": {"Host": "elsewhere"}}, {"headers": {"X": "\N{SNOWMAN}"}}, {"proxy": ""}, {"proxy": 7},
     {"proxy": "proxy:3128"}, {"proxy": "socks5://proxy:1080"}, {"connections": 0}, {"connections": True},
     {"session": "fake"}, {"session": AiohttpTransport()}, {"ssl": False}, {"ssl": True}, {"ssl": "ca.pem"},
     {"trust_env": "no"}, {"trust_env": None}],
)  # fmt: skip
def test_bad_options(options: dict[str, Any]) -> None:
    """What cannot be right is refused at once."""
    with pytest.raises(InvalidRequest) as caught:
        AiohttpTransport(**options)
    assert "fake" not in str(caught.value)


async def test_a_hook_that_raises_as_it_is_ended(fake: FakeMesh) -> None:
    """What a hook raises while it is ended at its time-out is told with the error, and by nobody else."""

    async def slow(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    options: dict[str, Any] = {"on_outcome": slow, "on_outcome_timeout": timedelta(milliseconds=20)}
    async with fake.client(**options) as mesh:
        with pytest.raises(NotSaved) as caught:
            await mesh.refresh(fake.login("coinbase").token)
        caught.value.__cause__ = None
    assert any("ZeroDivisionError" in note for note in caught.value.__notes__)
    assert complaints == []

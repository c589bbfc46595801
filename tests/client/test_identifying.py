"""What identifies a request for whom it concerns: log lines for the user, headers of the reply for Mesh's support."""

import logging
import tomllib
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import mesh_refresh
from mesh_refresh import AiohttpTransport, HttpReply, MeshRefreshError, RetryPolicy, Tokens
from mesh_refresh.testing import FakeMesh, Fault
from tests.client.odd_parts import Returning
from tests.transport.transports import BySession

ROOT = Path(__file__).parents[2]
ONCE = RetryPolicy(max_requests=1)
IDS = {"X-Request-Id": "0d7e-fake", "CF-Ray": "8f-fake-AMS", "traceparent": "00-fake-01"}


def with_headers(**changes: Any) -> Returning:
    """The real replies, with these headers."""
    return Returning(lambda it: evolve(it, headers={**IDS, "Server": "fake", **changes}))


async def test_version(fake: FakeMesh) -> None:
    """The version is that of the project, and goes out with each request."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert mesh_refresh.__version__ == version
    async with fake.client() as mesh:
        await mesh.refresh(fake.login("coinbase").token)
    assert fake.requests[0].headers["User-Agent"] == f"mesh_refresh/{version}"


async def test_on_errors(fake: FakeMesh) -> None:
    """An error has them, and tells the first two in its text."""
    fake.fail(Fault.server_error())
    async with fake.client(transport=with_headers(), retry=ONCE) as mesh:
        with pytest.raises(MeshRefreshError) as caught:
            await mesh.refresh(fake.login("coinbase").token)
    assert caught.value.request_ids == IDS
    assert "X-Request-Id 0d7e-fake, CF-Ray 8f-fake-AMS]" in str(caught.value)


@pytest.mark.parametrize("transport", [AiohttpTransport, BySession])
async def test_the_transports_keep_them(fake: FakeMesh, transport: Any) -> None:
    """Both ways of our own transport hand them up; the fake's server sends the time."""
    async with fake.client(transport=transport()) as mesh:
        outcome = await mesh.refresh(fake.login("coinbase").token)
    assert set(outcome.reply.request_ids) == {"Date"}


async def test_in_any_case(fake: FakeMesh) -> None:
    """Whatever case a transport gives the names in; what is no id is left out."""
    async with fake.client(transport=Returning(headers_in_any_case)) as mesh:
        outcome = await mesh.refresh(fake.login("coinbase").token)
    assert outcome.reply.request_ids == {"X-Request-Id": "0d7e-fake"}
    assert "0d7e" not in repr(outcome)


def headers_in_any_case(reply: HttpReply) -> HttpReply:
    return evolve(reply, headers={"x-request-ID": "0d7e-fake", "cf-ray": "\u2028", "Request-Id": "long" * 100})


@pytest.mark.parametrize("fault", [None, Fault.server_error(), Fault.refuse(), Fault.html(502)])
async def test_scrubbed(fake: FakeMesh, fault: Fault | None) -> None:
    """A header that quotes a secret of the request shows none of it."""
    login = fake.login("coinbase")
    if fault is not None:
        fake.fail(fault)
    planted = f"for-{login.token.refresh_token}-{fake.client_secret}"
    async with fake.client(transport=with_headers(**{"X-Request-Id": planted}), retry=ONCE) as mesh:
        try:
            outcome = await mesh.refresh(login.token)
        except MeshRefreshError as error:
            ids, text = error.request_ids, str(error)
        else:
            ids, text = outcome.reply.request_ids, repr(outcome.reply)
    assert ids["X-Request-Id"] == "for-***-***"
    assert str(login.token.refresh_token) not in text


def whose(tokens: Tokens) -> Tokens:
    return evolve(tokens, ref="user-7")


async def test_log_lines_say_whose(fake: FakeMesh, caplog: pytest.LogCaptureFixture) -> None:
    """Each line of the client names the broker and the user's own key, and shows no token."""

    def save(_: object) -> None:
        raise OSError

    fake.fail(Fault.throttle())
    login = fake.login("coinbase")
    policy = RetryPolicy(backoff=RetryPolicy().backoff / 100)
    with caplog.at_level(logging.INFO, "mesh_refresh"):
        async with fake.client(on_outcome=save, retry=policy) as mesh:
            with pytest.raises(MeshRefreshError):
                await mesh.refresh(whose(login.token))
    lines = [record.getMessage() for record in caplog.records if record.name == "mesh_refresh"]
    assert len(lines) == 2
    assert all("coinbase, ref 'user-7'" in line for line in lines), lines
    assert "fake-refresh" not in "".join(lines)


async def test_log_lines_without_a_ref(fake: FakeMesh, caplog: pytest.LogCaptureFixture) -> None:
    """Where the user has no key for it: Mesh's id of the account, which is no secret."""

    def save(_: object) -> None:
        raise OSError

    tokens = evolve(fake.login("coinbase").token, mesh_account_id="fake-mesh-id")
    async with fake.client(on_outcome=save) as mesh:
        with pytest.raises(MeshRefreshError):
            await mesh.refresh(tokens)
    assert "(coinbase, Mesh account fake-mesh-id)" in caplog.text

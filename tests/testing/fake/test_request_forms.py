"""What a correct program may send in a form of its own: the fake takes it as Mesh would."""

import shutil
import subprocess
from asyncio import to_thread
from collections.abc import Callable

import pytest

from mesh_refresh.testing import Edge, FakeMesh, Fault
from tests.testing.conftest import PATH, Caller

CASES: list[Callable[[str], str]] = [str.lower, str.upper, str.title, str.swapcase]


@pytest.mark.parametrize("case", CASES)
async def test_header_names_in_any_case(fake: FakeMesh, caller: Caller, case: Callable[[str], str]) -> None:
    """HTTP/2 and many clients send lower case. What came is found by any name, and a fault knows it for secrets."""
    login = fake.login("coinbase")
    names = {"X-Client-Id": fake.client_id, "X-Client-Secret": fake.client_secret, "Content-Type": "application/json"}
    body = {"type": "coinbase", "refreshToken": login.token.refresh_token}
    headers = {case(name): value for name, value in names.items()}
    async with caller.session.post(fake.base_url + PATH, json=body, headers=headers) as reply:
        assert reply.status == 200
    assert fake.requests[0].headers["x-client-ID"] == fake.client_id
    fake.fail(Fault.echo())
    async with caller.session.post(fake.base_url + PATH, json=body, headers=headers) as reply:
        assert fake.client_secret in await reply.text()
    assert fake.client_secret not in repr(fake.requests)


async def test_wrong_keys_are_refused_in_any_case(fake: FakeMesh, caller: Caller) -> None:
    """The values are compared to the byte."""
    body = {"type": "coinbase", "refreshToken": fake.login("coinbase").token.refresh_token}
    for secret in (fake.client_secret.upper(), f"{fake.client_secret}x", ""):
        got = await caller.post(body, headers={"X-Client-Secret": secret}, faulty=True)
        assert got.status == 401


@pytest.mark.once
async def test_curl_in_lower_case(fake: FakeMesh) -> None:
    """The command that people type first, straight and through an edge."""
    if (curl := shutil.which("curl")) is None:
        pytest.skip("there is no curl on this machine")
    async with Edge(fake) as edge:
        for url in (fake.base_url, edge.base_url):
            token = fake.login("coinbase").token.refresh_token
            headers = f"x-client-id: {fake.client_id}", f"x-client-secret: {fake.client_secret}"
            names = [part for line in (*headers, "content-type: application/json") for part in ("-H", line)]
            body = f'{{"type": "coinbase", "refreshToken": "{token}"}}'
            command = [curl, "-sf", url + PATH, *names, "-d", body]
            ran = await to_thread(subprocess.run, command, capture_output=True, check=False)
            assert ran.returncode == 0, ran.stderr
    assert fake.exchanges == {"succeeded": 2}

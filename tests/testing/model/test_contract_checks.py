"""What Mesh itself checks of a request, before any broker sees it."""

import pytest

from mesh_refresh.testing import FakeMesh
from tests.testing.conftest import PATH, Caller


async def test_only_the_right_keys_are_accepted(fake: FakeMesh, caller: Caller) -> None:
    """Wrong keys are a 401, and so is a secret that was exchanged for another."""
    login = fake.login("coinbase")
    old = fake.client_secret
    fake.client_secret = "fake-client-secret-2"
    body = {"type": "coinbase", "refreshToken": login.token.refresh_token}
    assert (await caller.post(body, headers={"X-Client-Secret": old})).status == 401
    assert (await caller.post(body, headers={"X-Client-Id": "another"})).status == 401
    assert (await caller.post(body)).status == 200


async def test_only_post_is_allowed(fake: FakeMesh, caller: Caller) -> None:
    """Anything but POST is a 405."""
    async with caller.session.get(fake.base_url + PATH) as reply:
        assert reply.status == 405


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ({}, "missingField"),
        ({"type": "coinbase"}, "missingField"),
        ({"type": "coinbase", "refreshToken": ""}, "missingField"),
        ({"refreshToken": "r"}, "missingField"),
        ({"type": "weBull", "refreshToken": "r"}, "missingField"),
        ({"type": "vanguard", "refreshToken": "r", "accessToken": ""}, "missingField"),
        ({"type": "unheardOf", "refreshToken": "r"}, "badRequest"),
        ({"type": "coinbase", "refreshToken": 7}, "badRequest"),
        ({"type": "coinbase", "refreshToken": "r", "more": 1}, "badRequest"),
        ({"type": "coinbase", "refreshToken": "r", "mfaCode": 7}, "badRequest"),
        ({"type": "coinbase", "refreshToken": "r", "createNewRefreshToken": "yes"}, "badRequest"),
        ({"type": "coinbase", "refreshToken": "r", "metadata": {"a": 1}}, "badRequest"),
        ({"type": "coinbase", "refreshToken": "r", "metadata": []}, "badRequest"),
        ([], "badRequest"),
        (b"{", "badRequest"),
        (b"[" * 100_000, "badRequest"),
    ],
)
async def test_what_breaks_the_contract_is_refused(caller: Caller, body: object, error_type: str) -> None:
    """A request that is not by the contract is a 400 with Mesh's envelope, and says which kind."""
    got = await caller.post(body)
    assert (got.status, got.payload["status"], got.payload["errorType"]) == (400, "badRequest", error_type)


async def test_what_the_contract_allows_is_allowed(fake: FakeMesh, caller: Caller) -> None:
    """Nulls and metadata of texts and nulls are by the contract."""
    login = fake.login("coinbase")
    got = await caller.refresh(login.token, metadata={"a": "b", "c": None}, mfaCode=None, createNewRefreshToken=None)
    assert got.status == 200
    not_json = await caller.post(b"{}", headers={"Content-Type": "text/plain"})
    assert not_json.status == 400

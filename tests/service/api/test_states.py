"""A login in each state: what each route answers, and that no refresh token is ever among it."""

from datetime import timedelta
from typing import Any

from mesh_refresh.cli.sandbox.states import LOGINS
from mesh_refresh.testing.clock import DEFAULT_START
from mesh_refresh.testing.model.ledger import TokenKind
from tests.service.api.conftest import Api

TOKENS = {
    "loginId",
    "accountId",
    "brokerType",
    "accessToken",
    "tokenId",
    "tradeToken",
    "authToken",
    "expiresAt",
    "version",
}


def path_of(login_id: str, *more: str) -> str:
    return "/".join(("/v1/logins", login_id, *more))


async def ask_all(api: Api, login_id: str) -> list[Any]:
    """Every route about one login, but adding it."""
    tokens = await api.call("GET", f"{path_of(login_id, 'tokens')}?maxWait=0s")
    version = tokens.body.get("version", "0" * 64)
    return [
        tokens,
        await api.call("GET", path_of(login_id)),
        await api.call("POST", path_of(login_id, "tokens", "rejected"), {"version": "f" * 64}),
        await api.call("POST", path_of(login_id, "mfa"), {"code": "000000"}),
        await api.call("POST", path_of(login_id, "mfa", "restart")),
        await api.call("POST", path_of(login_id, "tokens", "rejected"), {"version": version}),
        await api.call("POST", path_of(login_id, "refresh")),
        await api.call("GET", "/v1/logins"),
        await api.call("DELETE", path_of(login_id)),
    ]


async def test_tokens_are_answered_as_the_sandbox_says(states: Api) -> None:
    """And nothing of the answers is no part of the contract."""
    for login_id, words in LOGINS.items():
        reply = await states.call("GET", f"{path_of(login_id, 'tokens')}?maxWait=0s")
        if reply.status == 200:
            assert set(reply.body) == TOKENS
            assert reply.body["loginId"] == login_id
            assert reply.body["authToken"] == (reply.body["accessToken"] or reply.body["tokenId"])
            assert words.startswith(("fresh", "an access token"))
        else:
            assert reply.reason in words, login_id
            assert ("Retry-After" in reply.headers) == (reply.status == 503)


async def test_no_answer_has_a_refresh_token(states: Api) -> None:
    """In any state, of any route, in a body or a header; nor has one a code or a continuation."""
    replies = [reply for login_id in LOGINS for reply in await ask_all(states, login_id)]
    replies += [await states.call("GET", f"/v1/{name}") for name in ("summary", "brokers")]
    for login in list(states.fake.logins.values()):
        replies.append(await states.call("PUT", path_of(f"again-{login.id}"), login.link_payload()))
    issued = states.fake.ledger.tokens
    secret = [value for value, token in issued.items() if token.kind is TokenKind.REFRESH]
    assert len(secret) > 10
    for reply in replies:
        said = f"{reply.text} {dict(reply.headers)}"
        assert not [value for value in secret if value in said]
        assert "refreshToken" not in reply.text.replace("refreshTokenExpiresAt", "")
        assert reply.status != 500 or reply.reason == "login_unreadable"
    handed = [value for value in issued if any(value in reply.text for reply in replies)]
    assert handed, "access tokens do leave"
    assert not states.fake.reuses


async def test_a_list_shows_each_login_and_those_that_do_not_open(states: Api) -> None:
    listed = (await states.call("GET", "/v1/logins?limit=500")).body["logins"]
    found = {login["loginId"]: login for login in listed}
    assert found.keys() == LOGINS.keys()
    unopened = found.pop("wrong-key")
    assert (unopened["opened"], unopened["problem"], unopened["states"]) == (False, "wrong_key", ["active"])
    assert "state" not in unopened
    seen = {name: login["state"] for name, login in found.items()}
    assert seen["mfa-required"] == "mfa_required"
    assert seen["reconnect-required"] == "reconnect_required"
    assert seen["unreadable"] == "unreadable"
    assert seen["not-refreshable"] == "not_refreshable"
    assert {name: login["moving"] for name, login in found.items() if login["moving"]} == {
        "moved": "moved",
        "arriving": "arriving",
    }
    (account,) = found["mfa-required"]["accounts"]
    assert account["pending"]["pendingId"]
    assert account["dueAt"] is None
    (account,) = found["reconnect-required"]["accounts"]
    assert account["reason"] == "refused"
    (account,) = found["outcome-unknown"]["accounts"]
    assert account["resendNotBefore"]
    assert account["failures"] == 1


async def test_reasons_come_with_what_a_program_needs(states: Api) -> None:
    asked = {name: await states.call("GET", f"{path_of(name, 'tokens')}?maxWait=0s") for name in LOGINS}
    ids = [account.tokens.account_id for account in (await states.keeper.login("several-accounts")).accounts]
    assert asked["several-accounts"].body["accountIds"] == ids
    pending = (await states.keeper.login("mfa-required")).accounts[0].pending
    assert pending is not None
    assert asked["mfa-required"].body["pendingId"] == pending.id
    assert asked["reconnect-required"].body["why"] == "refused"
    assert asked["unreadable"].body["why"] == "unreadable"
    assert asked["moved"].status == 421
    assert asked["wrong-key"].status == 500
    wait = int(asked["outcome-unknown"].headers["Retry-After"])
    assert 1 <= wait <= 3604
    for reply in asked.values():
        if reply.status != 200:
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert reply.body["status"] == reply.status
            assert reply.body["title"]
            assert reply.body["detail"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "ETag" not in reply.headers


async def test_its_clock_is_right(states: Api) -> None:
    """A client that compares `expiresAt` with its own clock must not be wrong by the hours in which the states came."""
    assert states.fake.clock.now() - DEFAULT_START < timedelta(minutes=1)

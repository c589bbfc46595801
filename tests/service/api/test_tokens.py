"""Routes that give tokens: fresh ones, for as long as they are wanted, and others for those that were refused."""

import asyncio
import logging
from typing import Any

import pytest

from mesh_refresh import StrategyRegistry
from mesh_refresh.keeper import version_of
from mesh_refresh.testing import Fault
from tests.access_broker import BROKER, AccessBroker, SpendsAccessTokens
from tests.service.api.conftest import Api, serve_api
from tests.service.serving import make_key

TOKENS, REJECTED = "/v1/logins/a/tokens", "/v1/logins/a/tokens/rejected"


async def add(api: Api, login_id: str = "a", broker: str = "coinbase", **choices: Any) -> Any:
    login = api.fake.login(broker, **choices)
    await api.keeper.add(login_id, login.tokens)
    return login


def audited(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    names = ("key", "verb", "outcome", "login", "account", "broker", "credential", "request", "address")
    records = [record for record in caplog.records if record.name == "mesh_refresh.audit"]
    return [{name: vars(record)[name] for name in names if name in vars(record)} for record in records]


async def test_fresh_tokens(api: Api) -> None:
    login = await add(api, broker="weBull")
    reply = await api.call("GET", TOKENS)
    assert reply.status == 200
    assert reply.body == {
        "loginId": "a",
        "accountId": None,
        "brokerType": "weBull",
        "accessToken": login.token.access_token,
        "tokenId": None,
        "tradeToken": login.token.trade_token,
        "authToken": login.token.access_token,
        "expiresAt": login.token.expires_at.isoformat(),
        "version": version_of("a", login.token),
    }
    api.advance(hours=2)
    fresh = (await api.call("GET", TOKENS)).body
    assert fresh["accessToken"] != login.token.access_token
    assert api.fake.is_live(fresh["accessToken"])
    assert fresh["version"] != reply.body["version"]


async def test_an_account_is_named_where_there_are_several(api: Api) -> None:
    login = await add(api, broker="robinhood", accounts=2)
    first, second = login.account_ids
    assert (await api.call("GET", TOKENS)).body["accountIds"] == [first, second]
    assert (await api.call("GET", f"{TOKENS}?accountId={second}")).body["accountId"] == second
    assert (await api.call("GET", f"{TOKENS}?accountId=other")).reason == "unknown_account"
    version = (await api.call("GET", f"{TOKENS}?accountId={second}")).body["version"]
    reply = await api.call("POST", REJECTED, {"version": version, "accountId": second})
    assert (reply.status, reply.body["accountId"]) == (200, second)
    assert (await api.call("POST", REJECTED, {"version": version})).reason == "ambiguous_account"


async def test_valid_for_and_max_wait(api: Api) -> None:
    login = await add(api)
    api.advance(minutes=51)
    assert (await api.call("GET", f"{TOKENS}?validFor=9m")).body["accessToken"] == login.token.access_token
    assert (await api.call("GET", f"{TOKENS}?validFor=10m")).body["accessToken"] != login.token.access_token
    gate = api.fake.hold()
    api.advance(hours=2)
    reply = await api.call("GET", f"{TOKENS}?maxWait=10ms")
    assert (reply.status, reply.reason) == (503, "not_ready")
    assert reply.headers["Retry-After"] in ("2", "3", "4")
    gate.release()
    assert (await api.call("GET", f"{TOKENS}?maxWait=50s")).status == 200
    for wrong in ("maxWait=51s", "maxWait=1m", "maxWait=-1s", "validFor=10", "validFor=", "max_wait=1s", "x=1"):
        reply = await api.call("GET", f"{TOKENS}?{wrong}")
        assert (reply.status, reply.reason) == (422, "invalid_request"), wrong
    assert (await api.call("GET", f"{TOKENS}?maxWait=1s&maxWait=2s")).status == 422


async def test_rejected_tokens_are_refreshed_once(api: Api) -> None:
    """However many callers say so, each with what it had."""
    await add(api)
    version = (await api.call("GET", TOKENS)).body["version"]
    replies = await asyncio.gather(*(api.call("POST", REJECTED, {"version": version}) for _ in range(20)))
    assert len({reply.body["accessToken"] for reply in replies}) == 1
    assert {reply.status for reply in replies} == {200}
    assert replies[0].body["version"] != version
    for other in ("0" * 64, version):
        reply = await api.call("POST", REJECTED, {"version": other})
        assert reply.body == replies[0].body
    assert len(api.fake.requests) == 1
    for wrong in (
        {"version": ""},
        {"version": "1"},
        {"version": version.upper()},
        {"version": 7},
        {},
        {"version": None},
    ):
        assert (await api.call("POST", REJECTED, wrong)).status == 422
    assert (await api.call("POST", REJECTED, {"version": version, "revision": 1})).status == 422
    assert len(api.fake.requests) == 1


async def test_a_version_is_of_one_login_and_account(api: Api) -> None:
    """Not the row's revision: a write that brings no access token leaves it as it is."""
    login = await add(api)
    version = (await api.call("GET", TOKENS)).body["version"]
    await api.keeper.add("b", login.tokens)
    assert (await api.call("GET", "/v1/logins/b/tokens")).body["version"] != version
    api.fake.fail(Fault.all()["refuse"])
    api.advance(minutes=50)
    await api.keeper.refresh_due()
    assert (await api.call("GET", TOKENS)).body["version"] == version


async def test_an_access_token_that_is_the_credential_leaves_as_access_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The audit says so."""
    caplog.set_level(logging.INFO, "mesh_refresh.audit")
    broker = AccessBroker()
    client = {"transport": broker, "strategies": StrategyRegistry().with_strategy(BROKER, SpendsAccessTokens())}
    async with serve_api(client=client) as api:
        await api.keeper.add("a", broker.login("ann"))
        reply = await api.call("GET", TOKENS)
        assert reply.body["accessToken"] == "a-ann-1"
        fresh = await api.call("POST", REJECTED, {"version": reply.body["version"]})
        assert fresh.body["accessToken"] == "a-ann-2"
    assert [line["credential"] for line in audited(caplog)] == ["access%20token"] * 2
    assert "a-ann" not in caplog.text


async def test_each_answer_with_tokens_is_a_line_of_the_audit(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """With the id escaped, and nothing that is secret."""
    caplog.set_level(logging.INFO, "mesh_refresh.audit")
    login = await add(api, "a b\n=c")
    path = "/v1/logins/a%20b%0A%3Dc/tokens"
    version = (await api.call("GET", path, headers={"X-Request-Id": "req-1"})).body["version"]
    await api.call("POST", f"{path}/rejected", {"version": version})
    await api.call("GET", "/v1/logins/none/tokens?accountId=x")
    await api.call("GET", "/v1/logins/%2E/tokens")
    first, second, third, fourth = audited(caplog)
    shown = {"key": "all", "login": "a%20b%0A%3Dc", "address": "127.0.0.1"}
    assert first == {**shown, "verb": "tokens", "outcome": "done", "request": "req-1"}
    assert {**second, "request": ""} == {**shown, "verb": "rejected", "outcome": "done", "request": ""}
    assert (third["outcome"], third["account"]) == ("unknown_login", "x")
    assert (fourth["outcome"], "login" in fourth) == ("invalid_request", False)
    for secret in (*login.token.secrets, version, api.key):
        assert secret not in caplog.text


async def test_a_key_with_a_prefix_sees_no_other_login() -> None:
    """They are like logins that are not there, to the letter."""
    kept, key = make_key(name="tenant", prefix="tenant-1/")
    async with serve_api(kept) as api:
        await see_only_mine(api, key)


async def see_only_mine(api: Api, key: str) -> None:
    for name in ("tenant-1/a", "tenant-2/a", "tenant-1"):
        await add(api, name)
    mine, other, none = ("~dGVuYW50LTEvYQ", "~dGVuYW50LTIvYQ", "~dGVuYW50LTkvYQ")
    assert (await api.call("GET", f"/v1/logins/{mine}/tokens", key=key)).status == 200
    for method, path, document in (
        ("GET", "tokens", None),
        ("POST", "tokens/rejected", {"version": "0" * 64}),
        ("POST", "refresh", {}),
        ("POST", "mfa", {"code": "1"}),
        ("POST", "mfa/restart", {}),
        ("GET", "", None),
        ("DELETE", "", None),
    ):
        replies = []
        for name in (other, none, "tenant-1"):
            where = f"/v1/logins/{name}/{path}".rstrip("/")
            options: Any = {} if document is None else {"document": document}
            replies.append(await api.call(method, where, key=key, **options))
        assert {reply.status for reply in replies} == {404}, (method, path)
        assert {reply.text for reply in replies} == {replies[0].text}
        assert replies[0].reason == "unknown_login"
    payload = api.fake.login("coinbase").link_payload()
    assert (await api.call("PUT", f"/v1/logins/{other}", payload, key=key)).reason == "unknown_login"
    assert (await api.call("PUT", f"/v1/logins/{none}", payload, key=key)).reason == "unknown_login"
    assert (await api.keeper.tokens("tenant-2/a")).access_token
    listed = (await api.call("GET", "/v1/logins", key=key)).body
    assert [login["loginId"] for login in listed["logins"]] == ["tenant-1/a"]
    assert listed["next"] is None
    for path in ("summary", "brokers"):
        assert (await api.call("GET", f"/v1/{path}", key=key)).status == 403

"""What an operator's key does: refresh, codes, pauses; and the fleet in numbers."""

import logging

import pytest

from mesh_refresh import Tokens
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import StoreUnavailable
from mesh_refresh.testing import Fault
from tests.service.api.conftest import Api
from tests.service.api.test_tokens import audited

LOGIN = "/v1/logins/a"


async def test_a_refresh_gives_the_state_and_no_tokens(api: Api) -> None:
    login = api.fake.login("coinbase")
    await api.keeper.add("a", login.token)
    for number, options in enumerate(({}, {"document": {}}, {"document": {"accountId": None}}), 1):
        reply = await api.call("POST", f"{LOGIN}/refresh", **options)  # type: ignore[arg-type]
        assert (reply.status, reply.body["state"]) == (200, "active")
        assert len(api.fake.requests) == number
        assert not [token for token in api.fake.ledger.tokens if token in reply.text]
    reply = await api.call("POST", f"{LOGIN}/refresh", {"accountId": "other"})
    assert reply.reason == "unknown_account"
    assert (await api.call("POST", f"{LOGIN}/refresh?maxWait=1s")).status == 422


async def test_a_code_renews_a_login(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong one is told as such, and the question stays; a number would lose its zeros."""
    caplog.set_level(logging.INFO, "mesh_refresh.audit")
    login = api.fake.login("vanguard", mfa=True)
    await api.keeper.add("a", login.token)
    mfa = f"{LOGIN}/mfa"
    assert (await api.call("POST", mfa, {"code": "1"})).reason == "code_not_wanted"
    assert (await api.call("POST", f"{mfa}/restart")).reason == "code_not_wanted"
    api.advance(hours=2)
    asked = await api.call("GET", f"{LOGIN}/tokens")
    assert (asked.status, asked.reason) == (409, "mfa_pending")
    pending_id = asked.body["pendingId"]
    for wrong in ({}, {"code": 1}, {"code": ""}, {"code": " "}, {"code": None}, {"code": "1", "pending_id": "x"}):
        assert (await api.call("POST", mfa, wrong)).status == 422
    assert (await api.call("POST", mfa, {"code": login.code, "pendingId": "other"})).reason == "code_not_wanted"
    refused = await api.call("POST", mfa, {"code": "999999", "pendingId": pending_id})
    assert (refused.status, refused.reason) == (422, "code_refused")
    again = await api.call("POST", f"{mfa}/restart")
    assert again.status == 200
    (account,) = again.body["accounts"]
    assert account["pending"]["pendingId"] != pending_id
    done = await api.call("POST", mfa, {"code": login.code, "pendingId": account["pending"]["pendingId"]})
    assert (done.status, done.body["state"]) == (200, "active")
    assert (await api.call("GET", f"{LOGIN}/tokens")).status == 200
    outcomes = [line["outcome"] for line in audited(caplog) if line["verb"] == "mfa"]
    assert outcomes[-2:] == ["code_refused", "done"]
    assert login.code not in caplog.text
    assert "999999" not in caplog.text


async def test_an_exchange_that_fails_under_a_code_is_told(api: Api) -> None:
    login = api.fake.login("vanguard", mfa=True)
    await api.keeper.add("a", login.token)
    api.advance(hours=2)
    await api.call("GET", f"{LOGIN}/tokens")
    api.fake.fail(Fault.all()["status 403"])
    reply = await api.call("POST", f"{LOGIN}/mfa", {"code": login.code})
    assert (reply.status, reply.reason) == (502, "exchange_failed")
    assert (reply.body["error"], reply.body["retryable"], reply.body["tokenMayBeSpent"]) == (
        "permission_denied",
        False,
        False,
    )


async def test_a_mistyped_broker_is_not_paused(api: Api) -> None:
    """Mesh's own brokers are, before there is a login of them, and others of which there is one."""
    reply = await api.call("PUT", "/v1/brokers/coinbse/pause")
    assert (reply.status, reply.reason) == (422, "invalid_request")
    assert "nothing was paused" in reply.text
    assert await api.keeper.pauses() == {}
    await api.keeper.add("new", Tokens("brandNew", "fake-refresh"))
    await api.keeper.pause("foretold")
    for name in ("PAXOS", "brandNew", "foretold"):
        assert (await api.call("PUT", f"/v1/brokers/{name}/pause", {"note": "why"})).status == 200
    assert set(await api.keeper.pauses()) == {"paxos", "brandNew", "foretold"}


async def test_a_broker_is_paused_with_a_note_and_resumed(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Also all of them; who did it is the key."""
    caplog.set_level(logging.INFO, "mesh_refresh.audit")
    await api.keeper.add("a", api.fake.login("coinbase").token)
    reply = await api.call("PUT", "/v1/brokers/COINBASE/pause", {"note": "an outage"})
    assert reply.body == {
        "brokerType": "coinbase",
        "note": "an outage",
        "by": "all",
        "at": api.fake.clock.now().isoformat(),
    }
    assert (await api.call("POST", f"{LOGIN}/refresh")).reason == "not_ready"
    assert (await api.call("PUT", "/v1/brokers/*/pause")).body["note"] == ""
    brokers = (await api.call("GET", "/v1/brokers")).body
    assert brokers["pause"]["by"] == "all"
    (coinbase,) = [broker for broker in brokers["brokers"] if broker["brokerType"] == "coinbase"]
    assert coinbase["pause"]["note"] == "an outage"
    for broker in ("coinbase", "%2A", "coinbase"):
        reply = await api.call("DELETE", f"/v1/brokers/{broker}/pause")
        assert (reply.status, reply.text) == (204, "")
    assert (await api.call("POST", f"{LOGIN}/refresh")).status == 200
    odd = "a/b <script>"
    await api.keeper.add("odd", Tokens(odd, "fake-refresh"))
    reply = await api.call("PUT", "/v1/brokers/~YS9iIDxzY3JpcHQ-/pause", {"note": "\x00<b>"})
    assert (reply.status, reply.body["brokerType"]) == (200, odd)
    for wrong in ("%20", "%2F", "..", "%7E"):
        assert (await api.call("PUT", f"/v1/brokers/{wrong}/pause", {"note": "x"})).status == 422
    bodies: tuple[object, ...] = ({"note": 1}, {"note": "x", "by": "me"}, {"note": []})
    for body in bodies:
        assert (await api.call("PUT", "/v1/brokers/kraken/pause", body)).status == 422
    lines = audited(caplog)
    assert lines[0]["verb"] == "pause"
    assert (lines[0]["broker"], lines[0]["outcome"]) == ("COINBASE", "done")
    assert "an outage" not in caplog.text


async def test_the_fleet_in_numbers(api: Api) -> None:
    """What was counted last, with its time; null where nothing was."""
    reply = (await api.call("GET", "/v1/summary")).body
    (process,) = reply["processes"]
    assert process["role"] == "keeper"
    assert process["silent"] is False
    assert process["inFlight"] == 0
    assert reply["asOf"]
    assert (reply["logins"], reply["states"], reply["due"]) == (0, {}, 0)


async def test_a_store_that_is_away_is_told_with_a_time_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every route; the probes stay as they are."""
    await api.keeper.add("a", api.fake.login("coinbase").token)
    monkeypatch.setattr(Runtime, "patience", 0.2)

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    for verb in ("read", "swap", "insert", "delete", "rows", "pause", "paused", "claim_one"):
        monkeypatch.setattr(api.store, verb, fail)
    payload = api.fake.login("coinbase").link_payload()
    for method, path, options in (
        ("GET", f"{LOGIN}/tokens?maxWait=0s", {}),
        ("POST", f"{LOGIN}/tokens/rejected", {"document": {"version": "0" * 64}}),
        ("POST", f"{LOGIN}/refresh", {}),
        ("POST", f"{LOGIN}/mfa", {"document": {"code": "1"}}),
        ("POST", f"{LOGIN}/mfa/restart", {}),
        ("PUT", LOGIN, {"document": payload}),
        ("GET", LOGIN, {}),
        ("DELETE", LOGIN, {}),
        ("GET", "/v1/logins", {}),
        ("GET", "/v1/brokers", {}),
        ("PUT", "/v1/brokers/coinbase/pause", {}),
        ("DELETE", "/v1/brokers/coinbase/pause", {}),
    ):
        reply = await api.call(method, path, **options)
        assert (reply.status, reply.reason) == (503, "store_unavailable"), path
        assert int(reply.headers["Retry-After"]) >= 1
    assert (await api.call("GET", "/livez")).status == 200

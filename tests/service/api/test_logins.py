"""Logins are added, shown, listed page by page, and removed."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import InvalidRequest
from mesh_refresh.keeper.arguments import check_login
from mesh_refresh.masking import MaskedDict
from mesh_refresh.service.api.logins import read_login, start_before
from mesh_refresh.service.api.segments import write_base64
from mesh_refresh.testing.clock import DEFAULT_START
from tests.examples import bounded
from tests.service.api.conftest import Api, serve_api
from tests.service.api.test_tokens import audited
from tests.service.serving import make_key

LOGIN = "/v1/logins/a"


async def test_a_login_is_added_and_added_anew(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """What was here before changes nothing."""
    caplog.set_level(logging.INFO, "mesh_refresh.audit")
    login = api.fake.login("robinhood", accounts=2)
    payload = login.link_payload()
    first = await api.call("PUT", LOGIN, payload)
    names = list(login.account_ids)
    assert first.status == 201
    assert first.body == {"changed": True, "accounts": [{"accountId": name, "outcome": "new"} for name in names]}
    again = await api.call("PUT", LOGIN, payload)
    assert again.status == 200
    assert again.body == {
        "changed": False,
        "accounts": [{"accountId": name, "outcome": "unchanged"} for name in names],
    }
    login.again()
    anew = await api.call("PUT", LOGIN, login.link_payload())
    assert (anew.status, anew.body["changed"]) == (200, True)
    assert {account["outcome"] for account in anew.body["accounts"]} == {"replaced"}
    other = await api.call("PUT", LOGIN, api.fake.login("kraken").link_payload())
    assert (other.status, other.reason) == (422, "invalid_request")
    assert [line["outcome"] for line in audited(caplog)] == ["done", "unchanged", "done", "invalid_request"]
    for tokens in (*login.tokens, *login.live):
        assert not [secret for secret in tokens.secrets if secret in caplog.text]


async def test_a_new_login_only(api: Api) -> None:
    only_new = {"If-None-Match": "*"}
    first, second = (api.fake.login("coinbase").link_payload() for _ in range(2))
    assert (await api.call("PUT", LOGIN, first, headers=only_new)).status == 201
    for payload in (first, second):
        reply = await api.call("PUT", LOGIN, payload, headers=only_new)
        assert (reply.status, reply.reason) == (412, "login_exists")
    for wrong in ({"If-None-Match": '"etag"'}, {"If-Match": "*"}):
        assert (await api.call("PUT", "/v1/logins/b", first, headers=wrong)).status == 422


async def test_the_time_of_a_payload(api: Api) -> None:
    """Lifetimes count from it."""
    payload = api.fake.login("coinbase", access_lifetime=timedelta(hours=1)).link_payload()
    at = DEFAULT_START - timedelta(minutes=10)
    reply = await api.call("PUT", LOGIN, {"payload": payload, "obtainedAt": at.isoformat()})
    assert reply.status == 201
    ends = (await api.keeper.login("a")).accounts[0].tokens.expires_at
    assert ends == at + timedelta(hours=1)
    payload = api.fake.login("coinbase", access_lifetime=timedelta(hours=1)).link_payload()
    assert (await api.call("PUT", "/v1/logins/b", payload)).status == 201
    assert (await api.keeper.login("b")).accounts[0].tokens.expires_at == DEFAULT_START + timedelta(hours=1)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"payload": None},
        {"payload": "text"},
        {"payload": {}},
        {"obtainedAt": "2026-01-01T00:00:00Z"},
        {"payload": {"brokerType": "coinbase", "refreshToken": "fake"}, "obtainedAt": "2026-01-01"},
        {"payload": {"brokerType": "coinbase", "refreshToken": "fake"}, "obtainedAt": 1},
        {"payload": {"brokerType": "coinbase", "refreshToken": "fake"}, "obtainedAt": "2027-01-01T00:00:00Z"},
        {"payload": {"brokerType": "coinbase", "refreshToken": "fake"}, "planted": 1},
        {"brokerType": "coinbase"},
        {"brokerType": "coinbase", "refreshToken": ["planted"]},
        {"brokerType": "coinbase", "accountTokens": [{"refreshToken": "fake"}] * 2},
        {"brokerType": "coinbase", "accountTokens": [{"refreshToken": "fake"}] * 501},
    ],
)
def test_a_payload_that_cannot_be_read_is_refused(document: dict[str, Any]) -> None:
    """By the reader or by the keeper, and without a word of what it says."""
    with pytest.raises(InvalidRequest) as refused:
        check_login("a", read_login(MaskedDict(document), DEFAULT_START))
    assert "planted" not in str(refused.value)


def test_what_links_sdks_hand_over_is_read() -> None:
    """The payload, the event around it, a flat account; names that Mesh adds do no harm."""
    account = {"brokerType": "coinbase", "refreshToken": "fake", "newName": {"x": 1}}
    for document in (account, {"payload": account, "type": "integrationConnected"}, {"accessToken": account}):
        (tokens,) = read_login(MaskedDict(document), DEFAULT_START)
        assert tokens.refresh_token == "fake"


async def test_a_large_payload_is_taken_and_a_larger_one_refused(api: Api) -> None:
    payload = {**api.fake.login("coinbase").link_payload(), "brokerBrandInfo": {"logo": "x" * (1 << 20)}}
    assert (await api.call("PUT", LOGIN, payload)).status == 201
    headers = {"Content-Type": "application/json"}
    reply = await api.call("PUT", "/v1/logins/b", data=b" " * (16 << 20) + b"{}", headers=headers)
    assert (reply.status, reply.reason) == (413, "too_large")
    reply = await api.call("POST", f"{LOGIN}/refresh", data=b" " * (64 << 10) + b"{}", headers=headers)
    assert (reply.status, reply.reason) == (413, "too_large")


async def test_a_login_is_removed_once(api: Api) -> None:
    await api.keeper.add("a", api.fake.login("coinbase").token)
    reply = await api.call("DELETE", LOGIN)
    assert (reply.status, reply.text) == (204, "")
    assert (await api.call("DELETE", LOGIN)).reason == "unknown_login"
    assert (await api.call("GET", LOGIN)).reason == "unknown_login"


async def test_any_text_is_an_id(api: Api) -> None:
    """In the form that proxies leave alone."""
    for text in (".", "..", "/", "~", "~YQ", "a/../b", "%2F", "a b", "\0", "é😀", "{loginId}", "?#", "\n", "'\"<>"):
        path = f"/v1/logins/~{write_base64(text)}"
        assert (await api.call("PUT", path, api.fake.login("coinbase").link_payload())).status == 201
        assert (await api.call("GET", path)).body["loginId"] == text
        assert (await api.call("GET", f"{path}/tokens")).body["loginId"] == text
    for path, text in (("%7B%7D", "{}"), ("%00", "\0"), ("a%20b", "a b"), ("%C3%A9%F0%9F%98%80", "é😀")):
        reply = await api.call("GET", f"/v1/logins/{path}")
        assert (reply.body.get("loginId") or reply.reason) in (text, "unknown_login")
    for path in ("%2E%2E", "..", ".", "a%2Fb", "%7EYQ", "~", "~YQ=", "%FF", "%"):
        reply = await api.call("GET", f"/v1/logins/{path}/tokens")
        assert (reply.status, reply.reason) == (422, "invalid_request"), path


async def test_logins_are_listed_page_by_page(api: Api) -> None:
    """By filters, in the order of their ids."""
    names = [f"user-{number:02}" for number in range(7)]
    for name in names:
        await api.keeper.add(name, api.fake.login("coinbase").token)
    await api.keeper.add("other", api.fake.login("kraken").token)
    found: list[str] = []
    query = "broker=COINBASE&state=active&limit=3"
    cursor = ""
    while True:
        page = (await api.call("GET", f"/v1/logins?{query}{cursor}")).body
        assert page.keys() == {"logins", "next", "asOf"}
        assert len(page["logins"]) <= 3
        found += [login["loginId"] for login in page["logins"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == names
    assert (await api.call("GET", "/v1/logins?state=unreadable")).body["logins"] == []
    as_of = page["asOf"]
    assert as_of == DEFAULT_START.isoformat()
    api.advance(minutes=5)
    await api.keeper.add("later", api.fake.login("coinbase").token)
    for since in ("2026-01-01T12:01:00Z", "2026-01-01T14:01:00+02:00", "2026-01-01T14:01:00%2B02:00"):
        changed = (await api.call("GET", f"/v1/logins?changedSince={since}")).body
        assert [login["loginId"] for login in changed["logins"]] == ["later"]
    for wrong in (
        "limit=0",
        "limit=501",
        "limit=x",
        "state=other",
        "cursor=~",
        "cursor=YR",
        "changedSince=5m",
        "after=a",
    ):
        assert (await api.call("GET", f"/v1/logins?{wrong}")).status == 422, wrong


async def test_a_list_for_a_prefix_has_no_other_login() -> None:
    """Page by page, and it ends where the prefix ends."""
    kept, key = make_key(name="of-b", prefix="b")
    async with serve_api(kept) as other:
        for name in ("a", "azz", "b", "b1", "b2", "b\U0010ffff", "c", "ba"):
            await other.keeper.add(name, other.fake.login("coinbase").token)
        found: list[str] = []
        cursor, pages = "", 0
        while pages < 9:
            page = (await other.call("GET", f"/v1/logins?limit=2{cursor}", key=key)).body
            found += [login["loginId"] for login in page["logins"]]
            pages += 1
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert found == ["b", "b1", "b2", "ba", "b\U0010ffff"]
        start = write_base64("a")
        page = (await other.call("GET", f"/v1/logins?limit=1&cursor={start}", key=key)).body
        assert [login["loginId"] for login in page["logins"]] == ["b"]


@bounded(300)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_list_for_a_prefix_begins_before_it(prefix: str, more: str) -> None:
    before = start_before(prefix)
    assert before is not None
    before.encode()
    assert before < prefix <= prefix + more


async def test_access_keys_are_asked_for_everything(api: Api) -> None:
    """But the document that describes it all."""
    for path in ("/v1/logins", LOGIN, f"{LOGIN}/tokens", "/v1/summary", "/v1/brokers"):
        reply = await api.call("GET", path, key="mrk_planted")
        assert (reply.status, reply.reason) == (401, "unauthorized")
    reply = await api.call("GET", "/openapi.json", key="mrk_planted")
    assert reply.body["openapi"].startswith("3.1")

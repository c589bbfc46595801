"""Requests that are not in order: methods, paths, headers and bodies that no document describes."""

import gzip
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mesh_refresh.service.api.routes import API_ROUTES
from mesh_refresh.service.web.app import make_app
from tests.service.api.conftest import Api
from tests.service.serving import bearer

LOGIN = "/v1/logins/a"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("HEAD", f"{LOGIN}/tokens", {"GET"}),
        ("POST", f"{LOGIN}/tokens", {"GET"}),
        ("OPTIONS", f"{LOGIN}/tokens", {"GET"}),
        ("GET", f"{LOGIN}/tokens/rejected", {"POST"}),
        ("GET", f"{LOGIN}/refresh", {"POST"}),
        ("HEAD", f"{LOGIN}/refresh", {"POST"}),
        ("PATCH", LOGIN, {"GET", "HEAD", "PUT", "DELETE"}),
        ("POST", "/v1/logins", {"GET", "HEAD"}),
        ("GET", "/v1/brokers/*/pause", {"PUT", "DELETE"}),
        ("TRACE", "/v1/summary", {"GET", "HEAD"}),
        ("DELETE", "/openapi.json", {"GET", "HEAD"}),
    ],
)
async def test_a_method_that_is_not_there_is_told_with_those_that_are(
    api: Api, method: str, path: str, allow: set[str]
) -> None:
    reply = await api.call(method, path)
    assert reply.status == 405
    assert set(reply.headers["Allow"].split(",")) == allow
    assert method == "HEAD" or reply.reason == "method_not_allowed"


async def test_head_is_answered_where_nothing_is_spent(api: Api) -> None:
    """Without a body, and with what GET would say."""
    await api.keeper.add("a", api.fake.login("coinbase").token)
    for path in (LOGIN, "/v1/logins", "/v1/summary", "/v1/brokers", "/openapi.json"):
        reply = await api.call("HEAD", path)
        assert (reply.status, reply.text) == (200, "")
        assert reply.headers["Content-Type"] == "application/json"


async def test_paths_are_taken_to_the_letter(api: Api) -> None:
    """A slash at the end, a doubled one or another case is another path."""
    await api.keeper.add("a", api.fake.login("coinbase").token)
    for path in (
        f"{LOGIN}/",
        f"{LOGIN}/tokens/",
        "/v1/logins/",
        "/v1//logins/a",
        "/v1/logins//tokens",
        "/V1/logins/a",
        "/v1/logins/a/Tokens",
        "/v2/logins/a",
        "/v1",
        "/v1/logins/a/../a",
        "/v1/logins/a/%2E%2E/tokens",
    ):
        reply = await api.call("GET", path)
        assert (reply.status, reply.reason) == (404, "not_found"), path


async def test_a_body_where_there_is_none_is_refused(api: Api) -> None:
    await api.keeper.add("a", api.fake.login("coinbase").token)
    for method, path in (
        ("GET", f"{LOGIN}/tokens"),
        ("GET", LOGIN),
        ("DELETE", LOGIN),
        ("GET", "/v1/logins"),
        ("DELETE", "/v1/brokers/coinbase/pause"),
    ):
        reply = await api.call(method, path, data=b"{}", headers=JSON)
        assert (reply.status, reply.reason) == (422, "invalid_request"), path
    assert (await api.call("DELETE", LOGIN, headers={"Content-Length": "0"})).status == 204


async def test_content_types(api: Api) -> None:
    """Another one is 415; none at all is taken for JSON, and a body that is none is 422."""
    await api.keeper.add("a", api.fake.login("coinbase").token)
    body = json.dumps({"accountId": None}).encode()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"):
        reply = await api.call("POST", f"{LOGIN}/refresh", data=body, headers={"Content-Type": content_type})
        assert (reply.status, reply.reason) == (415, "unsupported_media_type"), content_type
    for packed in (gzip.compress(body), gzip.compress(body)[:-12], body):
        headers = {**JSON, "Content-Encoding": "gzip"}
        reply = await api.call("POST", f"{LOGIN}/refresh", data=packed, headers=headers)
        assert (reply.status, reply.reason) == (415, "unsupported_media_type")
    assert (await api.call("POST", f"{LOGIN}/refresh", data=body)).status == 200
    assert (await api.call("POST", f"{LOGIN}/refresh", data=b"", headers={"Content-Type": "text/plain"})).status == 200
    for wrong in (b"[]", b"{", b'{"accountId": "x", "accountId": "x"}', b'{"accountId": NaN}', b"\xff", b"[" * 60_000):
        reply = await api.call("POST", f"{LOGIN}/refresh", data=wrong, headers=JSON)
        assert (reply.status, reply.reason) == (422, "invalid_request")
    assert len(api.fake.requests) == 2


async def test_the_bodies_that_are_taken_where_the_service_is_mounted(api: Api) -> None:
    """The server there unpacks bodies, and takes larger ones."""
    parent = web.Application()
    parent.add_subapp("/mesh", make_app(api.served.guard, None, API_ROUTES))
    async with TestClient(TestServer(parent)) as client:
        for body, status, reason in (
            (gzip.compress(b" " * (65 << 10)), 413, "too_large"),
            (gzip.compress(b"{}"), 415, "unsupported_media_type"),
        ):
            headers = {**bearer(api.key), **JSON, "Content-Encoding": "gzip"}
            async with client.post(f"/mesh{LOGIN}/refresh", data=body, headers=headers) as response:
                assert response.status == status
                assert reason in await response.text()


async def test_nothing_of_a_request_comes_back(api: Api) -> None:
    """Wherever a secret was put by mistake."""
    secret = "planted-secret"
    await api.keeper.add("a", api.fake.login("coinbase").token)
    for method, path, body in (
        ("GET", f"/v1/logins/{secret}/tokens", None),
        ("GET", f"{LOGIN}/tokens?{secret}=1", None),
        ("GET", f"{LOGIN}/tokens?accountId={secret}", None),
        ("GET", f"{LOGIN}/tokens?validFor={secret}", None),
        ("GET", f"/v1/logins?cursor={secret}", None),
        ("GET", f"/v1/logins?state={secret}", None),
        ("GET", f"/v1/{secret}", None),
        (secret.upper(), LOGIN, None),
        ("POST", f"{LOGIN}/mfa", {secret: 1}),
        ("POST", f"{LOGIN}/mfa", {"code": secret}),
        ("POST", f"{LOGIN}/mfa", {"code": [secret]}),
        ("POST", f"{LOGIN}/tokens/rejected", {"version": secret}),
        ("PUT", LOGIN, {"brokerType": "coinbase", "refreshToken": [secret]}),
        ("PUT", LOGIN, {"brokerType": secret, "refreshToken": 1}),
        ("PUT", LOGIN, {"payload": {}, secret: secret}),
    ):
        options = {} if body is None else {"document": body}
        reply = await api.call(method, path, **options)  # type: ignore[arg-type]
        assert reply.status >= 400, path
        assert secret not in f"{reply.text} {dict(reply.headers)}".lower(), path

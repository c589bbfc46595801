"""Every route of a service, under every key that must not open it."""

import json
from datetime import UTC, datetime

import pytest

from mesh_refresh.service.access import Scope
from mesh_refresh.service.api.routes import API_ROUTES
from mesh_refresh.service.page.routes import PAGE_ROUTES
from mesh_refresh.service.web.routes import Door, Route
from mesh_refresh.testing import FakeMesh
from tests.service.serving import Served, bearer, make_key, serving

KEYED = [route for route in API_ROUTES if route.door is Door.KEY]


def path_of(route: Route) -> str:
    return route.path.replace("{loginId}", "a").replace("{brokerType}", "coinbase")


async def ask(served: Served, route: Route, headers: dict[str, str]) -> tuple[int, str, str | None]:
    """The status of the answer, its reason, and its challenge."""
    async with served.session.request(route.method, served.url + path_of(route), headers=headers) as response:
        text = await response.read()
        reason = json.loads(text).get("reason", "") if text else ""
        return response.status, reason, response.headers.get("WWW-Authenticate")


async def test_no_route_opens_without_its_key(fake: FakeMesh) -> None:
    """None, a wrong one, one that was revoked, an expired one, a key of every other scope, one that calls too often."""
    old, expired = make_key(name="old", expires=datetime(2020, 1, 1, tzinfo=UTC))
    _, revoked = make_key(name="revoked")
    busy, hurried = make_key(name="busy", rate=1e-6)
    single = {scope: make_key(scope, name=str(scope)) for scope in Scope}
    async with serving(fake, API_ROUTES, old, busy, *(kept for kept, _ in single.values())) as served:
        await served.keeper.add("a", fake.login("coinbase").token)
        served.access.find(hurried)  # its one request
        for route in KEYED:
            no_key = await ask(served, route, {})
            assert no_key == (401, "unauthorized", "Bearer"), route
            for wrong in ("mrk_wrong", revoked, expired):
                status, reason, challenge = await ask(served, route, bearer(wrong))
                assert (status, reason, challenge) == (401, "unauthorized", 'Bearer error="invalid_token"'), route
            assert (await ask(served, route, bearer(hurried)))[:2] == (429, "too_many_requests"), route
            assert (await ask(served, route, {"Cookie": f"session={single[Scope.READ][1]}"}))[0] == 401
            for scope, (_, key) in single.items():
                if scope is not route.scope:
                    assert (await ask(served, route, bearer(key)))[:2] == (403, "forbidden"), (route, scope)
        assert (await served.keeper.login("a")).accounts
        assert not fake.requests


async def test_a_login_outside_a_prefix_is_as_one_that_is_not_there(fake: FakeMesh) -> None:
    """On every route with a login id: the same answer, by the same ways of the keeper."""
    kept, key = make_key(name="all")
    narrow, prefixed = make_key(name="narrow", prefix="b")
    async with serving(fake, API_ROUTES, kept, narrow) as served:
        await served.keeper.add("a", fake.login("coinbase").token)
        for route in KEYED:
            if "{loginId}" not in route.path:
                expected = 200 if route.filters else 403
                assert (await ask(served, route, bearer(prefixed)))[0] == expected, route
                continue
            document = {"version": "0" * 43, "code": "123456"}
            for name in ("version", "code"):
                if not route.path.endswith({"version": "rejected", "code": "mfa"}[name]):
                    del document[name]
            answers = []
            for used, login in ((key, "not-there"), (prefixed, "a")):
                url = served.url + route.path.replace("{loginId}", login)
                async with served.session.request(
                    route.method, url, headers=bearer(used), json=document or None
                ) as response:
                    answers.append((response.status, await response.read()))
            if route.method == "PUT":
                assert json.loads(answers[1][1])["reason"] == "unknown_login"
            else:
                assert answers[0] == answers[1], route
        assert (await served.keeper.login("a")).accounts


@pytest.mark.parametrize("route", PAGE_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_of_the_page_takes_no_key_and_gives_no_tokens(route: Route) -> None:
    assert route.door in (Door.SESSION, Door.OPEN)
    assert route.scope not in (Scope.TOKENS, Scope.ADD)

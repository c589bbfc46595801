"""The document that describes the API is whole: every route, parameter, field, answer and reason."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from mesh_refresh.cli.sandbox.states import LOGINS
from mesh_refresh.keeper import AccountState, Reason
from mesh_refresh.service.api.fleet import openapi
from mesh_refresh.service.api.problems import ANSWERS
from mesh_refresh.service.api.routes import API_ROUTES
from mesh_refresh.service.web.routes import Door, Route
from mesh_refresh.version import VERSION
from tests.service.api.conftest import Api
from tests.service.api.test_states import ask_all

DOCUMENT: Mapping[str, Any] = json.loads(openapi())
COMPONENTS = DOCUMENT["components"]


def follow(part: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def operations() -> Iterator[tuple[str, str, Mapping[str, Any], list[Mapping[str, Any]]]]:
    """Each with its parameters, those of its path too."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
                yield method.upper(), path, operation, list(map(follow, parameters))


def reasons_of(response: Mapping[str, Any]) -> set[str]:
    schema = follow(response)["content"]["application/problem+json"]["schema"]
    return set(schema["allOf"][1]["properties"]["reason"]["enum"])


@pytest.mark.once
def test_each_route_is_described_with_its_scope() -> None:
    described = {(method, path): operation for method, path, operation, _ in operations()}
    assert described.keys() == {(route.method, route.path) for route in API_ROUTES}
    for route in API_ROUTES:
        security = [] if route.door is Door.OPEN else [{"accessKey": [str(route.scope)]}]
        assert described[route.method, route.path]["security"] == security
    names = [operation["operationId"] for operation in described.values()]
    assert len(set(names)) == len(names)
    assert DOCUMENT["info"]["version"] == VERSION


def options_of(route: Route) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The parameters and fields that the handler takes."""
    cells = dict(zip(route.handler.__code__.co_freevars, route.handler.__closure__ or (), strict=True))
    return cells["query"].cell_contents, cells["fields"].cell_contents


@pytest.mark.once
def test_each_parameter_and_field_is_described() -> None:
    routes = {(route.method, route.path): route for route in API_ROUTES if route.door is Door.KEY}
    for method, path, operation, parameters in operations():
        if (method, path) not in routes:
            continue
        query, fields = options_of(routes[method, path])
        assert {it["name"] for it in parameters if it["in"] == "query"} == set(query), path
        assert {f"{{{it['name']}}}" for it in parameters if it["in"] == "path"} == {
            part for part in path.split("/") if part.startswith("{")
        }
        body: Any = operation.get("requestBody")
        if fields == ():
            assert body is None, path
        elif fields is not None:
            schema = body["content"]["application/json"]["schema"]
            assert set(schema["properties"]) == set(fields), path
            assert schema["additionalProperties"] is False
            assert body["required"] == bool(schema["required"])


@pytest.mark.once
def test_each_reason_is_described() -> None:
    """Those of errors, at the routes that can raise them, and those of the guard at each."""
    told: set[str] = set()
    for _, path, operation, _ in operations():
        responses = operation["responses"]
        found = {status: reasons_of(response) for status, response in responses.items() if int(status) >= 400}
        told |= set().union(*found.values())
        if operation["security"]:
            assert found["401"] == {"unauthorized"}
            assert found["403"] == {"forbidden", "wrong_host"}
            assert found["429"] == {"too_many_requests"}
            assert found["503"] >= {"not_ready", "stopping", "store_unavailable"}
        if "requestBody" in operation:
            assert {"413", "415"} <= responses.keys()
        if "{loginId}" in path:
            assert "unknown_login" in found["404"]
        for response in map(follow, responses.values()):
            assert response["description"]
    assert told >= {answer.reason for answer in ANSWERS.values()}


@pytest.mark.once
def test_each_schema_is_one() -> None:
    for name, schema in COMPONENTS["schemas"].items():
        OAS31Validator.check_schema(schema)
        assert schema["description"], name
    text = json.dumps(DOCUMENT)
    used = {text.split('"', 1)[0] for text in text.split('"$ref": "')[1:]}
    assert used == {
        f"#/components/{kind}/{name}" for kind in ("schemas", "parameters", "responses") for name in COMPONENTS[kind]
    }
    assert COMPONENTS["schemas"]["Account"]["properties"]["state"]["enum"] == list(AccountState)
    assert COMPONENTS["schemas"]["Account"]["properties"]["reason"]["enum"] == [*Reason, None]
    assert COMPONENTS["schemas"]["Problem"]["properties"]["why"]["enum"] == [*Reason, None]


async def test_answers_are_as_described_in_each_state(states: Api) -> None:
    """To the last name: a field that no document describes is a mistake."""
    paths = ("tokens", "", "tokens/rejected", "mfa", "mfa/restart", "tokens/rejected", "refresh", None, "")
    methods = ("GET", "GET", "POST", "POST", "POST", "POST", "POST", "GET", "DELETE")
    described = {(method, path): operation for method, path, operation, _ in operations()}
    for login_id in LOGINS:
        for reply, method, path in zip(await ask_all(states, login_id), methods, paths, strict=True):
            where = "/v1/logins" if path is None else f"/v1/logins/{{loginId}}/{path}".rstrip("/")
            check(reply, described[method, where])
    for name in ("summary", "brokers"):
        check(await states.call("GET", f"/v1/{name}"), described["GET", f"/v1/{name}"])


def check(reply: Any, operation: Mapping[str, Any]) -> None:
    response = follow(operation["responses"][str(reply.status)])
    if reply.status == 204:
        assert not reply.text
        return
    schema = response["content"][reply.headers["Content-Type"]]["schema"]
    whole = {**schema, "components": COMPONENTS}
    errors = [f"{list(error.path)}: {error.message}" for error in OAS31Validator(whole).iter_errors(reply.body)]
    assert not errors, operation["operationId"]
    for header, described in response.get("headers", {}).items():
        assert header in reply.headers or not described["required"]

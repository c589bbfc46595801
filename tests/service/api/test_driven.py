"""Whatever schemathesis makes of the document is answered as that says, and no answer has a refresh token.

``nox -s api`` makes a hundred times as many requests.
"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from attrs import define
from schemathesis import checks

from mesh_refresh.cli.sandbox.states import LOGINS, add_logins
from mesh_refresh.testing.model.ledger import TokenKind
from tests.examples import bounded
from tests.service.api.conftest import Api, serve_api
from tests.service.api.test_openapi import DOCUMENT

checks.load_all_checks()

pytestmark = pytest.mark.once
_CHECKS: list[Any] = [
    checks.CHECKS.get_one(f"{name}_conformance")
    for name in ("status_code", "content_type", "response_schema", "response_headers")
]
SCHEMA = schemathesis.openapi.from_dict(dict(DOCUMENT))
KNOWN = ("added", *LOGINS)


@define(eq=False)
class Driven:
    """A service in a thread of its own: schemathesis is synchronous."""

    api: Api
    loop: asyncio.AbstractEventLoop
    turn: int = 0

    def add(self) -> dict[str, Any]:
        """Adds a login that may be removed, and gives its payload."""

        async def add() -> dict[str, Any]:
            login = self.api.fake.login("coinbase")
            await self.api.keeper.add("added", login.token)
            return login.link_payload()

        return asyncio.run_coroutine_threadsafe(add(), self.loop).result(30)

    def resume(self) -> None:
        asyncio.run_coroutine_threadsafe(self.api.keeper.resume(), self.loop).result(30)

    @property
    def secrets(self) -> list[str]:
        """Every refresh token that was ever issued."""
        issued = self.api.fake.ledger.tokens
        return [value for value, token in issued.items() if token.kind is TokenKind.REFRESH]


@pytest.fixture(scope="module")
def driven() -> Iterator[Driven]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = serve_api()

    async def enter() -> Api:
        api = await served.__aenter__()
        await add_logins(api.fake, api.keeper, api.store)
        return api

    yield Driven(asyncio.run_coroutine_threadsafe(enter(), loop).result(30), loop)
    asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@SCHEMA.parametrize()
@bounded(5)
def test_requests_are_answered_as_described(case: schemathesis.Case[Any], driven: Driven) -> None:
    """Most are about the logins in each state; the others about whatever schemathesis thinks of."""
    driven.turn += 1
    method = case.method.upper()
    if "loginId" in case.path_parameters and driven.turn % 3:
        destroys = method in ("PUT", "DELETE")
        case.path_parameters["loginId"] = "added" if destroys else KNOWN[driven.turn % len(KNOWN)]
        payload = driven.add()
        if method == "PUT" and driven.turn % 2:
            case.body = payload
    response = case.call(base_url=driven.api.served.url, headers={"Authorization": f"Bearer {driven.api.key}"})
    case.validate_response(response, checks=_CHECKS)
    assert response.status_code != 500 or response.json()["reason"] == "login_unreadable"
    said = f"{response.text} {dict(response.headers)}"
    assert not [secret for secret in driven.secrets if secret in said]
    if case.path.endswith("/pause"):
        driven.resume()

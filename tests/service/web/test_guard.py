"""Who is let in to a route: by key, scope, prefix and rate; who may wait, and how waiting ends."""

import asyncio
import io
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientResponse, web

from mesh_refresh.keeper import UnknownLogin
from mesh_refresh.service.access import Scope
from mesh_refresh.service.access.caller import caller_of
from mesh_refresh.service.web.requests import keeper_of
from mesh_refresh.service.web.routes import LARGE_BODY, SMALL_BODY, Door, Route
from mesh_refresh.testing import FakeMesh
from tests.service.serving import Served, bearer, make_key, serving


async def show(request: web.Request) -> web.Response:
    """Who calls, and how much came."""
    caller = caller_of(request)
    assert not keeper_of(request).health().in_flight
    body = await request.read()
    return web.json_response({"key": caller.key, "size": len(body), "id": caller.request_id, "from": caller.address})


TABLE = (
    Route("GET", "/v1/all", show, Scope.READ),
    Route("GET", "/v1/filtered", show, Scope.READ, filters=True),
    Route("POST", "/v1/logins/{loginId}", show, Scope.OPERATE),
    Route("PUT", "/v1/logins/{loginId}", show, Scope.ADD, body_limit=LARGE_BODY),
    Route("GET", "/open", lambda _: answer("open"), door=Door.OPEN),
)


async def answer(text: str) -> web.Response:
    return web.Response(text=text)


async def refused(response: ClientResponse, status: int, reason: str) -> dict[str, object]:
    """The members of a problem."""
    assert response.status == status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-Id"]
    assert "Server" not in response.headers
    problem: dict[str, object] = json.loads(await response.read())
    assert (problem["status"], problem["reason"]) == (status, reason)
    return problem


async def test_a_route_opens_to_a_key_with_its_scope(fake: FakeMesh) -> None:
    right, key = make_key(Scope.READ)
    async with serving(fake, TABLE, right) as served:
        async with served.session.get(f"{served.url}/v1/all", headers=bearer(key)) as response:
            found = await response.json()
        assert (found["key"], found["size"], found["from"]) == ("caller", 0, "127.0.0.1")
        assert found["id"] == response.headers["X-Request-Id"]
        async with served.session.post(f"{served.url}/v1/logins/a", headers=bearer(key)) as response:
            problem = await refused(response, 403, "forbidden")
        assert "operate" in str(problem["detail"])
        assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="operate"'
        async with served.session.get(f"{served.url}/open") as response:
            assert await response.text() == "open"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer mrk_planted"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic mrk_planted"},
        {"Authorization": "mrk_planted"},
        {"Authorization": "Bearer mrk_pl\xe4nted"},
        {"Cookie": "session=mrk_planted"},
    ],
)
async def test_without_a_key_of_ours_nothing_opens(
    headers: dict[str, str], fake: FakeMesh, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(fake, TABLE, make_key()[0]) as served:
        for _ in range(3):
            async with served.session.get(f"{served.url}/v1/all", headers=headers) as response:
                await refused(response, 401, "unauthorized")
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert served.access.failures == 3
    told = [record for record in caplog.records if record.getMessage() == "a caller was refused"]
    assert [vars(record)["failures"] for record in told] == [1]  # once a second
    assert "nted" not in str([vars(record) for record in caplog.records])


async def test_a_key_ends(fake: FakeMesh) -> None:
    late, key = make_key(expires=datetime.now(UTC) - timedelta(seconds=1))
    async with (
        serving(fake, TABLE, late) as served,
        served.session.get(served.url + "/v1/all", headers=bearer(key)) as r,
    ):
        assert "expired" in str((await refused(r, 401, "unauthorized"))["detail"])


async def test_a_key_calls_as_often_as_it_may(fake: FakeMesh) -> None:
    slow, key = make_key(rate=0.001)
    async with serving(fake, TABLE, slow) as served:
        async with served.session.get(f"{served.url}/v1/all", headers=bearer(key)) as response:
            assert response.status == 200
        async with served.session.get(f"{served.url}/v1/all", headers=bearer(key)) as response:
            await refused(response, 429, "too_many_requests")
        assert 990 <= int(response.headers["Retry-After"]) <= 1000


async def test_a_key_with_a_prefix_opens_what_is_of_logins(fake: FakeMesh) -> None:
    narrow, key = make_key(prefix="team-a/")
    async with serving(fake, TABLE, narrow) as served:
        for path, status in {"all": 403, "filtered": 200}.items():
            async with served.session.get(f"{served.url}/v1/{path}", headers=bearer(key)) as response:
                assert response.status == status
        async with served.session.get(f"{served.url}/metrics", headers={**bearer(key), "Via": "proxy"}) as response:
            await refused(response, 403, "forbidden")


@pytest.mark.parametrize(("method", "limit"), [("POST", SMALL_BODY), ("PUT", LARGE_BODY)])
async def test_a_body_has_a_limit(method: str, limit: int, fake: FakeMesh) -> None:
    right, key = make_key()
    async with serving(fake, TABLE, right) as served:
        for size, status in ((limit, 200), (limit + 1, 413)):
            async with served.session.request(
                method, f"{served.url}/v1/logins/a", headers=bearer(key), data=io.BytesIO(b"x" * size)
            ) as response:
                assert response.status == status
                if status == 413:
                    await refused(response, 413, "too_large")


async def test_what_aiohttp_refuses_is_a_problem_too(fake: FakeMesh) -> None:
    async with serving(fake, TABLE) as served:
        async with served.session.get(f"{served.url}/v2") as response:
            await refused(response, 404, "not_found")
        async with served.session.delete(f"{served.url}/v1/logins/a") as response:
            await refused(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "POST,PUT"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "a:b:c"])
async def test_a_host_of_others_is_refused(host: str, fake: FakeMesh) -> None:
    right, key = make_key()
    async with serving(fake, TABLE, right, hosts=frozenset({"refresh.example"})) as served:
        for path in ("/v1/all", "/open", "/nowhere"):
            headers = {**bearer(key), "Host": host}
            async with served.session.get(served.url + path, headers=headers) as response:
                await refused(response, 403, "wrong_host")
        headers = {**bearer(key), "Host": "Refresh.example:443"}
        async with served.session.get(f"{served.url}/v1/all", headers=headers) as response:
            assert response.status == 200


async def test_a_request_id_is_taken_if_it_is_plain(fake: FakeMesh) -> None:
    async with serving(fake, TABLE) as served:
        for given, taken in {"7f-A.b:c/d+e=@_": True, "a b": False, "": False, "x" * 129: False, "a;b": False}.items():
            async with served.session.get(f"{served.url}/open", headers={"X-Request-Id": given}) as response:
                assert (response.headers["X-Request-Id"] == given) is taken


async def test_a_bug_shows_nothing(fake: FakeMesh, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise ZeroDivisionError("planted")

    async with (
        serving(fake, [Route("GET", "/fails", fail, door=Door.OPEN)]) as served,
        served.session.get(f"{served.url}/fails") as response,
    ):
        assert "planted" not in str(await refused(response, 500, "internal"))
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert vars(record)["error"] == "ZeroDivisionError"
    assert "planted" not in str(vars(record))


# Waiting and ending.


class Waiting:
    """A handler that waits until it may go on."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.ended = asyncio.Semaphore(0), asyncio.Event(), asyncio.Semaphore(0)

    async def __call__(self, _: web.Request) -> web.Response:
        self.begun.release()
        try:
            await self.go_on.wait()
        finally:
            self.ended.release()
        return web.Response(text="done")

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/waits", self, Scope.TOKENS, waits=True),
            Route("POST", "/changes", self, Scope.OPERATE, waits=True, finishes=True),
        ]


async def call(served: Served, method: str, path: str, key: str) -> tuple[int, str, str]:
    """Status, ``Retry-After`` and body of an answer."""
    async with served.session.request(method, served.url + path, headers=bearer(key)) as response:
        return response.status, response.headers.get("Retry-After", ""), await response.text()


async def test_too_many_calls_that_wait_are_refused(fake: FakeMesh) -> None:
    (right, key), waiting = make_key(), Waiting()
    async with serving(fake, [*waiting.routes(), *TABLE], right) as served:
        served.guard.most_waiting = 2
        calls = [asyncio.create_task(call(served, *what, key)) for what in (("GET", "/waits"), ("POST", "/changes"))]
        for _ in calls:
            await waiting.begun.acquire()
        status, retry_after, text = await call(served, "GET", "/waits", key)
        assert (status, json.loads(text)["reason"]) == (503, "busy")
        assert retry_after in ("3", "4")
        assert (await call(served, "GET", "/v1/all", key))[0] == 200
        waiting.go_on.set()
        assert [await one for one in calls] == [(200, "", "done")] * 2
        assert (await call(served, "GET", "/waits", key))[0] == 200


async def test_the_end_breaks_off_waiting_and_no_change(fake: FakeMesh) -> None:
    (right, key), waiting = make_key(), Waiting()
    async with serving(fake, [*waiting.routes(), *TABLE], right) as served:
        asking = asyncio.create_task(call(served, "GET", "/waits", key))
        changing = asyncio.create_task(call(served, "POST", "/changes", key))
        for _ in range(2):
            await waiting.begun.acquire()
        stopping = asyncio.create_task(served.guard.stop())
        status, retry_after, text = await asking
        assert (status, retry_after, json.loads(text)["reason"]) == (503, "1", "stopping")
        assert json.loads((await call(served, "GET", "/v1/all", key))[2])["reason"] == "stopping"
        assert not stopping.done()
        waiting.go_on.set()
        assert await changing == (200, "", "done")
        await stopping


async def test_a_caller_who_hangs_up_ends_its_wait_and_no_change(fake: FakeMesh) -> None:
    (right, key), waiting = make_key(), Waiting()
    async with serving(fake, waiting.routes(), right) as served:
        for method, path in (("GET", "/waits"), ("POST", "/changes")):
            asking = asyncio.create_task(call(served, method, path, key))
            await waiting.begun.acquire()
            asking.cancel()
            if method == "POST":
                await asyncio.gather(asking, return_exceptions=True)
                waiting.go_on.set()
            await waiting.ended.acquire()
        await served.guard.stop()


async def test_before_the_keeper_works_calls_are_told_to_come_again(fake: FakeMesh) -> None:
    right, key = make_key()
    async with serving(fake, TABLE, right) as served:
        served.guard.probes.keeper = None
        status, retry_after, text = await call(served, "GET", "/v1/all", key)
        assert (status, json.loads(text)["reason"]) == (503, "not_ready")
        assert retry_after in ("3", "4")


async def test_a_login_outside_the_prefix_is_masked(fake: FakeMesh) -> None:
    """A keeper answers for it what it answers for a login that is not there."""

    async def ask(request: web.Request) -> web.Response:
        login_id = request.match_info["loginId"]
        assert caller_of(request).sees(login_id) is login_id.startswith("a")
        with pytest.raises(UnknownLogin):
            await keeper_of(request).login(caller_of(request).masked(login_id))
        return web.Response()

    narrow, key = make_key(prefix="a")
    async with serving(fake, [Route("GET", "/{loginId}", ask, Scope.READ)], narrow) as served:
        await served.keeper.add("b", fake.login("coinbase").tokens)
        for login_id in "ab":
            assert (await call(served, "GET", f"/{login_id}", key))[0] == 200

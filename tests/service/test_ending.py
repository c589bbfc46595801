"""A service that ends, loses its store or is halted under its callers: no token is lost, and 503 says when to come."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mesh_refresh.cli.fleet.support.logs import logging_to_stderr
from mesh_refresh.service.access import Scope
from mesh_refresh.service.access.caller import Caller
from mesh_refresh.service.api.routes import API_ROUTES
from mesh_refresh.service.audit import audit
from mesh_refresh.stores import MemoryStore, Row, StoreUnavailable
from mesh_refresh.testing import FakeMesh
from tests.service.serving import Served, bearer, make_key, serving

A = "/v1/logins/a"


class StoreAway(MemoryStore):
    """Cannot be read while it is away."""

    is_away = False

    async def read(self, login_id: str) -> Row | None:
        if self.is_away:
            raise StoreUnavailable
        return await super().read(login_id)


async def call(served: Served, key: str, method: str, path: str, **body: str) -> tuple[int, str | None, str | None]:
    """The status of the answer, its reason and ``Retry-After``."""
    headers = {**bearer(key), "X-Request-Id": "the-request"}
    async with served.session.request(method, served.url + path, headers=headers, json=body or None) as response:
        text = await response.read()
        reason = json.loads(text).get("reason") if text else None
        return response.status, reason, response.headers.get("Retry-After")


@asynccontextmanager
async def api(fake: FakeMesh, store: MemoryStore) -> AsyncIterator[tuple[Served, str]]:
    kept, key = make_key(name="all")
    async with serving(fake, API_ROUTES, kept, store=store) as served:
        yield served, key


async def lost(fake: FakeMesh, store: MemoryStore) -> list[object]:
    """What is lost if the store is all that is held."""
    login = await store.get("a")
    assert login is not None
    return list(fake.lost(account.tokens for account in login.accounts))


async def test_a_caller_who_waits_at_the_end_is_sent_away_and_its_exchange_goes_on(fake: FakeMesh) -> None:
    store, gate = MemoryStore(), fake.hold(after_rotation=True)
    async with api(fake, store) as (served, key):
        await served.keeper.add("a", fake.login("coinbase").token)
        waiting = [asyncio.create_task(call(served, key, "POST", f"{A}/refresh")) for _ in range(3)]
        await gate.entered.wait()
        await served.guard.stop()
        assert [await one for one in waiting] == [(503, "stopping", "1")] * 3
        assert await call(served, key, "GET", f"{A}/tokens") == (503, "stopping", "1")
        gate.release()
    assert not await lost(fake, store)
    assert len(fake.requests) == 1


async def test_a_code_that_is_under_way_at_the_end_has_its_answer(fake: FakeMesh) -> None:
    store = MemoryStore()
    async with api(fake, store) as (served, key):
        login = fake.login("vanguard", mfa=True)
        await served.keeper.add("a", login.token)
        assert (await call(served, key, "POST", f"{A}/refresh"))[:2] == (409, "mfa_pending")
        gate = fake.hold(after_rotation=True)
        typing = asyncio.create_task(call(served, key, "POST", f"{A}/mfa", code=login.code))
        await gate.entered.wait()
        ending = asyncio.create_task(served.guard.stop())
        await asyncio.sleep(0)
        gate.release()
        assert (await typing)[0] == 200
        await ending
    assert not await lost(fake, store)


async def test_from_the_signal_on_connections_are_closed_behind_each_answer(fake: FakeMesh) -> None:
    """So that a balancer that keeps connections sends its next call elsewhere."""
    async with api(fake, MemoryStore()) as (served, key):
        for is_ending in (False, True):
            served.guard.probes.is_ending = is_ending
            async with served.session.get(f"{served.url}/v1/logins", headers=bearer(key)) as response:
                assert response.status == 200
                assert (response.headers.get("Connection") == "close") is is_ending


async def test_without_its_store_calls_are_told_to_come_again(fake: FakeMesh) -> None:
    """There is no cache of tokens."""
    store = StoreAway()
    async with api(fake, store) as (served, key):
        await served.keeper.add("a", fake.login("coinbase").token)
        assert (await call(served, key, "GET", f"{A}/tokens"))[0] == 200
        store.is_away = True
        for path in (A, f"{A}/tokens?maxWait=100ms"):
            status, reason, retry_after = await call(served, key, "GET", path)
            assert (status, reason) == (503, "store_unavailable")
            assert int(retry_after or 0) >= 1
        async with served.session.get(f"{served.url}/livez") as response:
            assert response.status == 200
        store.is_away = False
        assert (await call(served, key, "GET", f"{A}/tokens"))[0] == 200


async def test_where_all_is_halted_stored_tokens_are_given(fake: FakeMesh) -> None:
    """Mesh refuses the keys of the client: what needs no exchange is answered, and the process stays ready."""
    async with api(fake, MemoryStore()) as (served, key):
        await served.keeper.add("a", fake.login("coinbase").token)
        fake.client_secret = "another"
        status, _, _ = await call(served, key, "POST", f"{A}/refresh")
        assert status in (502, 503)
        assert served.keeper.health().halted
        assert (await call(served, key, "POST", f"{A}/refresh"))[:2] == (503, "not_ready")
        assert (await call(served, key, "GET", f"{A}/tokens"))[0] == 200
        async with served.session.get(f"{served.url}/readyz") as response:
            assert response.status == 200


# The audit.


async def test_an_answer_with_tokens_is_a_line_of_the_audit(fake: FakeMesh, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with api(fake, MemoryStore()) as (served, key):
        await served.keeper.add("a", fake.login("coinbase").token)
        await call(served, key, "GET", f"{A}/tokens")
    (record,) = [record for record in caplog.records if record.name == "mesh_refresh.audit"]
    told = {name: vars(record)[name] for name in ("key", "verb", "outcome", "login", "request", "address")}
    assert told == {
        "key": "all",
        "verb": "tokens",
        "outcome": "done",
        "login": "a",
        "request": "the-request",
        "address": "127.0.0.1",
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_the_audit_is_never_silent_and_no_id_forges_a_line(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    caller = Caller("bob", frozenset(Scope), "", "the-request", "10.0.0.1")
    odd = 'a\n2026 INFO audit  key=eve outcome="done"\u202e\x1b[1m\udcff %'
    with logging_to_stderr(as_json=as_json, quiet=True):
        logging.getLogger("mesh_refresh.service").info("silenced")
        audit(caller, "remove", "done", login=odd, account="é/b")
    (line,) = capsys.readouterr().err.splitlines()
    assert "login%20" not in line
    assert "a%0A2026%20INFO%20audit%20%20key%3Deve%20outcome%3D%22done%22%E2%80%AE%1B[1m%5Cudcff%20%25" in line
    assert "%C3%A9%2Fb" in line
    if not as_json:
        assert line.endswith(" request=the-request address=10.0.0.1")
        assert line.count("key=") == 1

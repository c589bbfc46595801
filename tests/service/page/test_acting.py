"""What can be done on the page, tried over HTTP, without a browser."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest
from aiohttp import web
from attrs import evolve

from mesh_refresh.keeper import AccountState, Moving, Way
from mesh_refresh.service.page.routes import PAGE_ROUTES
from mesh_refresh.service.service import Service
from mesh_refresh.service.web.addresses import parse_address
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.stores import BrokerPause, Cipher, MemoryStore, StoreUnavailable
from mesh_refresh.stores.sealing import row_of
from tests.service.page.fleet import Person, Shown, park, showing


@pytest.fixture
async def shown() -> AsyncIterator[Shown]:
    async with showing() as shown:
        await shown.keeper.add("a", shown.fake.login("coinbase").token)
        yield shown


def audited(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Verb and outcome of each line of the audit."""
    lines = [record for record in caplog.records if record.name == "mesh_refresh.audit"]
    assert all(record.__dict__["key"] == "dana" for record in lines)
    return [(record.__dict__["verb"], record.__dict__["outcome"]) for record in lines]


async def test_a_code_renews_a_login(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong one leaves the question open. Neither is shown again."""
    caplog.set_level(logging.INFO)
    code = await park(shown)
    async with shown.person(shown.key()) as person:
        await person.get("/logins/v-1")
        assert "Waiting for an MFA code" in person.text
        wrong = await person.post("/logins/v-1/mfa", code="000000", pending=pending_of(person))
        assert wrong.status == 422
        assert "did not take this code" in person.text
        assert "Problem: Login v-1" in person.html
        right = await person.post("/logins/v-1/mfa", code=f" {code} ", pending=pending_of(person))
        assert (right.status, right.url.path) == (200, "/logins/~di0x")
        assert "The broker took the code" in person.text
        again = await person.post("/logins/v-1/mfa", code=code)
        assert again.status == 409
    assert (await shown.keeper.login("v-1")).state is AccountState.ACTIVE
    expected = [("sign_in", "done"), ("mfa", "code_refused"), ("mfa", "done"), ("mfa", "code_not_wanted")]
    assert audited(caplog) == expected
    assert code not in caplog.text


def pending_of(person: Person) -> str:
    return person.html.partition('name="pending" value="')[2].partition('"')[0]


async def test_a_new_code_and_a_refresh(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await park(shown)
    before = (await shown.keeper.login("v-1")).accounts[0].pending
    async with shown.person(shown.key()) as person:
        assert (await person.post("/logins/v-1/mfa/restart")).status == 200
        after = (await shown.keeper.login("v-1")).accounts[0].pending
        assert before is not None
        assert after is not None
        assert before.id != after.id
        assert (await person.post("/logins/a/refresh")).status == 200
        assert "was refreshed" in person.text
        assert (await person.post("/logins/nobody/refresh")).status == 404
    assert (await shown.keeper.login("a")).accounts[0].refreshed_at is not None
    expected = [("sign_in", "done"), ("mfa_restart", "done"), ("refresh", "done"), ("refresh", "unknown_login")]
    assert audited(caplog) == expected


async def test_a_pause_has_a_note_and_a_name(shown: Shown) -> None:
    """All can read both; it ends by hand. A pause of all brokers is another one."""
    async with shown.person(shown.key()) as person:
        assert (await person.post("/brokers/~Y29pbmJhc2U/pause", note=" maintenance ")).status == 200
        pause = (await shown.keeper.pauses())["coinbase"]
        assert (pause.note, pause.by) == ("maintenance", "dana")
        assert "Paused now by dana Note maintenance" in person.text
        assert (await person.post("/brokers/~Kg/pause")).status == 200
        assert (await shown.keeper.pauses()).keys() == {"*", "coinbase"}
        for segment in ("~Kg", "coinbase"):
            assert (await person.post(f"/brokers/{segment}/resume")).status == 200
        assert await shown.keeper.pauses() == {}


async def test_a_login_that_is_late_says_why(shown: Shown) -> None:
    """Its broker is paused: that it is kept fresh would be wrong."""
    token = shown.fake.login("kraken").token
    await shown.keeper.add("late", evolve(token, expires_at=shown.keeper.now() - timedelta(hours=1)))
    async with shown.person(shown.key()) as person:
        for broker in ("*", "kraken"):
            await shown.keeper.pause(broker, note="hush", by="robin")
            shown.page.forget()
            for path in ("/logins", "/logins/late"):
                await person.get(path)
                assert "Exchanges of its broker are paused." in person.text
                assert "hush" not in person.text
            assert "Kept fresh" not in person.text
            await shown.keeper.resume(broker)


async def test_a_login_is_removed_by_its_id(shown: Shown) -> None:
    """Typed, so that no slip of a finger does it."""
    async with shown.person(shown.key()) as person:
        for typed in ("", "b", "A"):
            assert (await person.post("/logins/a/remove", typed=typed)).status == 422
            assert "Nothing was removed" in person.text
        assert (await person.post("/logins/a/remove", typed="a")).status == 200
        assert "The login was removed" in person.text
        assert (await person.get("/logins/a")).status == 404
        assert (await person.post("/logins/a/remove", typed="a")).status == 404


async def test_a_login_is_found_by_its_id(shown: Shown) -> None:
    """Any text is an id; blanks around it come from copying."""
    ids = ("a/b?c=d&e#f", "~x", "..", " ", "100%", "ü\u202e\0")
    for login_id in ids:
        await shown.keeper.add(login_id, shown.fake.login("coinbase").token)
    async with shown.person(shown.key()) as person:
        for login_id in ids:
            found = await person.get("/logins", params={"id": login_id})
            assert (found.status, found.url.path.startswith("/logins/~")) == (200, True)
            assert (await person.post(f"{found.url.raw_path}/refresh")).status == 200
        assert (await person.get("/logins", params={"id": " 100% "})).url.path.startswith("/logins/~")
        assert (await person.get("/logins", params={"id": "b"})).status == 404
        assert "There is no login with this id" in person.text
        assert "no logins yet" not in person.text
        for path in ("/logins/~%%%", "/logins/~a", "/logins/%ff", "/logins/%2Fetc"):
            assert (await person.get(path)).status in (404, 422)


async def test_a_list_goes_on_page_by_page(shown: Shown) -> None:
    """By state and broker; each login once."""
    await shown.keeper.add_many([(f"n-{n:03}", shown.fake.login("kraken").token) for n in range(120)])
    async with shown.person(shown.key()) as person:
        await person.get("/logins?broker=kraken&state=active")
        seen = 0
        for expected in (50, 50, 20):
            assert person.html.count('<th scope="row">') == expected
            seen += expected
            path = person.html.partition('<a rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
            await person.get(path or "/logins?state=unreadable")
        assert "No login matches" in person.text
        assert (await person.get("/logins?state=odd")).status == 422


async def test_a_login_that_does_not_open_is_there(shown: Shown) -> None:
    """Its page says so, and hides no other one."""
    row = await shown.store.read("a")
    assert row is not None
    other = Cipher([Cipher.generate_key()])
    assert await shown.store.swap(evolve(row, sealed=other.seal("{}", "login:a")))
    await shown.keeper.add("b", shown.fake.login("coinbase").token)
    async with shown.person(shown.key()) as person:
        await person.get("/logins")
        assert "Does not open" in person.text
        assert (await person.get("/logins/a")).status == 200
        assert "No key at hand opens this login" in person.text
        assert "Refresh now" not in person.text


class Away(MemoryStore):
    """Can be away."""

    is_away = False

    async def paused(self) -> dict[str, BrokerPause]:
        if self.is_away:
            raise StoreUnavailable
        return await super().paused()


async def test_the_store_is_away() -> None:
    """The page says so, in place of figures that were right once."""
    store = Away(cipher=Cipher([Cipher.generate_key()]))
    async with showing(store) as shown, shown.person(shown.key()) as person:
        store.is_away = True
        shown.page.forget()
        response = await person.get("/")
        assert (response.status, "Retry-After" in response.headers) == (503, True)
        assert "The store does not answer" in person.text
        store.is_away = False
        shown.page.forget()
        assert (await person.get("/")).status == 200


class Counted(MemoryStore):
    """Counts how often it is asked."""

    asked = 0

    async def paused(self) -> Mapping[str, BrokerPause]:  # type: ignore[override]
        type(self).asked += 1
        return await super().paused()


async def test_however_many_look_the_store_is_asked_once() -> None:
    """Within a few seconds, and again after somebody has changed something."""
    async with showing(Counted(cipher=Cipher([Cipher.generate_key()]))) as shown, shown.person(shown.key()) as person:
        shown.page.forget()
        before = Counted.asked
        await asyncio.gather(*(person.get("/", headers={"X-Live": "1"}) for _ in range(10)))
        assert Counted.asked - before == 1
        await person.post("/brokers/coinbase/pause")
        assert Counted.asked - before == 2


async def test_the_page_mounted_in_another_application(shown: Shown) -> None:
    """Each link stays below its path."""
    outer = web.Application()
    outer.add_subapp("/mesh/fleet", Service(shown.keeper, shown.access).app)
    async with Listening(outer, parse_address("127.0.0.1:0")) as listening, shown.person() as person:
        person.url = f"http://{listening.addresses[0]}"
        first = await person.get("/mesh/fleet/")
        assert first.url.path == "/mesh/fleet/sign-in"
        data = {"form": person.token, "key": shown.key(), "to": "/logins"}
        second = await person.session.post(
            f"{person.url}/mesh/fleet/sign-in", data=data, headers={"Origin": person.url}
        )
        person.html = await second.text()
        assert second.url.path == "/mesh/fleet/logins"
        await person.get("/mesh/fleet/logins")
        assert (await person.get("/mesh/fleet/page.css")).status == 200
        assert (await person.get("/mesh/fleet/")).status == 200
        assert 'href="/mesh/fleet/logins"' in person.html
        assert (await person.post("/mesh/fleet/brokers/coinbase/pause", note="x")).url.path == "/mesh/fleet/"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=form\r\n\r\nx"),
        ("multipart/form-data; boundary=b", b"--b\r\nbroken"),
        ("multipart/form-data; boundary=" + "b" * 200, b"--b--"),
        ("application/x-www-form-urlencoded; charset=no-such", b"form=x"),
        ("application/x-www-form-urlencoded", b"form=\xff%ff&form&&=;"),
        ("application/json", b'{"form": "x"}'),
        ("text/plain", b"form=x"),
        ("nonsense", b""),
    ],
)
async def test_damaged_forms(shown: Shown, kind: str, body: bytes) -> None:
    """Are no forms of this page, and no bugs of it."""
    headers = {"Origin": shown.url, "Content-Type": kind}
    async with shown.person(shown.key()) as person:
        for path in ("/sign-in", "/logins/a/refresh", "/logins/a/remove", "/brokers/coinbase/pause", "/sign-out"):
            response = await person.session.post(shown.url + path, data=body, headers=headers)
            assert response.status in (400, 403), (path, await response.text())
        huge = await person.session.post(
            shown.url + "/sign-in", data={"form": "x" * 70_000}, headers={"Origin": shown.url}
        )
        assert huge.status == 413
        odd = {"Origin": "http://\udcff", "Cookie": "mesh_refresh_session=\udcff; mesh_refresh_form=%00"}
        assert (await person.session.post(shown.url + "/sign-in", headers=odd)).status == 403


async def test_a_login_that_has_moved(shown: Shown) -> None:
    """Says so, and has no buttons here."""
    login = await shown.keeper.login("a")
    moved = evolve(login, moving=Moving(Way.MOVED, other="other"))
    assert await shown.store.swap(row_of(shown.store.cipher, moved, shown.keeper.now()))
    async with shown.person(shown.key()) as person:
        for path in ("/logins", "/logins/a"):
            await person.get(path)
            assert "Moved" in person.text
        assert "was moved to another store" in person.text
        assert "Refresh now" not in person.text
        assert not {"Due", "Not tried before", "Not sent before"} & set(person.facts), "its home says when"


async def test_a_login_that_mesh_manages(shown: Shown) -> None:
    """Nothing of it ends, whatever end its token id was told with."""
    await shown.keeper.add("managed", shown.fake.login("acorns", token_ids=True, refreshable=False).token)
    async with shown.person(shown.key()) as person:
        await person.get("/logins/managed")
        assert "Kept fresh by Mesh" in person.text
        assert person.facts["Access token ends"] == person.facts["Refresh token ends"]


async def test_a_broker_that_nobody_has_is_not_paused(shown: Shown) -> None:
    async with shown.person(shown.key()) as person:
        await person.get("/")
        response = await person.post("/brokers/coinbse/pause", note="")
        assert response.status == 422
        assert "nothing was paused" in person.text
    assert not await shown.keeper.pauses()


async def test_head_and_other_methods(shown: Shown) -> None:
    async with shown.person(shown.key()) as person:
        for route in PAGE_ROUTES:
            path = path_without_names(route.path)
            other = "POST" if route.method == "GET" and path != "/sign-in" else "PUT"
            response = await person.session.request(other, shown.url + path, headers={"Origin": shown.url})
            assert response.status == 405, (other, path)


def path_without_names(path: str) -> str:
    return path.replace("{loginId}", "a").replace("{brokerType}", "coinbase").replace("{ticket}", "t")

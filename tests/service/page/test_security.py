"""Who sees the page, and who may do something there: tried over HTTP, as a browser and as an attacker would."""

import asyncio
import base64
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from aiohttp import ClientSession, DummyCookieJar
from attrs import evolve
from yarl import URL

from mesh_refresh import Tokens
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import Keeper
from mesh_refresh.service.access import Access, Scope
from mesh_refresh.service.page.routes import PAGE_ROUTES
from mesh_refresh.service.page.session import open_session, seal_session
from mesh_refresh.service.service import Service, make_guard, make_service_app
from mesh_refresh.service.web.addresses import parse_address
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.service.web.routes import Door, Route
from mesh_refresh.stores import MemoryStore
from mesh_refresh.stores.sealing import row_of
from mesh_refresh.testing import FakeMesh
from tests.service.page.fleet import Person, Shown, park, showing

COOKIE = "mesh_refresh_session"
CLOSED = [route for route in PAGE_ROUTES if route.door is Door.SESSION]
POSTS = [route for route in CLOSED if route.method == "POST" and route.path != "/sign-out"]


@pytest.fixture
async def shown() -> AsyncIterator[Shown]:
    async with showing() as shown:
        await shown.keeper.add("a", shown.fake.login("coinbase").token)
        yield shown


def path_of(route: Route, login_id: str = "a") -> str:
    return route.path.replace("{loginId}", login_id).replace("{brokerType}", "coinbase")


def take_cookie(person: Person, name: str = COOKIE) -> str:
    return person.session.cookie_jar.filter_cookies(URL(person.url))[name].value


def put_cookie(person: Person, value: str, name: str = COOKIE) -> None:
    person.session.cookie_jar.update_cookies({name: value}, URL(person.url))


async def is_in(person: Person) -> bool:
    """Whether the session opens the page."""
    return (await person.get("/", allow_redirects=False)).status == 200


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: f"{route.method} {route.path}")
async def test_without_a_session_there_is_the_form_alone(shown: Shown, route: Route) -> None:
    """Also with the access key in `Authorization`: that is for the API."""
    headers = {"Authorization": f"Bearer {shown.key()}", "Origin": shown.url}
    async with shown.person() as person:
        for given in ({}, headers):
            response = await person.session.request(
                route.method, shown.url + path_of(route), headers=given, allow_redirects=False
            )
            assert response.status == 303
            assert response.headers["Location"].startswith("/sign-in")
    await shown.keeper.login("a")  # it is there
    assert await shown.keeper.pauses() == {}


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
@pytest.mark.parametrize("attack", ["no token", "token of another", "other site", "other port", "null", "no origin"])
async def test_a_form_of_another_page_does_nothing(shown: Shown, route: Route, attack: str) -> None:
    """Other ports of the host are same-site: cookies come with them."""
    async with shown.person(shown.key()) as person, shown.person(shown.key(name="robin")) as other:
        origins = {"other site": "https://evil.example", "other port": "http://127.0.0.1:1", "null": "null"}
        fields = {"typed": "a", "code": "123456"}
        if attack == "no token":
            fields["form"] = ""
        if attack == "token of another":
            fields["form"] = other.token
        origin = None if attack == "no origin" else origins.get(attack, "")
        response = await person.post(path_of(route), origin=origin, **fields)
        assert response.status == 403
        assert "Nothing was done" in person.text
    await shown.keeper.login("a")  # it is there
    assert await shown.keeper.pauses() == {}


async def test_a_session_opens_nothing_but_the_page(shown: Shown) -> None:
    """`/v1` and `/metrics` take no cookie."""
    async with shown.person(shown.key()) as person:
        for path in ("/v1/logins/a/tokens", "/v1/logins", "/v1/summary"):
            assert (await person.get(path)).status == 401


@pytest.mark.parametrize("route", CLOSED, ids=lambda route: f"{route.method} {route.path}")
async def test_each_route_needs_its_scope(shown: Shown, route: Route) -> None:
    """A key that may read sees; what changes something needs more, though the form is right."""
    async with shown.person(shown.key(Scope.READ)) as person:
        response = await (person.get(path_of(route)) if route.method == "GET" else person.post(path_of(route)))
        assert response.status == (200 if route.scope is Scope.READ else 403)
    await shown.keeper.login("a")  # it is there


@pytest.mark.parametrize("scopes", [set(Scope) - {Scope.READ}, {Scope.TOKENS}, {Scope.METRICS}])
async def test_a_key_that_may_not_read_opens_nothing(shown: Shown, scopes: set[Scope]) -> None:
    async with shown.person() as person:
        assert (await person.sign_in(shown.key(*scopes))).status == 403
        assert "This key may not read" in person.text
        assert not await is_in(person)


async def test_a_wrong_key_is_counted_and_not_shown(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    async with shown.person() as person:
        assert (await person.sign_in("mrk_fake-wrong-key")).status == 401
        assert "fake-wrong-key" not in person.html
        assert 'role="alert"' in person.html
    assert shown.access.failures == 1
    assert "fake-wrong-key" not in caplog.text + str([record.__dict__ for record in caplog.records])


async def test_a_key_that_calls_too_often(shown: Shown) -> None:
    key = shown.key(rate=0.001)
    async with shown.person(key) as person:
        assert await is_in(person)
        assert (await person.sign_in(key)).status == 429


async def test_a_session_ends_with_its_key(shown: Shown) -> None:
    """With another key of that name too, and it ends for good."""
    async with shown.person(shown.key()) as person:
        assert await is_in(person)
        shown.key(name="dana")
        assert not await is_in(person)
        shown.keep()
        assert not await is_in(person)


async def test_a_session_ends_where_the_key_does(shown: Shown) -> None:
    async with shown.person(shown.key(expires=datetime.now(UTC) + timedelta(hours=1))) as person:
        assert await is_in(person)
        (kept,) = shown.access.keys
        shown.keep(evolve(kept, expires=datetime.now(UTC) - timedelta(seconds=1)))
        assert not await is_in(person)


async def test_a_session_loses_what_its_key_loses(shown: Shown) -> None:
    """The key is looked up at each request, and so are its scopes."""
    async with shown.person(shown.key()) as person:
        (kept,) = shown.access.keys
        shown.keep(evolve(kept, scopes=frozenset({Scope.READ})))
        assert (await person.post("/brokers/coinbase/pause")).status == 403


async def test_a_stolen_session_ends(shown: Shown) -> None:
    """Idle for twelve hours; and the thief's cookie is his own to sign out of, not to forge."""
    async with shown.person(shown.key()) as person, shown.person() as thief:
        cookie = take_cookie(person)
        put_cookie(thief, cookie)
        assert await is_in(thief)
        session = open_session(shown.keeper.cipher, cookie)
        assert session is not None
        old = evolve(
            session, begun_at=session.begun_at - timedelta(hours=13), used_at=session.used_at - timedelta(hours=12)
        )
        put_cookie(thief, seal_session(shown.keeper.cipher, old))
        assert not await is_in(thief)


async def test_live_figures_keep_no_session_alive(shown: Shown) -> None:
    """A page that is left open asks all day. What a person does is noted in the cookie."""
    async with shown.person(shown.key()) as person:
        session = open_session(shown.keeper.cipher, take_cookie(person))
        assert session is not None
        put_cookie(
            person, seal_session(shown.keeper.cipher, evolve(session, used_at=session.used_at - timedelta(hours=1)))
        )
        live = await person.get("/", headers={"X-Live": "1"})
        assert (live.status, "Set-Cookie" in live.headers) == (200, False)
        assert COOKIE in (await person.get("/")).headers["Set-Cookie"]


@pytest.mark.parametrize("name", [COOKIE, "mesh_refresh_form"])
async def test_a_planted_session_is_not_taken_over(shown: Shown, name: str) -> None:
    """Fixation: who signs in gets a new session, and the attacker's copy of the planted one opens nothing."""
    async with shown.person() as attacker, shown.person() as victim:
        await attacker.get("/sign-in")
        planted = take_cookie(attacker, "mesh_refresh_form")
        put_cookie(victim, planted, name)
        await victim.sign_in(shown.key())
        assert await is_in(victim)
        assert take_cookie(victim) != planted
        put_cookie(attacker, planted)
        assert not await is_in(attacker)


@pytest.mark.parametrize("context", ["login:session", "figures", "form"])
async def test_a_value_that_was_sealed_for_something_else_is_no_session(shown: Shown, context: str) -> None:
    """Who can write to the database, or choose login ids, makes no session of that."""
    cipher = shown.keeper.cipher
    async with shown.person(shown.key()) as person:
        document = cipher.open(_bytes(take_cookie(person)), "session")
        put_cookie(person, _text(cipher.seal(document, context)))
        assert not await is_in(person)


def _bytes(cookie: str) -> bytes:
    return base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


async def test_signing_in_needs_a_form_of_this_page_too(shown: Shown) -> None:
    """Else an attacker signs a victim in under the attacker's key."""
    key = shown.key()
    async with shown.person() as person:
        await person.get("/sign-in")
        for options in ({"origin": "http://127.0.0.1:1"}, {"origin": None}, {"form": "x"}):
            assert (await person.post("/sign-in", key=key, **options)).status == 403
            assert not await is_in(person)
            await person.get("/sign-in")
        other = shown.person()
        async with other as stranger:
            await stranger.get("/sign-in")
            assert (await person.post("/sign-in", key=key, form=stranger.token)).status == 403


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "evil"]
)
async def test_after_signing_in_nobody_is_sent_elsewhere(shown: Shown, to: str) -> None:
    key = shown.key()
    async with shown.person() as person:
        await person.get("/sign-in", params={"to": to})
        assert "evil" not in person.html
        data, headers = {"form": person.token, "key": key, "to": to}, {"Origin": shown.url}
        response = await person.session.post(f"{shown.url}/sign-in", data=data, headers=headers, allow_redirects=False)
        assert response.headers["Location"] == "/"


async def test_a_ticket_opens_once_and_ends_with_its_process(shown: Shown) -> None:
    """It may read and operate, never see tokens or remove; looking at its address uses nothing up."""
    ticket = shown.tickets.issue(time.monotonic())
    async with shown.person() as person, shown.person() as second, showing() as elsewhere:
        for _ in range(2):
            assert (await person.get(f"/ticket/{ticket}")).status == 200
        assert (await person.post("/sign-in", ticket=ticket, to="/")).status == 200
        assert await is_in(person)
        assert (await person.post("/brokers/coinbase/pause", note="x")).status == 200
        assert (await person.post("/logins/a/remove", typed="a")).status == 403
        await second.get(f"/ticket/{ticket}")
        assert (await second.post("/sign-in", ticket=ticket, to="/")).status == 401
        assert not await is_in(second)
        shown.page.process = elsewhere.page.process
        assert not await is_in(person)


@pytest.mark.parametrize("late", [600.0, 601.0])
async def test_a_ticket_lasts_ten_minutes(shown: Shown, late: float) -> None:
    ticket = shown.tickets.issue(time.monotonic() - late)
    async with shown.person() as person:
        await person.get(f"/ticket/{ticket}")
        assert (await person.post("/sign-in", ticket=ticket, to="/")).status == 401


async def test_a_key_for_some_logins_sees_those_alone(shown: Shown) -> None:
    """Others are not there for it, nor is the fleet, nor can a broker be paused."""
    for login_id in ("b-1", "b-2", "c", "~b"):
        await shown.keeper.add(login_id, shown.fake.login("coinbase").token)
    async with shown.person(shown.key(prefix="b-")) as person:
        await person.get("/")
        assert re.findall(r'class="mono" href="[^"]+"><bdi>([^<]+)', person.html) == ["b-1", "b-2"]
        assert (await person.get("/logins/b-1")).status == 200
        missing = await person.get("/logins/nobody")
        hidden = await person.get("/logins/c")
        assert (missing.status, hidden.status) == (404, 404)
        for path in ("/logins?id=c", "/logins?id=nobody"):
            assert (await person.get(path)).status == 404
            assert "no login with this id" in person.text
        assert (await person.post("/logins/c/remove", typed="c")).status == 404
        assert (await person.post("/brokers/coinbase/pause")).status in (403, 404)
    await shown.keeper.login("c")  # it is there
    assert await shown.keeper.pauses() == {}


async def test_cookies_and_headers(shown: Shown) -> None:
    """No script and no other site gets the cookie, and the page loads nothing from elsewhere."""
    async with shown.person() as person:
        await person.get("/sign-in")
        data, headers = {"form": person.token, "key": shown.key(), "to": "/"}, {"Origin": shown.url}
        response = await person.session.post(f"{shown.url}/sign-in", data=data, headers=headers, allow_redirects=False)
        cookies = response.headers.getall("Set-Cookie")
        (set_,) = [cookie for cookie in cookies if cookie.startswith(f"{COOKIE}=")]
        assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(set_.split("; "))
        assert "Domain" not in set_
        for path in ("/", "/logins", "/logins/a", "/sign-in", "/page.css", "/page.js", "/page.svg", "/logins/nobody"):
            response = await person.get(path)
            policy = dict(
                part.strip().partition(" ")[::2] for part in response.headers["Content-Security-Policy"].split(";")
            )
            assert policy == {
                "default-src": "'none'",
                **dict.fromkeys(("script-src", "style-src", "img-src", "connect-src", "form-action"), "'self'"),
                "frame-ancestors": "'none'",
                "base-uri": "'none'",
            }
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Referrer-Policy"] == "same-origin"
            assert "style=" not in person.html
            assert not re.search(r"\son\w+=", person.html)
            assert not re.search(r'(?:src|href|action)="(?!/|#)', person.html)


async def test_behind_a_proxy_cookies_are_secure(shown: Shown) -> None:
    """Named so that no other host and no plain connection can set them; and the origin is that of https."""
    guard = make_guard(Probes(keeper=shown.keeper), shown.access, Exposure(proxies=(ip_network("127.0.0.0/8"),)))
    app = make_service_app(guard, None, page=True)
    async with (
        Listening(app, parse_address("127.0.0.1:0")) as listening,
        ClientSession(cookie_jar=DummyCookieJar()) as it,
    ):
        url = f"http://{listening.addresses[0]}"
        form = await it.get(f"{url}/sign-in")
        person = Person(url, it, await form.text())
        cookie = {"Cookie": form.headers["Set-Cookie"].partition(";")[0]}
        data = {"form": person.token, "key": shown.key()}
        plain, answer = [
            await it.post(f"{url}/sign-in", data=data, headers={**cookie, "Origin": origin}, allow_redirects=False)
            for origin in (url, url.replace("http:", "https:"))
        ]
        assert (plain.status, answer.status) == (403, 303)
        (set_,) = [value for value in answer.headers.getall("Set-Cookie") if COOKIE in value and "Max-Age" not in value]
        assert set_.startswith(f"__Host-{COOKIE}=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(set_.split("; "))
        bare = {"Cookie": set_.partition(";")[0].removeprefix("__Host-")}
        assert (await it.get(f"{url}/", headers=bare, allow_redirects=False)).status == 303
        assert (await it.get(f"{url}/", headers={"Cookie": set_.partition(";")[0]})).status == 200


HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}\u202e"


async def test_texts_of_others_stay_text(shown: Shown) -> None:
    """Login ids, brokers, notes, display messages and names of accounts."""
    broker = f"{HOSTILE}b"
    await shown.keeper.add(HOSTILE, Tokens(broker, "fake-refresh-token", account_id=HOSTILE))
    await shown.keeper.pause(broker, note=HOSTILE, by=HOSTILE)
    await park(shown)
    row = await shown.keeper.login("v-1")
    (account,) = row.accounts
    assert account.pending is not None
    said = evolve(account, pending=evolve(account.pending, display_message=HOSTILE), display_message=HOSTILE)
    assert await shown.store.swap(row_of(shown.store.cipher, row.having((said,)), shown.keeper.now()))
    async with shown.person(shown.key()) as person:
        await person.get("/logins")
        links = re.findall(r'href="(/logins/~[^"]+)"', person.html)
        seen = 0
        for path in ("/", "/logins", "/logins?broker=%3Cimg%20src%3Dx%3E", "/logins?id=%3Cimg%20src%3Dx%3E", *links):
            await person.get(path)
            assert "<img src=x" not in person.html
            assert "\u202e" not in person.html
            seen += person.html.count("&lt;img src=x onerror=alert(1)&gt;")
        assert seen >= 6


@pytest.mark.parametrize("page", [True, False])
async def test_the_page_needs_a_store_that_is_sealed(page: bool) -> None:
    """Else each writer of a cookie makes a session."""
    async with FakeMesh() as fake, fake.client() as mesh:
        keeper = Keeper(mesh, MemoryStore(), background=False)
        if page:
            with pytest.raises(InvalidRequest, match="sealed"):
                Service(keeper, Access())
        else:
            assert Service(keeper, Access(), page=False).app is not None


async def test_the_page_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else does: a worker that listens imports none of it."""
    program = """
import sys
sys.modules["jinja2"] = sys.modules["markupsafe"] = None
import mesh_refresh.service, mesh_refresh.cli.demo.command, mesh_refresh.cli.fleet
from mesh_refresh import InvalidRequest
from mesh_refresh.service.service import make_service_app
try:
    make_service_app(None, None, page=True)
except InvalidRequest as error:
    print(error)
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True)
    assert "The page needs the package jinja2, which the extra service brings" in done.stdout, done.stderr


async def test_no_page_holds_a_token(shown: Shown) -> None:
    """Whatever the key may do, and in whatever state the login is."""
    await park(shown)
    secrets = [
        token
        for login in [it async for it in shown.keeper.logins()]
        for account in login.accounts
        for token in (account.tokens.access_token, account.tokens.refresh_token, account.tokens.trade_token)
        if token
    ]
    key = shown.key()
    async with shown.person(key) as person:
        for path in ("/", "/logins", "/logins/a", "/logins/v-1", "/logins?state=mfa_required"):
            await person.get(path)
            assert person.html
            assert not [secret for secret in [*secrets, key] if secret in person.html]

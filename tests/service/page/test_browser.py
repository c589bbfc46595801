"""The page in a real browser: by key and ticket, live, by keyboard, on a phone, in the dark, and without JavaScript."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from mesh_refresh.keeper import AccountState
from mesh_refresh.keeper.reporting.documents import figures_of, seal_figures
from mesh_refresh.service.access import Scope
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import Fault
from tests.service.page.chromium import DESK, PHONE, PROGRAM, Window, needs_chromium, open_window
from tests.service.page.fleet import Shown, park, showing

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator

pytestmark = [pytest.mark.once, needs_chromium, pytest.mark.asyncio(loop_scope="module")]

KEY = Cipher.generate_key()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> "AsyncIterator[Browser]":
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    async with SqliteStore.open(tmp_path / "fleet.db", cipher=Cipher([KEY])) as store, showing(store) as shown:
        shown.page.live_every = 0.3
        await shown.keeper.add("user-7", shown.fake.login("coinbase").token)
        yield shown


@asynccontextmanager
async def window(browser: "Browser", shown: Shown, *scopes: Scope, **options: object) -> AsyncIterator[Window]:
    """The window of a person who has signed in by a key with `scopes`."""
    window = await open_window(browser, shown.url, **options)  # type: ignore[arg-type]
    try:
        await window.sign_in(shown.key(*scopes, name=f"dana-{len(shown.access.keys)}"))
        yield window
        assert window.complaints == []
    finally:
        await window.page.context.close()


async def see(where: "Locator", text: str) -> None:
    """Wait until `text` stands there."""
    from playwright.async_api import expect

    await expect(where).to_contain_text(text, timeout=60_000)


async def test_a_refresh_arrives_live(browser: "Browser", shown: Shown, tmp_path: Path) -> None:
    """On the page of the login and on that of the fleet, while nobody touches them."""
    async with window(browser, shown) as desk, window(browser, shown) as phone:
        await desk.go("/logins/user-7")
        await phone.go("/")
        refreshed = desk.page.locator(".facts div", has_text="Refreshed")
        await see(refreshed, "–")
        await shown.keeper.refresh("user-7")
        await see(refreshed, "s ago")
        await see(phone.page.locator("#plots"), "1 refreshed")
        await phone.page.get_by_role("button", name="Pause updates").click()
        await see(phone.page.locator("#live-text"), "Paused")


async def test_a_ticket_opens_once(browser: "Browser", shown: Shown) -> None:
    ticket = shown.tickets.issue(time.monotonic())
    first, second = [await open_window(browser, shown.url) for _ in range(2)]
    for person in (first, second):
        await person.go(f"/ticket/{ticket}")
        await person.page.get_by_role("button", name="Open the page").click()
    await see(first.page.locator(".who"), "ticket")
    await see(second.page.get_by_role("alert"), "This ticket was used")
    assert ticket not in first.page.url
    for person in (first, second):
        await person.page.context.close()


async def test_a_code_is_typed(browser: "Browser", shown: Shown, tmp_path: Path) -> None:
    """The parked login is found; a wrong code leaves the question open, and the right one renews the login."""
    code = await park(shown, "family/7")
    async with window(browser, shown) as it:
        page = it.page
        await it.go("/logins")
        await page.get_by_label("Find a login by its id").fill("family/7")
        await page.keyboard.press("Enter")
        await see(page.locator("h1"), "family/7")
        await see(page.locator(".what"), "Waiting for an MFA code")
        field = page.get_by_label("The code that the broker sent to the person")
        await it.picture(tmp_path, "code", asks_axe=False)
        await field.fill("000000")
        await page.keyboard.press("Enter")
        await see(page.get_by_role("alert"), "did not take this code")
        assert await field.input_value() == ""
        assert await field.evaluate("it => document.activeElement === it")
        it.complaints.clear()  # the browser says that the answer was 422
        await it.picture(tmp_path, "wrong-code")
        await page.keyboard.type(code)
        await page.keyboard.press("Enter")
        await see(page.get_by_role("status"), "The broker took the code")
        await see(page.locator(".what"), "Kept fresh")
    assert (await shown.keeper.login("family/7")).state is AccountState.ACTIVE


async def test_a_broker_is_paused_by_keyboard(browser: "Browser", shown: Shown) -> None:
    """With a note, which the others read; and live figures leave alone what a person types."""
    await count(shown)
    async with window(browser, shown) as it, window(browser, shown, Scope.READ) as other:
        page = it.page
        await it.go("/")
        await page.get_by_text("Pause… coinbase").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.type("They do maintenance ")
        await see_an_update(it)
        await page.keyboard.type("until noon")
        await page.keyboard.press("Enter")
        await see(page.get_by_role("status"), "The broker is paused")
        await other.go("/")
        await see(other.page.locator("#broker-rows"), "They do maintenance until noon")
        assert await shown.keeper.pauses()
        await page.get_by_role("button", name="Resume coinbase").click()
        await see(other.page.locator("#broker-rows"), "On")
        assert not await shown.keeper.pauses()


async def see_an_update(it: Window) -> None:
    async with it.page.expect_response(lambda reply: reply.request.headers.get("x-live") == "1"):
        pass


async def count(shown: Shown) -> None:
    """Have the fleet counted now."""
    store, now = shown.store, shown.keeper.now()
    outbox, registry = store.outbox, store.registry
    assert outbox is not None
    assert registry is not None
    due = await store.due_by_hour(now)
    figures = figures_of(await store.counts(now), (), await outbox.counts(), now, 0.1, due_by_hour=due)
    await registry.put_figures(seal_figures(store.cipher, figures))
    shown.page.forget()


async def test_who_may_read_sees_no_buttons(browser: "Browser", shown: Shown, tmp_path: Path) -> None:
    await park(shown, "v-1")
    await count(shown)
    async with window(browser, shown, Scope.READ) as it:
        for path in ("/", "/logins", "/logins/v-1", "/logins/user-7"):
            await it.go(path)
            names = {await button.inner_text() for button in await it.page.get_by_role("button").all()}
            assert names <= {"Sign out", "Find", "List", "Pause updates"}
            assert await it.page.locator("details").count() == 0
        await see(it.page.locator(".who"), "read only")


async def test_a_worker_in_another_process(browser: "Browser", shown: Shown, tmp_path: Path) -> None:
    """Its open breaker shows, with the reason and the next probe; when it has ended, it is gone."""
    shown.fake.fail(Fault.throttle(60), times=None)
    await shown.keeper.add_many([(f"k-{n}", shown.fake.login("kraken").token) for n in range(6)], at_once=True)
    environment = {
        **os.environ,
        "MESH_BASE_URL": shown.fake.base_url,
        "MESH_CLIENT_ID": shown.fake.client_id,
        "MESH_CLIENT_SECRET": shown.fake.client_secret,
        "STORE": str(tmp_path / "fleet.db"),
        "KEY": KEY,
    }
    command = [sys.executable, "-m", "tests.service.page.worker"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdin=asyncio.subprocess.PIPE)
    try:
        async with window(browser, shown) as it:
            await it.go("/")
            await see(it.page.locator("#processes"), "run")
            await see(it.page.locator("#overview"), "Exchanges of kraken are held back by an open breaker")
            await see(it.page.locator("#breakers"), "kraken: Mesh asks for fewer requests. Next probe in")
            await see(it.page.locator("#processes"), "kraken")
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            await it.page.locator("#breakers section").wait_for(state="detached")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_without_javascript(browser: "Browser", shown: Shown) -> None:
    """All of it works but live figures, of which nothing is shown."""
    code = await park(shown)
    await count(shown)
    async with window(browser, shown, java_script_enabled=False) as it:
        page = it.page
        await page.get_by_text("Pause… coinbase").click()
        await page.locator("#broker-rows input[name=note]").first.fill("by hand")
        await page.get_by_role("button", name="Pause coinbase").click()
        await see(page.locator("#broker-rows"), "by hand")
        assert not await page.locator("#live-status").is_visible()
        await page.get_by_role("link", name="List them").click()
        await page.get_by_role("link", name="v-1").click()
        await page.get_by_label("The code that the broker sent to the person").fill(code)
        await page.get_by_role("button", name="Submit the code").click()
        await see(page.get_by_role("status"), "The broker took the code")
        await page.get_by_text("Remove this login…").click()
        await page.get_by_label("Type the id of the login").fill("v-1")
        await page.get_by_role("button", name="Remove it for good").click()
        await see(page.get_by_role("status"), "The login was removed")


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (PHONE, "dark")])
async def test_pictures(browser: "Browser", shown: Shown, tmp_path: Path, width: int, scheme: str) -> None:
    """At a desk and on a phone, light and dark, with a fleet and without: nothing is cut, and axe finds nothing."""
    name = f"{width}-{scheme}"
    async with window(browser, shown, width=width, scheme=scheme) as it:
        await it.go("/")
        await it.picture(tmp_path, f"fleet-not-counted-{name}", asks_axe=False)
        await park(shown, "family/7 \u202egro.evil")
        hour = [
            (f"n-{n:02}", shown.fake.login(broker).token)
            for n, broker in enumerate(["kraken", "etoro", "binanceInternational"] * 4)
        ]
        await shown.keeper.add_many(hour)
        await shown.keeper.refresh("n-01")
        await shown.keeper.pause("kraken", note="Maintenance until noon.\u202e https://evil.example", by="robin")
        await count(shown)
        for path, what in (("/", "fleet"), ("/logins", "logins"), ("/logins/n-01", "login")):
            await it.go(path)
            await it.picture(tmp_path, f"{what}-{name}", asks_axe=what != "login")
        assert await it.page.locator("a[href*=evil]").count() == 0
        await it.page.get_by_role("button", name="Sign out").click()
        await it.picture(tmp_path, f"sign-in-{name}", asks_axe=width == PHONE)

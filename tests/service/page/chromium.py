"""Debian's chromium, driven by playwright, and what every picture of the page must stand."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from playwright.async_api import Browser, BrowserContext, Page, expect

PROGRAM = shutil.which("chromium")
MISSING = "chromium is not installed, and the page was NOT tried in a browser: apt-get install chromium"

needs_chromium = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
PICTURES = os.environ.get("MESH_REFRESH_PICTURES")
"""A folder for the pictures; without it they go to pytest's temporary folder."""
PHONE, DESK = 375, 1280


@frozen
class Window:
    """A browser's window, in which a person looks at the page."""

    page: Page
    url: str
    complaints: list[str]
    """What the browser says of the page: of its policy, of scripts."""

    async def go(self, path: str) -> None:
        """Look at `path`."""
        await self.page.goto(self.url + path)

    async def sign_in(self, key: str) -> None:
        """By a key, typed and sent by the keyboard."""
        await self.go("/sign-in")
        await expect(self.page.locator("#key")).to_be_focused(timeout=60_000)  # else the first letters are lost
        await self.page.keyboard.type(key)
        await self.page.keyboard.press("Enter")
        await expect(self.page.get_by_role("button", name="Sign out")).to_be_visible(timeout=60_000)

    async def picture(self, folder: Path, name: str, *, asks_axe: bool = True) -> None:
        """Draw the page. Neither it nor a cell may be too wide, and axe, which takes a second, must find nothing."""
        from axe_playwright_python.async_playwright import Axe

        path = Path(PICTURES or folder) / f"{name}.png"
        await self.page.screenshot(path=path, full_page=True)
        assert path.stat().st_size > 5_000
        wide = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels wider than the window"
        cut = await self.page.locator(".scroll, tbody > tr > *").evaluate_all(
            "cells => cells.filter(it => it.scrollWidth > it.clientWidth + 1).map(it => it.innerText)"
        )
        assert not cut, f"{name} has tables or cells that are too narrow: {cut}"
        if asks_axe:
            found = await Axe().run(self.page)
            assert found.violations_count == 0, found.generate_report()


async def open_window(
    browser: Browser, url: str, *, width: int = DESK, scheme: Any = "light", **options: Any
) -> Window:
    """A window without cookies."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, **options
    )
    page, complaints = await context.new_page(), list[str]()
    page.set_default_timeout(60_000)
    page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return Window(page, url, complaints)


async def seen_states(page: Page) -> list[str]:
    """The states on the page, in words."""
    return [re.sub(r"\s+", " ", text).strip() for text in await page.locator(".state").all_inner_texts()]

"""Draws the pictures of the docs: `nox -s pictures`. The demo and `status` are what a terminal shows, the page is a
screenshot of the sandbox's.
"""

import asyncio
import io
import os
import re
import warnings
from collections import Counter
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

from mesh_refresh.cli.demo.command import run_demo
from mesh_refresh.cli.demo.fleet import SMALLEST
from mesh_refresh.cli.demo.proof import Proof
from mesh_refresh.cli.demo.rows import Board, Scene
from mesh_refresh.cli.demo.views import DemoTerminal
from mesh_refresh.cli.fleet.logins.status import _print as print_status
from mesh_refresh.keeper import AccountState, BrokerSummary, Summary
from mesh_refresh.testing import UnusedFault
from tests.docs.sandbox import served_sandbox
from tests.service.page.chromium import PROGRAM

DOCS = Path(__file__).parents[2] / "docs"


def drawn(console: Console, title: str) -> str:
    """What the console has recorded, as an SVG that loads no font from elsewhere."""
    picture = console.export_svg(title=title)
    picture = re.sub(r"@font-face \{.*?\}\n?", "", picture, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE).strip() + "\n"


def recorder(width: int = 104, height: int = 40) -> Console:
    """A terminal that records."""
    return Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        width=width,
        height=height,
        highlight=False,
    )


class Painter(DemoTerminal):
    """Shows the proof, and above it the fleet as it was the last time that a worker kept it."""

    def __init__(self) -> None:
        self.canvas = recorder()
        super().__init__(self.canvas)

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """Nothing is painted until the end."""
        self._board, self._last = board, ""
        return nullcontext()

    def show(self, _scene: Scene, /) -> None:
        """Keep the picture, where a worker runs."""
        if self._board.pid is not None:
            with self.canvas.capture() as taken:
                self.canvas.print(self.picture(self._board))
            self._last = taken.get()

    def conclude(self, board: Board, proof: Proof, /) -> None:
        """The last picture, and the proof below it."""
        self.canvas.export_text()  # forgets what was captured
        self.canvas.print(Text.from_ansi(self._last))
        super().conclude(board, proof)


def draw_demo() -> str:
    """Play the demo, and draw it. AssertionError where it proves no good."""
    painter = Painter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedFault)
        with TemporaryDirectory() as folder:
            proof = asyncio.run(run_demo(painter, Path(folder), SMALLEST, 0, fast=False, page=False))
    assert proof.holds, proof.verdict
    return drawn(painter.canvas, "mesh-refresh demo")


class Terminal(io.StringIO):
    """What `status` takes for one."""

    def isatty(self) -> bool:
        return True


def draw_status() -> str:
    """What `mesh-refresh status` prints of a fleet in which some people are awaited."""
    canvas, terminal = recorder(width=80, height=12), Terminal()
    states = {
        "coinbase": {AccountState.ACTIVE: 21_840, AccountState.RECONNECT_REQUIRED: 12},
        "robinhood": {AccountState.ACTIVE: 14_206, AccountState.RECONNECT_REQUIRED: 3},
        "vanguard": {AccountState.ACTIVE: 3_950, AccountState.MFA_REQUIRED: 41},
    }
    brokers = {name: BrokerSummary(sum(each.values()), each, 0, 0) for name, each in states.items()}
    total = sum((Counter(each) for each in states.values()), Counter[AccountState]())
    fleet = Summary(brokers, total.total(), total, 0, 0, timedelta(), 0, 7, {}, frozenset(), {})
    with redirect_stdout(terminal), patch.dict(os.environ, COLUMNS="80", TERM="xterm-256color"):
        print_status(fleet)
    canvas.print(Text("$ mesh-refresh status", style="dim"))
    canvas.print(Text.from_ansi(terminal.getvalue().rstrip()))
    return drawn(canvas, "mesh-refresh status")


def draw_page() -> bytes:
    """The page of a sandbox, as a PNG."""
    with served_sandbox() as found, sync_playwright() as drivers:
        browser = drivers.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(found["MESH_REFRESH_URL"] + "/sign-in")
        page.fill("#key", found["MESH_REFRESH_ACCESS_KEY"])
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Sign out").wait_for()
        page.get_by_text("Counted").first.wait_for()
        picture = page.screenshot()
        browser.close()
    return picture


if __name__ == "__main__":
    (DOCS / "status.svg").write_text(draw_status())
    (DOCS / "page.png").write_bytes(draw_page())
    (DOCS / "demo.svg").write_text(draw_demo())

"""Draws docs/demo.svg: a run of the demo as its terminal shows it at the end. `nox -s pictures`."""

import asyncio
import io
import re
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.text import Text

from mesh_refresh.cli.demo.command import run_demo
from mesh_refresh.cli.demo.fleet import SMALLEST
from mesh_refresh.cli.demo.proof import Proof
from mesh_refresh.cli.demo.rows import Board, Scene
from mesh_refresh.cli.demo.views import DemoTerminal
from mesh_refresh.testing import UnusedFault

PICTURE = Path(__file__).parents[2] / "docs" / "demo.svg"


def drawn(console: Console, title: str) -> str:
    """What the console has recorded, as an SVG that loads no font from elsewhere."""
    picture = console.export_svg(title=title)
    picture = re.sub(r"@font-face \{.*?\}\n?", "", picture, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE).strip() + "\n"


def recorder() -> Console:
    """A wide terminal that records."""
    return Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        width=104,
        height=40,
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


if __name__ == "__main__":
    PICTURE.write_text(draw_demo())

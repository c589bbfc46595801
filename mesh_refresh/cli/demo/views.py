"""Shows the demo: as a live table on a terminal, elsewhere as plain lines."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from mesh_refresh.cli.demo.proof import Proof
from mesh_refresh.cli.demo.rows import Board, FleetRow, Scene

_WIDE, _MIDDLE, _NARROW = 104, 76, 60
"""Widths of a window. A narrower one shows fewer columns, and cuts no words."""
_SCENES = 5
_AROUND = 6
"""Lines above, between and below the rows and the story."""
_PROOF = "Proof, from the ledger of the fake Mesh and the store:"
_NEXT = (
    "Next, a fleet of your own:          mesh-refresh run --help",
    "A fake Mesh for your own program:   mesh-refresh sandbox --help",
)


class DemoTerminal:
    """A live table, with colours unless NO_COLOR is set."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """A table that follows the board."""
        self._console.print(Text(_headline(board), style="dim"))
        self._live = Live(
            console=self._console,
            get_renderable=lambda: self.picture(board),
            refresh_per_second=8,
            vertical_overflow="crop",
        )
        return self._live

    def show(self, _scene: Scene, /) -> None:
        """Paint at once: on a busy machine several lines of the story may come before the next picture."""
        if self._live is not None:
            self._live.refresh()

    def conclude(self, _board: Board, proof: Proof, /) -> None:
        """The proof, and what to do next."""
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        table.add_column(style="dim")
        for line in proof.lines:
            count = Text(str(line.count), style="bold green" if line.good else "bold red")
            table.add_row(line.what, count, line.remark)
        self._console.print()
        self._console.print(Text(_PROOF, style="bold"))
        self._console.print(table)
        self._console.print(Text(proof.verdict, style="bold green" if proof.holds else "bold red"))
        self._console.print()
        for text in _NEXT:
            self._console.print(text)

    def picture(self, board: Board) -> RenderableType:
        """The rows, the counts and the last lines of the story, as they are now."""
        height = self._console.height - _AROUND
        lines = max(2 if self._console.width >= _MIDDLE else 4, min(_SCENES, height - len(board.fleet.members)))
        rows = board.rows(max(3, height - lines))
        hidden = len(board.fleet.members) - len(rows)
        more = Text(f"and {hidden} more logins" if hidden else "", style="dim")
        return Group(self._table(rows), more, _counts(board), *self._scenes(board, lines))

    def _scenes(self, board: Board, lines: int) -> list[Text]:
        """The last lines of the story that fit into `lines` lines of the window."""
        found: list[Text] = []
        for scene in reversed(board.scenes):
            text = Text.assemble((f"{scene.after:5.1f} s  ", "dim"), (scene.text, scene.mood.value))
            lines -= len(text.wrap(self._console, self._console.width))
            if lines < 0:
                break
            found.insert(0, text)
        return found

    def _table(self, rows: list[FleetRow]) -> Table:
        width = self._console.width
        # The story names logins, so their names go last.
        named, middle = width >= _NARROW, width >= _MIDDLE
        columns: tuple[tuple[bool, Column, Callable[[FleetRow], RenderableType]], ...] = (
            (True, Column("broker", no_wrap=True), lambda row: row.broker),
            (named, Column("login", no_wrap=True, style="dim"), lambda row: row.login_id),
            (width >= _WIDE, Column("what is special", no_wrap=True, style="dim"), lambda row: row.note),
            (True, Column("state", min_width=28 if named else 10, no_wrap=True), _state),
            (middle, Column("done", justify="right"), lambda row: str(row.refreshed or "")),
            (True, Column("good for", justify="right", no_wrap=True), _left),
            (middle, Column("", min_width=10), _bar),
        )
        shown = [(column, cell) for is_wanted, column, cell in columns if is_wanted]
        gap = 2 if middle else 1
        table = Table(*(column for column, _ in shown), box=None, padding=(0, gap, 0, 0), header_style="dim")
        for row in rows:
            table.add_row(*(cell(row) for _, cell in shown))
        return table


class PlainLines:
    """Lines of text without control codes."""

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """Print the headline. Plain lines do not change."""
        print(_headline(board), flush=True)
        return nullcontext()

    def show(self, scene: Scene) -> None:
        """Print the line."""
        print(f"{scene.after:5.1f} s  {scene.text}", flush=True)

    def conclude(self, board: Board, proof: Proof, /) -> None:
        """Print a line for each login and for each finding."""
        print()
        for row in board.rows(len(board.fleet.members)):
            print(f"{row.broker:<13} {row.login_id:<8} {row.note:<25} {row.refreshed:>3}  {row.state}")
        print(f"\n{_PROOF}")
        for line in proof.lines:
            print(f"{line.what:<24} {line.count:>3}  {line.remark}{'' if line.good else '  (wrong)'}")
        print(proof.verdict)
        print()
        print("\n".join(_NEXT))


View = DemoTerminal | PlainLines
"""Shows a board while it changes, then the proof."""


def _headline(board: Board) -> str:
    fleet = board.fleet
    return f"{fleet.accounts} accounts of {len(fleet.members)} logins at a fake Mesh, {board.fake.base_url}"


def _counts(board: Board) -> Text:
    worker = (f"worker {board.pid}", "cyan")
    if board.pid is None:
        worker = ("the worker has stopped", "dim") if board.over else ("no worker", "bold red")
    text = Text.assemble(
        worker, (f"   refreshes: {board.refreshes}", "bold"), f"   requests under way: {board.fake.in_flight}",
        f"   callers served: {board.served}",
    )  # fmt: skip
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _state(row: FleetRow) -> Text:
    return Text(row.state, style=row.mood.value)


def _left(row: FleetRow) -> Text:
    if row.left is None:
        return Text("")
    if row.left > timedelta(minutes=2):
        return Text(f"{row.left // timedelta(minutes=1)} min")
    return Text(f"{row.left.total_seconds():.1f} s", style="" if row.left else "red")


def _bar(row: FleetRow) -> RenderableType:
    if row.left is None or not row.lifetime:
        return Text("")
    return ProgressBar(
        total=1, completed=row.left / row.lifetime, width=10, complete_style="green", finished_style="green"
    )

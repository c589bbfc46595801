"""Shows the demo: as a live table on a terminal, elsewhere as plain lines."""

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
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


class View(Protocol):
    """Shows a board while it changes, then the proof."""

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """Show the board until the end of the block."""
        ...

    def show(self, scene: Scene) -> None:
        """Show a new line of the story."""
        ...

    def conclude(self, board: Board, proof: Proof, /) -> None:
        """Show the proof, and what to do next."""
        ...


class DemoTerminal:
    """A live table, with colours unless NO_COLOR is set."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """A table that follows the board."""
        self._console.print(Text(_headline(board), style="dim"))
        return Live(
            console=self._console,
            get_renderable=lambda: self.picture(board),
            refresh_per_second=8,
            vertical_overflow="crop",
        )

    def show(self, scene: Scene) -> None:
        """Nothing: the live table shows the story."""

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
        parts: list[RenderableType] = [self._table(rows)]
        parts.append(Text(f"and {hidden} more logins" if hidden else "", style="dim"))
        parts.append(_counts(board))
        parts += self._scenes(board, lines)
        return Group(*parts)

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
        named, gap = width >= _NARROW, 2 if width >= _MIDDLE else 1
        table = Table(box=None, padding=(0, gap, 0, 0), header_style="dim")
        table.add_column("broker", no_wrap=True)
        if named:
            table.add_column("login", no_wrap=True, style="dim")
        if width >= _WIDE:
            table.add_column("what is special", no_wrap=True, style="dim")
        table.add_column("state", min_width=28 if named else 10, no_wrap=True)
        if width >= _MIDDLE:
            table.add_column("done", justify="right")
        table.add_column("good for", justify="right", no_wrap=True)
        if width >= _MIDDLE:
            table.add_column("", min_width=10)
        for row in rows:
            cells: list[RenderableType] = [row.broker]
            if named:
                cells.append(row.login_id)
            if width >= _WIDE:
                cells.append(row.note)
            cells.append(Text(row.state, style=row.mood.value))
            if width >= _MIDDLE:
                cells += [str(row.refreshed or ""), _left(row), _bar(row)]
            else:
                cells.append(_left(row))
            table.add_row(*cells)
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

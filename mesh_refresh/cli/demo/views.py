"""The demo on a terminal, live; and as plain lines, where nobody watches."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mesh_refresh.cli.demo.proof import Proof
from mesh_refresh.cli.demo.rows import Board, Mood, Row

_WIDE = 106
"""A narrower window shows less of each account, rather than cut words."""
_NEXT = (
    "Next, with your own keys and tokens:  mesh-refresh refresh --help",
    "A fake Mesh for your own program:     mesh-refresh sandbox --help",
)


class View(Protocol):
    """Shows a board while it changes, then what was proved."""

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """Shows it until the end of the block."""
        ...

    def closing(self, board: Board, proof: Proof, /) -> None:
        """The end."""
        ...


class Terminal:
    """Tables, and colours unless NO_COLOR is set."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """A table that follows the board."""
        self._console.print(_headline(board), style="dim")
        return Live(
            console=self._console,
            get_renderable=lambda: self._table(board),
            refresh_per_second=12,
            vertical_overflow="crop",
        )

    def closing(self, _board: Board, proof: Proof, /) -> None:
        """What was proved, and what to do next."""
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(min_width=24)
        table.add_column(justify="right")
        table.add_column(style="dim")
        for line in proof.lines:
            count = Text(str(line.count), style="bold green" if line.good else "bold red")
            table.add_row(line.what, count, line.remark)
        self._console.print()
        self._console.print(Text("Proved, by the fake Mesh's own ledger", style="bold"))
        self._console.print(table)
        self._console.print()
        for text in _NEXT:
            self._console.print(text)

    def _table(self, board: Board) -> RenderableType:
        # What is left of the window after headline, header and the count of rows that are not shown.
        room = max(self._console.height - 4, 5)
        hidden = board.rows[room:]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("broker", no_wrap=True)
        table.add_column("account", no_wrap=True)
        wide = self._console.width >= _WIDE
        if wide:
            table.add_column("what is special", no_wrap=True)
        table.add_column("state", min_width=43, no_wrap=True)
        table.add_column("sent", justify="right")
        table.add_column("time", justify="right", min_width=6)
        for row in board.rows[:room]:
            cells = _cells(board, row)
            table.add_row(*(cells if wide else cells[:2] + cells[3:]))
        if not hidden:
            return table
        ended = sum(row.ended is not None for row in hidden)
        return Group(table, Text(f"and {len(hidden)} more: {ended} are through", style="dim"))


class Plain:
    """Lines of text without any control code."""

    def live(self, board: Board) -> AbstractContextManager[Any]:
        """Nothing moves."""
        print(_headline(board))
        sys.stdout.flush()
        return nullcontext()

    def closing(self, board: Board, proof: Proof, /) -> None:
        """A line for each account, one for each finding."""
        for row in board.rows:
            broker, account, note, (state, _), requests, _ = _facts(board, row)
            print(f"{broker:<13} {account:<4} {note:<26} {requests:>2}  {state}")
        print()
        for line in proof.lines:
            print(f"{line.what:<24} {line.count:>3}  {line.remark}")
        print()
        print("\n".join(_NEXT))


def _headline(board: Board) -> str:
    return f"{len(board.rows)} accounts, one client, and a fake Mesh on {board.fake.base_url}"


def _facts(board: Board, row: Row) -> tuple[str, str, str, tuple[str, Mood], str, str]:
    took = "" if row.seconds is None else f"{row.seconds:.1f} s"
    requests = "" if row.shares else str(board.attempts(row) or "")
    return str(row.tokens.broker), row.account, row.note, board.state(row), requests, took


def _cells(board: Board, row: Row) -> list[RenderableType]:
    broker, account, note, (state, mood), requests, took = _facts(board, row)
    return [broker, Text(account, style="dim"), Text(note, style="dim"), Text(state, style=mood.value), requests, took]

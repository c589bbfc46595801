"""Where the new tokens go, as soon as they are there."""

import base64
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mesh_refresh import MfaRequired, Outcome, Refreshed, UnreadableReply
from mesh_refresh.cli.lines import say, system_reason
from mesh_refresh.cli.refresh.accounts import Book
from mesh_refresh.cli.refresh.documents import documents_of, text_of
from mesh_refresh.cli.refresh.files import write_atomically, write_new

_REFUGES: tuple[Callable[[], Path], ...] = (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir()))
"""Folders for tokens that could not be written where they should be. Each may be missing."""


class Output:
    """Keeps the book on disk: `keep` is the client's `on_outcome`.

    With a file, all of the book is written after every outcome. Without one, it goes to standard output at the end.
    """

    def __init__(self, book: Book, path: Path | None) -> None:
        self.book = book
        self.path = path
        self._bodies: list[bytes] = []
        """Those that could not be written."""
        self._handle: int | None = None

    def keep(self, outcome: Outcome) -> None:
        """Write down what `outcome` brought. Raises what the system raises; `finish` tries again, and elsewhere."""
        if isinstance(outcome, UnreadableReply):
            self._keep_body(outcome)
            return
        self.book.record(outcome)
        if self.path is not None:
            self._write(self.path)

    def recover(self, outcome: object) -> None:
        """`keep` has failed for `outcome`: see that it is in the book all the same."""
        if isinstance(outcome, Refreshed | MfaRequired):
            self.book.keep(outcome.all_tokens, outcome.before)

    def finish(self) -> bool:
        """Write the book, where there is anything new in it. False where it had to go elsewhere."""
        try:
            if self.book.changed:
                self._write(self.path) if self.path is not None else _print(text_of(documents_of(self.book.entries)))
        except (OSError, ValueError) as error:
            self._rescue(system_reason(error) if isinstance(error, OSError) else type(error).__name__)
            return False
        if self._bodies:
            self._rescue("the reply's body could not be written")
            return False
        return True

    def close(self) -> None:
        """Let other runs at the file."""
        held, self._handle = self._handle, None
        if held is not None:
            os.close(held)

    def _write(self, path: Path) -> None:
        held, self._handle = self._handle, write_atomically(path, text_of(documents_of(self.book.entries)))
        if held is not None:
            os.close(held)

    def _keep_body(self, outcome: UnreadableReply) -> None:
        self._bodies.append(outcome.body)
        folder, name = (self.path.parent, self.path.name) if self.path else (Path.cwd(), "mesh-refresh")
        kept = write_new(folder, f"{name}.unreadable-", ".body", outcome.body)
        self._bodies.pop()
        account = self.book.entry_of(outcome.before).name
        say(f"{account}: the reply is kept in {kept} (mode 0600); a new token may be in it.")

    def _rescue(self, why: str) -> None:
        """No token may be lost because a disk is full, or because the reader of a pipe has gone."""
        bodies = [{"format": "mesh_refresh.unreadable", "body": base64.b64encode(it).decode()} for it in self._bodies]
        text = text_of([*documents_of(self.book.entries), *bodies])
        wanted = "standard output" if self.path is None else "--output"
        if self.path is None:
            _silence_stdout()
        for refuge in _REFUGES:
            try:
                kept = write_new(refuge(), "mesh-refresh-rescued-", ".json", text)
            except (OSError, RuntimeError):  # there may be no working directory, and no home
                continue
            say(
                f"The tokens could not be written to {wanted} ({why}). They are in {kept} (mode 0600): take them there."
            )
            return
        say(f"The tokens could not be written to {wanted} ({why}), nor to any other file.")
        if self.path is not None:
            say("They follow on standard output, so that they are not lost.")
            _print(text)


def _print(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _silence_stdout() -> None:
    """Python flushes it once more at its exit, and would complain there."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        return

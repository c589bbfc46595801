"""Where the new tokens go, as soon as they are there."""

import asyncio
import base64
import errno
from contextlib import suppress
from pathlib import Path

from mesh_refresh import MfaRequired, Outcome, Refreshed, UnreadableReply
from mesh_refresh.cli.refresh.accounts import Accounts
from mesh_refresh.cli.refresh.documents import document_at, documents_of, text_of
from mesh_refresh.cli.refresh.journal import Journal
from mesh_refresh.cli.refresh.output_file import OutputFile
from mesh_refresh.cli.refresh.rescue import keep_in_a_file, keep_on_a_stream, print_out, silence_stdout
from mesh_refresh.cli.terminal.messages import Failure, counted, say, shown, system_reason

_FEW = 3


class Output:
    """Keeps the accounts on disk: `keep` is the client's `on_outcome`.

    With a file, each outcome is in its journal before the client goes on, and `finish` replaces the file. Without one,
    everything goes to standard output at the end.
    """

    def __init__(self, book: Accounts, file: OutputFile | None = None) -> None:
        self.book = book
        self.file = file
        self._journal: Journal | None = None
        self._unwritten: set[int] = set()
        """The places of accounts whose news the journal has not."""
        self._writing: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._bodies: list[bytes] = []
        """Those that could not be written."""
        self._kept: list[Path] = []
        """The files of those that could."""
        self._place: str | None = None

    def begin(self) -> None:
        """Begin the journal. Raises `Failure` where there is no room for it."""
        if self.file is None:
            return
        try:
            documents = documents_of(self.book.entries)
            self._journal = Journal.begin(self.file.path, self.file.content(), documents, self.file.owner)
        except OSError as error:
            raise Failure(
                f"--output cannot be written: no journal beside it ({system_reason(error)}). Nothing was sent."
            ) from None

    async def keep(self, outcome: Outcome) -> None:
        """Write down what `outcome` brought. Raises what the system raises; `finish` tries again, and elsewhere."""
        if isinstance(outcome, UnreadableReply):
            self._keep_body(outcome)
            return
        self._unwritten |= self.book.record(outcome)
        if self._journal is not None:
            await self._written(self._journal)

    def recover(self, outcome: object) -> None:
        """`keep` has failed for `outcome`: see that it is in the book all the same."""
        if isinstance(outcome, Refreshed | MfaRequired):
            self._unwritten |= self.book.keep(outcome.all_tokens, outcome.before)

    def finish(self) -> bool:
        """Write the accounts, where there is anything new. False where they had to go elsewhere; see `last_words`."""
        why = "the reply's body could not be written" if self._bodies else None
        if self.book.changed:
            why = self._write() or why
        if why is not None:
            self._rescue(why)
            return False
        if self._journal is not None:
            self._journal.remove()
            self._journal = None
        return True

    def last_words(self) -> list[str]:
        """Where tokens are that are not in the output; said at the very end."""
        said = []
        if self._kept:
            names = [shown(path) for path in self._kept]
            if len(names) > _FEW:
                names = [shown(self._kept[0].with_name(f"{self._prefix}*.body"))]
            said.append(f"{counted(len(self._kept), 'reply', 'replies')} that could not be read: {', '.join(names)}.")
        if self._place is not None:
            said.append(self._place)
        return said

    def close(self) -> None:
        """Leave the journal, where there still is one, to the next run."""
        if self._journal is not None:
            self._journal.leave()

    async def _written(self, journal: Journal) -> None:
        """Wait until the journal has all that is in the book now. Outcomes that come meanwhile share one write."""
        if self._next is None:
            self._next = asyncio.create_task(self._write_on(journal, self._writing))
            self._next.add_done_callback(_retrieve)
        await asyncio.shield(self._next)

    async def _write_on(self, journal: Journal, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait((before,))
        self._writing, self._next = self._next, None
        places, self._unwritten = self._unwritten, set()
        try:
            await asyncio.to_thread(journal.append, self._documents(places))
        except BaseException:
            self._unwritten |= places
            raise

    def _documents(self, places: set[int]) -> list[tuple[int, dict[str, object] | None]]:
        return [(place, document_at(self.book, place)) for place in sorted(places)]

    def _write(self) -> str | None:
        """Write it where it should be; why not, where that fails."""
        text = text_of(documents_of(self.book.entries))
        try:
            print_out(text) if self.file is None else self.file.replace(text)
        except Exception as error:  # noqa: BLE001 - after any error, the tokens go elsewhere
            return system_reason(error) if isinstance(error, OSError) else type(error).__name__
        return None

    @property
    def _prefix(self) -> str:
        return f"{self.file.path.name if self.file else 'mesh-refresh'}.unreadable-"

    def _keep_body(self, outcome: UnreadableReply) -> None:
        self._bodies.append(outcome.body)
        kept = self._kept_in_a_file(outcome.body, self._prefix, ".body")
        if kept is None:
            raise OSError(errno.ENOSPC, "no folder takes the reply")
        self._bodies.remove(outcome.body)
        self._kept.append(kept)
        account = self.book.entry_of(outcome.before).name
        say(f"{account}: the reply is kept in {shown(kept)} (mode 0600); a new token may be in it.")

    def _rescue(self, why: str) -> None:
        """No token may be lost because a disk is full, or because the reader of a pipe has gone."""
        wanted = "standard output" if self.file is None else "--output"
        failed = f"The tokens could not be written to {wanted} ({why})"
        if self.file is None:
            silence_stdout()
        elif self._journal is not None and not self._bodies and self.file.is_ours() and self._is_in(self._journal):
            journal = shown(self._journal.path)
            self._place = (
                f"{failed}. They are in {journal} (mode 0600): the next run with this --output writes them there."
            )
            return
        bodies = [{"format": "mesh_refresh.unreadable", "body": base64.b64encode(it).decode()} for it in self._bodies]
        text = text_of([*documents_of(self.book.entries), *bodies])
        kept = self._kept_in_a_file(text, "mesh-refresh-rescued-", ".json")
        place = keep_on_a_stream(text, stdout=self.file is not None) if kept is None else str(kept)
        if kept is not None:
            self._place = f"{failed}. They are in {shown(kept)} (mode 0600): take them there."
        elif place is not None:
            self._place = f"{failed}, nor to any other file. They are on {place}: take them there."
        else:
            self._place = f"{failed}, nor anywhere else."
        if self._journal is not None and place is not None and self.book.changed:
            with suppress(Exception):  # then it stays as it is, which the next run meets too
                self._journal.refer_to(place)

    def _kept_in_a_file(self, data: bytes, prefix: str, suffix: str) -> Path | None:
        folder, owner = (None, None) if self.file is None else (self.file.path.parent, self.file.owner)
        return keep_in_a_file(data, folder, prefix=prefix, suffix=suffix, owner=owner)

    def _is_in(self, journal: Journal) -> bool:
        """Whether the journal has all of it, now at the latest."""
        try:
            if self._unwritten:
                journal.append(self._documents(self._unwritten))
        except Exception:  # noqa: BLE001 - it is one place of several
            return False
        return True


def _retrieve(task: asyncio.Task[None]) -> None:
    """Its waiters are told of its error. Where none is left, asyncio would print it."""
    if not task.cancelled():
        task.exception()

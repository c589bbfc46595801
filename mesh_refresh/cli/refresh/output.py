"""Writes new tokens down as soon as they arrive, and rescues them if the output fails."""

import asyncio
import base64
import errno
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh_refresh import MfaRequired, Outcome, Refreshed, UnreadableReply
from mesh_refresh.cli.refresh.accounts import Accounts
from mesh_refresh.cli.refresh.documents import document_of, text_of
from mesh_refresh.cli.refresh.journal import Journal
from mesh_refresh.cli.refresh.output_file import OutputFile
from mesh_refresh.cli.refresh.rescue import keep_in_a_file, keep_on_a_stream, print_out, silence_stdout
from mesh_refresh.cli.terminal.messages import Failure, format_count, format_path, say, system_reason
from mesh_refresh.tasks import error_of

_FEW = 3


class Output:
    """Keeps the accounts on disk. `keep` is the client's ``on_outcome``.

    With a file, each outcome is in the journal before the client goes on, and `finish` replaces the file. Without one,
    `finish` writes everything to standard output.
    """

    def __init__(self, accounts: Accounts, file: OutputFile | None = None) -> None:
        self.accounts = accounts
        self.file = file
        self._journal: Journal | None = None
        self._unwritten: set[int] = set()
        """The numbers of accounts whose changes the journal does not have."""
        self._writing: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._bodies: list[bytes] = []
        """Unreadable replies that could not be written."""
        self._kept: list[Path] = []
        """The files of unreadable replies."""
        self._place: str | None = None

    def begin(self) -> None:
        """Begin the journal. Raises `Failure` if there is no room for it."""
        if self.file is None:
            return
        try:
            documents = self._all_documents()
            self._journal = Journal.begin(self.file.path, self.file.content(), documents, self.file.owner)
        except OSError as error:
            raise Failure(
                f"--output: its journal cannot be written beside it ({system_reason(error)}). Nothing was sent."
            ) from None

    async def keep(self, outcome: Outcome) -> None:
        """Write down what `outcome` brought. Raises the error of the system; `finish` tries again."""
        if isinstance(outcome, UnreadableReply):
            self._keep_body(outcome)
            return
        self._unwritten |= self.accounts.record(outcome)
        if self._journal is not None:
            await self._write_journal(self._journal)

    def recover(self, outcome: object) -> None:
        """Add the tokens of `outcome` to the accounts after an error in `keep`."""
        if isinstance(outcome, Refreshed | MfaRequired):
            self._unwritten |= self.accounts.keep(outcome.all_tokens, outcome.before)

    def finish(self) -> bool:
        """Write the accounts, if they changed. False: they are in another place, which `last_words` names."""
        why = "the reply's body could not be written" if self._bodies else None
        if self.accounts.changed:
            why = self._write() or why
        if why is not None:
            self._rescue(why)
            return False
        if self._journal is not None:
            self._journal.remove()
            self._journal = None
        return True

    def last_words(self) -> list[str]:
        """The places of tokens that are not in the output. They are the last lines of the command."""
        said = []
        if self._kept:
            names = [format_path(path) for path in self._kept]
            if len(names) > _FEW:
                names = [format_path(self._kept[0].with_name(f"{self._prefix}*.body"))]
            said.append(
                f"{format_count(len(self._kept), 'reply', 'replies')} that could not be read: {', '.join(names)}."
            )
        if self._place is not None:
            said.append(self._place)
        return said

    def close(self) -> None:
        """Leave the journal, if it still exists, to the next run."""
        if self._journal is not None:
            self._journal.leave()

    async def _write_journal(self, journal: Journal) -> None:
        """Wait until the journal has all changes up to now. Outcomes that arrive meanwhile share one write."""
        if self._next is None:
            self._next = asyncio.create_task(self._write_on(journal, self._writing))
            self._next.add_done_callback(error_of)  # its waiters are told; asyncio would print it where none is left
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

    def _all_documents(self) -> list[dict[str, Any]]:
        return list(map(document_of, self.accounts.entries))

    def _documents(self, places: set[int]) -> list[tuple[int, dict[str, object] | None]]:
        return [(place, document_of(self.accounts.entries[place])) for place in sorted(places)]

    def _write(self) -> str | None:
        """Write the accounts to the output. Returns the reason if that fails."""
        text = text_of(self._all_documents())
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
        kept = self._keep_in_a_file(outcome.body, self._prefix, ".body")
        if kept is None:
            raise OSError(errno.ENOSPC, "no folder takes the reply")
        self._bodies.remove(outcome.body)
        self._kept.append(kept)
        account = self.accounts.entry_of(outcome.before).name
        say(f"{account}: the reply is in {format_path(kept)} (mode 0600). It may hold a new token: keep it private.")

    def _rescue(self, why: str) -> None:
        """Save the tokens elsewhere: a full disk, or a reader that has left a pipe, must not cost them."""
        wanted = "standard output" if self.file is None else "--output"
        failed = f"The new tokens could not be written to {wanted} ({why})"
        if self.file is None:
            silence_stdout()
        elif self._journal is not None and not self._bodies and self.file.is_ours() and self._is_in(self._journal):
            journal = format_path(self._journal.path)
            self._place = f"{failed}. They are in {journal} (mode 0600). The next run with this --output writes them."
            return
        texts = [base64.b64encode(body).decode() for body in self._bodies]
        bodies = [{"format": "mesh_refresh.unreadable", "body": text} for text in texts]
        text = text_of([*self._all_documents(), *bodies])
        kept = self._keep_in_a_file(text, "mesh-refresh-rescued-", ".json")
        place = keep_on_a_stream(text, stdout=self.file is not None) if kept is None else str(kept)
        if kept is not None:
            self._place = f"{failed}. They are in {format_path(kept)} (mode 0600). Take them from there."
        elif place is not None:
            self._place = f"{failed} or to another file. They are on {place}. Take them from there."
        else:
            self._place = f"{failed} or to any other place. If a refresh is refused, the person must log in."
        if self._journal is not None and place is not None and self.accounts.changed:
            with suppress(Exception):  # then the journal stays as it is, and the next run reads it
                self._journal.refer_to(place)

    def _keep_in_a_file(self, data: bytes, prefix: str, suffix: str) -> Path | None:
        folder, owner = (None, None) if self.file is None else (self.file.path.parent, self.file.owner)
        return keep_in_a_file(data, folder, prefix=prefix, suffix=suffix, owner=owner)

    def _is_in(self, journal: Journal) -> bool:
        """Write what the journal lacks. Whether it has all changes now."""
        try:
            if self._unwritten:
                journal.append(self._documents(self._unwritten))
        except Exception:  # noqa: BLE001 - it is one place of several
            return False
        return True

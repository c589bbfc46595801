"""One run of ``mesh-refresh refresh``: every login once, codes asked for, everything written."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define

from mesh_refresh import (
    ClientRefused,
    CodeRefused,
    InvalidRequest,
    MeshClient,
    MeshRefreshError,
    MfaRequired,
    NotSaved,
    NotSent,
    OutcomeUnknown,
    Refreshed,
    TokensRefused,
)
from mesh_refresh.cli.refresh.accounts import AccountEntry, Accounts
from mesh_refresh.cli.refresh.output import Output
from mesh_refresh.cli.terminal.exit_codes import Exit, code_of_run, exit_for
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import bug, say, shown
from mesh_refresh.cli.terminal.mfa_codes import CodeSource

_AT_ONCE = 20
_TRIES = 3
_UNCLEAR = "They are written without a name; look at each before you use it."


@define
class RefreshRun:
    """Everything that a run needs."""

    client: MeshClient
    book: Accounts
    output: Output
    codes: CodeSource
    new_refresh_token: bool | None = None
    quiet: bool = False
    _halt: Exit | None = None
    """Why nothing more is sent."""
    _any_sent: bool = False
    """Whether a request may have gone out."""

    def run(self) -> Exit:
        """Refresh all, and give the exit code. What was renewed is written in any case."""
        with Loop(on_impatience=_still_waiting) as loop:
            end = self._end_of(loop, self._refresh_all)
            loop.closing()
            if loop.received is not None:
                say("interrupted: nothing more is sent, and what was sent is finished and written first.")
            end = self._end_of(loop, self._close) or end
            saved = self.output.finish()
            self._sum_up(saved=saved, interrupted=loop.received is not None)
        if not saved:
            return Exit.NOT_SAVED
        codes = [entry.code for entry in self.book.entries if entry.code is not None]
        return end or code_of_run(codes, any_sent=self._any_sent)

    def _end_of(self, loop: Loop, step: Callable[[Loop], object]) -> Exit | None:
        """Take a step. What the exit code is where it did not come to its end; what was renewed is written first."""
        try:
            step(loop)
        except KeyboardInterrupt:
            return loop.exit_code
        except Exception as error:  # noqa: BLE001 - a bug must not cost a token
            say(bug(error))
            return Exit.FAILED
        return None

    def _refresh_all(self, loop: Loop) -> None:
        loop.run(self._refresh_logins())
        for login in self.book.logins():
            # Codes are asked for outside the loop, one after the other, so that Ctrl-C works at the question too.
            while self._halt is None and (entry := _waiting(login)) is not None and self._answered(loop, entry):
                loop.run(self._refresh_login(login))

    def _close(self, loop: Loop) -> None:
        """Wait for what was sent. The client's own deadline ends that wait, and nothing else may."""
        try:
            loop.run(self.client.aclose())
        except NotSaved as error:
            self._not_saved(error)

    # One login.

    async def _refresh_logins(self) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(login: list[AccountEntry]) -> None:
            async with slots:
                await self._refresh_login(login)

        async with asyncio.TaskGroup() as group:
            for login in self.book.logins():
                group.create_task(one(login))

    async def _refresh_login(self, login: list[AccountEntry]) -> None:
        """Its accounts one after the other: each reply may renew others of them, or spend the token they share."""
        unknown = False
        refused: set[str | None] = set()
        for entry in login:
            if any(other.pending is not None for other in login):
                return  # a second exchange could void the code that the first one asked for
            if entry.renewed or entry.code is not None:
                continue
            if self._halt is not None:
                entry.code = self._halt
            elif entry.held_back is not None:
                self._end(entry, Exit.NOT_IN_REPLY, entry.held_back)
            elif unknown:
                self._end(entry, Exit.UNKNOWN, "not sent: it is not known what became of another account of its login.")
            elif entry.tokens.refresh_token in refused:
                self._end(entry, Exit.RECONNECT, "it shares the refresh token that was refused.")
            else:
                error = await self._refresh(entry)
                unknown = isinstance(error, OutcomeUnknown)
                if isinstance(error, TokensRefused):
                    refused.add(entry.tokens.refresh_token)

    async def _refresh(self, entry: AccountEntry) -> MeshRefreshError | None:
        try:
            outcome = await self.client.refresh(entry.tokens, create_new_refresh_token=self.new_refresh_token)
        except MeshRefreshError as error:
            self._failed(entry, error)
            return error
        self._came(entry, outcome)
        return None

    # Codes.

    def _answered(self, loop: Loop, entry: AccountEntry) -> bool:
        """Whether the account's question is done with, one way or the other."""
        for left in reversed(range(_TRIES)):
            if entry.pending is None or (code := self.codes.ask(entry.name, entry.pending)) is None:
                break
            refused = loop.run(self._submit(entry, entry.pending, code))
            if refused is None:
                return entry.code is None or entry.renewed
            say(f"{entry.name}: the code was refused{'; try again.' if left else '.'}")
        self._end(entry, Exit.CODE_NEEDED, "an MFA code is needed; the output holds what a later run needs to go on.")
        return False

    async def _submit(self, entry: AccountEntry, pending: MfaRequired, code: str) -> CodeRefused | None:
        # The loop stood still while the person typed: let it notice connections that were closed meanwhile.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            outcome = await self.client.submit_mfa(pending, code)
        except CodeRefused as error:
            self._any_sent = True
            return error
        except MeshRefreshError as error:
            self._failed(entry, error)
        else:
            self._came(entry, outcome)
        return None

    # What came of it.

    def _came(self, entry: AccountEntry, outcome: Refreshed | MfaRequired) -> None:
        self._any_sent = True
        if isinstance(outcome, MfaRequired):
            return
        if outcome.asked is None and not entry.renewed:
            self._end(entry, Exit.NOT_IN_REPLY, "the reply renewed only other accounts of the login; those are saved.")
            return
        for other in self.book.untold():  # those that came with the same reply, too
            if other.unclear is not None:
                say(f"{other.unclear}: renewed, but the reply has several pairs and names no account. {_UNCLEAR}")
            elif not self.quiet:
                say(f"{other.name}: refreshed.")

    def _failed(self, entry: AccountEntry, error: MeshRefreshError) -> None:
        self._any_sent |= not isinstance(error, InvalidRequest | NotSent)
        if isinstance(error, NotSaved):
            entry.code = Exit.NOT_SAVED
            self._not_saved(error)
            return
        later = entry.tokens.not_before
        if isinstance(error, InvalidRequest) and later is not None and later > datetime.now(UTC):
            self._end(entry, Exit.TRY_AGAIN, str(error))
            return
        code = exit_for(error)
        if isinstance(error, ClientRefused):
            self._halt = code
        self._end(entry, code, str(error))

    def _not_saved(self, error: NotSaved) -> None:
        """Send nothing more: what cannot be written must not be spent. `Output.finish` finds another place."""
        for outcome in error.outcomes or ():
            self.output.recover(outcome)
        self._halt = Exit.NOT_SAVED

    def _end(self, entry: AccountEntry, code: Exit, text: str) -> None:
        entry.code = code
        say(f"{entry.name}: {text}")

    def _sum_up(self, *, saved: bool, interrupted: bool) -> None:
        entries, file = self.book.entries, self.output.file
        renewed = sum(entry.renewed for entry in entries)
        where = f", written to {shown(file.path)}" if file and saved and self.book.changed else ""
        if interrupted or (not self.quiet and (len(entries) > 1 or where)):
            say(f"{renewed} of {len(entries)} accounts refreshed{where}.")
        for line in self.output.last_words():
            say(line)


def _still_waiting() -> None:
    say("still waiting for what was sent; that can take a minute.")


def _waiting(login: list[AccountEntry]) -> AccountEntry | None:
    """The account of the login whose code is to be asked for."""
    return next((entry for entry in login if entry.pending is not None and entry.code is None), None)

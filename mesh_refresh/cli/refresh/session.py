"""One run of ``mesh-refresh refresh``: it refreshes every login, asks for codes, and writes everything."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define, field

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
from mesh_refresh.cli.terminal.exit_codes import Exit, code_of_refresh, exit_for
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import describe_bug, format_path, say
from mesh_refresh.cli.terminal.mfa_codes import CodeSource

_AT_ONCE = 20
_TRIES = 3
_UNCLEAR = "They are written without a name: find out the account of each before you use it."


@define
class RefreshRun:
    """A run: its client, accounts, output and source of codes."""

    client: MeshClient
    accounts: Accounts
    output: Output
    codes: CodeSource = field(repr=False)
    new_refresh_token: bool | None = None
    quiet: bool = False
    _halt: Exit | None = None
    """The exit code of what stopped the run; None while it goes on."""
    _any_sent: bool = False
    """Whether a request may have been sent."""

    def run(self, loop: Loop) -> Exit:
        """Refresh every account. Returns the exit code. New tokens are written in any case."""
        end = self._end_of(loop, self._refresh_all)
        loop.closing()
        if loop.received is not None:
            say("interrupted: nothing more is sent; the results of what was sent are written first.")
        end = self._end_of(loop, self._close) or end
        saved = self.output.finish()
        self._sum_up(saved=saved, interrupted=loop.received is not None)
        if not saved:
            return Exit.NOT_SAVED
        codes = [entry.code for entry in self.accounts.entries if entry.code is not None]
        return end or code_of_refresh(codes, any_sent=self._any_sent)

    def _end_of(self, loop: Loop, step: Callable[[Loop], object]) -> Exit | None:
        """Take a step. Returns the exit code if a signal or a bug stopped it, else None."""
        try:
            step(loop)
        except KeyboardInterrupt:
            return loop.exit_code
        except Exception as error:  # noqa: BLE001 - a bug must not cost a token
            say(describe_bug(error))
            return Exit.FAILED
        return None

    def _refresh_all(self, loop: Loop) -> None:
        loop.run(self._refresh_logins())
        for login in self.accounts.logins():
            # Codes are asked for outside the loop, one after the other: Ctrl-C works at the prompt too.
            while self._halt is None and (entry := _waiting(login)) is not None and self._ask_for_code(loop, entry):
                loop.run(self._refresh_login(login))

    def _close(self, loop: Loop) -> None:
        """Wait for the replies to what was sent. Only the deadline of the client ends that wait."""
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
            for login in self.accounts.logins():
                group.create_task(one(login))

    async def _refresh_login(self, login: list[AccountEntry]) -> None:
        """Refresh the accounts of a login one after the other: a reply may renew several, or spend a shared token."""
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
                self._end(entry, Exit.UNKNOWN, "not sent: another account of its login has an unknown outcome.")
            elif self.client.credential(entry.tokens) in refused:
                self._end(entry, Exit.RECONNECT, "not sent: its token was refused for another account of its login.")
            else:
                error = await self._refresh(entry)
                unknown = isinstance(error, OutcomeUnknown)
                if isinstance(error, TokensRefused):
                    refused.add(self.client.credential(entry.tokens))

    async def _refresh(self, entry: AccountEntry) -> MeshRefreshError | None:
        try:
            outcome = await self.client.refresh(entry.tokens, create_new_refresh_token=self.new_refresh_token)
        except MeshRefreshError as error:
            self._failed(entry, error)
            return error
        self._came(entry, outcome)
        return None

    # Codes.

    def _ask_for_code(self, loop: Loop, entry: AccountEntry) -> bool:
        """Ask for codes and submit them. Whether the login can go on: the question is answered, or has failed."""
        for left in reversed(range(_TRIES)):
            if entry.pending is None or (code := self.codes(entry.name, entry.pending.display_message)) is None:
                break
            refused = loop.run(self._submit(entry, entry.pending, code))
            if refused is None:
                return entry.code is None or entry.renewed
            say(f"{entry.name}: the code was refused{'; try again.' if left else '.'}")
        self._end(entry, Exit.CODE_NEEDED, "an MFA code is needed. To go on, run the command on the output.")
        return False

    async def _submit(self, entry: AccountEntry, pending: MfaRequired, code: str) -> CodeRefused | None:
        # The loop stood still while the person typed: it has to notice connections that were closed meanwhile.
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

    # Outcomes.

    def _came(self, entry: AccountEntry, outcome: Refreshed | MfaRequired) -> None:
        self._any_sent = True
        if isinstance(outcome, MfaRequired):
            return
        if outcome.asked is None and not entry.renewed:
            self._end(entry, Exit.NOT_IN_REPLY, "the reply renewed only other accounts of its login; those are saved.")
            return
        for other in self.accounts.untold():  # also the others that the reply renewed
            if other.unclear is not None:
                say(f"{other.unclear}: refreshed, but the reply has several pairs and names no account. {_UNCLEAR}")
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
        """Stop the run: tokens must not be spent if new ones cannot be written. `Output.finish` finds another place."""
        for outcome in error.outcomes or ():
            self.output.recover(outcome)
        self._halt = Exit.NOT_SAVED

    def _end(self, entry: AccountEntry, code: Exit, text: str) -> None:
        entry.code = code
        say(f"{entry.name}: {text}")

    def _sum_up(self, *, saved: bool, interrupted: bool) -> None:
        entries, file = self.accounts.entries, self.output.file
        renewed = sum(entry.renewed for entry in entries)
        where = f", written to {format_path(file.path)}" if file and saved and self.accounts.changed else ""
        if interrupted or (not self.quiet and (len(entries) > 1 or where)):
            say(f"{renewed} of {len(entries)} accounts refreshed{where}.")
        for line in self.output.last_words():
            say(line)


def _waiting(login: list[AccountEntry]) -> AccountEntry | None:
    """The account of the login that waits for a code, or None."""
    return next((entry for entry in login if entry.pending is not None and entry.code is None), None)

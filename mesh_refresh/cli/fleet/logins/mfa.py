"""``mesh-refresh mfa``."""

import asyncio

import click
from attrs import define

from mesh_refresh import CodeRefused, MfaPending, MfaRequired
from mesh_refresh.cli.fleet.support import open_fleet
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import account_option, spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, one_line, say
from mesh_refresh.cli.terminal.mfa_codes import CODE_VARIABLE, CodeSource, code_source
from mesh_refresh.keeper import Account, Login

_TRIES = 3

_EPILOG = f"""\b
Where there is no terminal to ask at, the code is taken from {CODE_VARIABLE}, or
with --code-stdin from standard input. MESH_CLIENT_ID, MESH_CLIENT_SECRET and perhaps
MESH_BASE_URL are needed, as for "run". Logins that wait for a code are listed by:
  mesh-refresh logins --state mfa_required
"""


@click.command(epilog=_EPILOG, short_help="Give the code that a broker asked for.")
@click.argument("login")
@account_option
@click.option("--pending", metavar="ID", help="Answer this question only (events and logins --json have its id).")
@click.option("--restart", is_flag=True, help="Let the broker ask for a new code first.")
@click.option("--code-stdin", is_flag=True, help="Read codes from standard input, one line for each question.")
@spool_option
@store_options
def mfa(
    login: str,
    account: str | None,
    pending: str | None,
    spool: str | None,
    place: StoreLocation,
    *,
    restart: bool,
    code_stdin: bool,
) -> int:
    """Give the code that the broker of LOGIN asked for. You are asked for it, and it is not shown."""
    if restart and pending:
        raise click.UsageError("--restart makes a new question, so that --pending cannot name it.")
    codes = code_source(from_stdin=code_stdin, prompt=True)
    with OpenFleet(place, open_fleet.client, spool=spool, spools=True) as fleet:
        return _Answering(fleet, login, account, pending, codes).run(restart=restart)


@define
class _Answering:
    fleet: OpenFleet
    login_id: str
    account_id: str | None
    pending_id: str | None
    codes: CodeSource

    def run(self, *, restart: bool) -> int:
        """Ask, submit, and again where the broker does."""
        if restart and not self.fleet.run(self._restarted()):
            say(f"{self.login_id}: refreshed, without a code.")
            return Exit.REFRESHED
        refused = False
        for left in reversed(range(_TRIES)):
            login = self.fleet.run(self.fleet.keeper.login(self.login_id))
            account = self._waiting(login)
            assert account.pending is not None  # noqa: S101 - `_waiting` looks for it
            code = self.codes.ask(_name(account), MfaRequired.from_json(account.pending.document))
            if code is None:
                # After a code that was refused, it goes without saying that there is no other.
                none = "" if refused else "no code was given; "
                raise Failure(f"{none}the question stays open.", Exit.CODE_NEEDED)
            try:
                self.fleet.run(self._submit(code, account.pending.id))
            except CodeRefused:
                refused = True
                say(f"{self.login_id}: the code was refused{'; try again.' if left else '.'}")
            except MfaPending as asked:
                self.pending_id = asked.pending_id
                say(f"{self.login_id}: the broker asks for another code.")
            else:
                say(f"{self.login_id}: refreshed.")
                return Exit.REFRESHED
        raise Failure("the question stays open; --restart lets the broker ask for a new code.", Exit.CODE_NEEDED)

    async def _restarted(self) -> bool:
        """Whether there is a question now."""
        keeper = self.fleet.keeper
        account = (await keeper.login(self.login_id)).account(self.account_id)
        if account.pending is not None:
            return (await keeper.restart_mfa(self.login_id, self.account_id)).pending is not None
        try:
            await keeper.refresh(self.login_id, self.account_id)
        except MfaPending:
            return True
        return False

    def _waiting(self, login: Login) -> Account:
        """The account whose question is to be answered."""
        found = [login.account(self.account_id)] if self.account_id is not None else list(login.accounts)
        found = [account for account in found if account.pending is not None]
        if self.pending_id is not None:
            found = [account for account in found if account.pending and account.pending.id == self.pending_id]
        if not found:
            raise Failure("No code is waited for here. --restart lets the broker ask for one.")
        if len(found) > 1:
            names = ", ".join(one_line(account.tokens.account_id or "-") for account in found)
            raise Failure(f"Several accounts of this login wait for a code: say which with --account ({names}).")
        if found[0].pending is not None and found[0].pending.answered:
            raise Failure("A code was sent, and nobody knows what came of it: --restart asks for a new one.")
        return found[0]

    async def _submit(self, code: str, pending_id: str) -> None:
        # The loop stood still while the person typed: let it notice connections that were closed meanwhile.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.fleet.keeper.submit_mfa(self.login_id, code, pending_id=pending_id)


def _name(account: Account) -> str:
    """Broker and account, as a source of codes is told of it."""
    known = account.tokens.account_id or account.tokens.mesh_account_id
    return f"{account.tokens.broker} {known}" if known else str(account.tokens.broker)

"""``mesh-refresh mfa``."""

import asyncio

import click
from attrs import define, field

from mesh_refresh import CodeRefused, MfaPending
from mesh_refresh.cli.fleet.support import open_fleet
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import account_option, spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.own_app import OwnApp, app_option
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, one_line, say
from mesh_refresh.cli.terminal.mfa_codes import CODE_VARIABLE, CodeSource, code_source
from mesh_refresh.keeper import Account, Login

_TRIES = 3
_AGAIN = "Run it again, or with --restart to let the broker ask for a new code."

_EPILOG = f"""
The code comes from the terminal; from {CODE_VARIABLE}, if that is set; or with
--code-stdin from standard input. The command needs MESH_CLIENT_ID, MESH_CLIENT_SECRET
and, outside production, MESH_BASE_URL, as "run" does.

\b
To list the logins that wait for a code:
  mesh-refresh logins --state mfa_required
"""


@click.command(epilog=_EPILOG, short_help="Submit the MFA code that a broker asked for.")
@click.argument("login")
@account_option
@click.option("--pending", metavar="ID", help="Answer only the question with this id, as in events and logins --json.")
@click.option("--restart", is_flag=True, help="Let the broker ask for a new code first.")
@click.option("--code-stdin", is_flag=True, help="Read codes from standard input, one line for each question.")
@spool_option
@app_option
@store_options
def mfa(
    login: str,
    account: str | None,
    pending: str | None,
    *,
    spool: str | None,
    location: StoreLocation,
    app: OwnApp,
    restart: bool,
    code_stdin: bool,
) -> int:
    """Submit the MFA code that the broker of LOGIN asked for. Type it at the prompt; it is not shown."""
    if restart and pending:
        raise click.UsageError("--restart makes a new question, which --pending cannot name.")
    codes = code_source(from_stdin=code_stdin, prompt=True)
    with OpenFleet(location, app, open_fleet.make_client, spool=spool, spools=True) as fleet:
        return _CodeDialog(fleet, login, account, pending, codes).run(restart=restart)


@define
class _CodeDialog:
    fleet: OpenFleet
    login_id: str
    account_id: str | None
    pending_id: str | None
    codes: CodeSource = field(repr=False)

    def run(self, *, restart: bool) -> int:
        """Ask for a code and submit it, until the account is refreshed. Raises `Failure` after some refused codes."""
        if restart and not self.fleet.run(self._restart()):
            say(f"{self.login_id}: refreshed; the broker wanted no code.")
            return Exit.REFRESHED
        refused = False
        for left in reversed(range(_TRIES)):
            login = self.fleet.run(self.fleet.keeper.login(self.login_id))
            account = self._waiting(login)
            assert account.pending is not None  # noqa: S101 - `_waiting` looks for it
            code = self.codes(_name(account), account.pending.display_message)
            if code is None:
                # After a refused code, the missing next one needs no words.
                none = "" if refused else "no code was given, and none was sent; "
                raise Failure(f"{none}the question stays open. {_AGAIN}", Exit.CODE_NEEDED)
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
        raise Failure(f"the question stays open. {_AGAIN}", Exit.CODE_NEEDED)

    async def _restart(self) -> bool:
        """Let the broker ask for a new code. False: it refreshed the account without one."""
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
        """The account whose question the code answers. Raises `Failure` where that is none or not clear."""
        found = [login.account(self.account_id)] if self.account_id is not None else list(login.accounts)
        found = [account for account in found if account.pending is not None]
        if self.pending_id is not None:
            found = [account for account in found if account.pending and account.pending.id == self.pending_id]
        if not found:
            raise Failure("This login waits for no code. Nothing was sent. --restart lets the broker ask for one.")
        if len(found) > 1:
            names = ", ".join(one_line(account.tokens.account_id or "-") for account in found)
            raise Failure(f"Several accounts of this login wait for a code. Name one with --account ({names}).")
        if found[0].pending is not None and found[0].pending.answered:
            raise Failure("A code was sent, and its outcome is unknown. --restart lets the broker ask for a new one.")
        return found[0]

    async def _submit(self, code: str, pending_id: str) -> None:
        # The loop stood still while the person typed: it has to notice connections that were closed meanwhile.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.fleet.keeper.submit_mfa(self.login_id, code, pending_id=pending_id)


def _name(account: Account) -> str:
    """Broker and account, for the prompt."""
    known = account.tokens.account_id or account.tokens.mesh_account_id
    return f"{account.tokens.broker} {known}" if known else str(account.tokens.broker)

"""``mesh-refresh salvage``."""

import os
import sys
from pathlib import Path

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import account_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, one_line, say, system_reason
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.keeper.rules.unreadable import ONLY_STRANGERS

_EPILOG = """\b
A token that is found in the body goes back into the store by an import of one line:
  {"login": "LOGIN", "tokens": [{"format": "mesh_refresh.tokens", "version": 1,
   "broker": "BROKER", "account_id": "ACCOUNT", "refresh_token": "..."}]}

\b
That wakes the account: it is refreshed at once. If there is none in it, the person
must log in again, and what Link hands over then is imported in the same way.
"""


@click.command(epilog=_EPILOG, short_help="Bring out a reply that could not be read.")
@click.argument("login")
@account_option
@click.option("-o", "--output", metavar="FILE", help="Write the body of the reply there, mode 0600; a new file.")
@click.option("--show", is_flag=True, help="Write it to standard output.")
@store_options
def salvage(login: str, account: str | None, output: str | None, place: StoreLocation, *, show: bool) -> int:
    """Bring out the reply to LOGIN that could not be read, and that may hold its only live token.

    Without --output and --show it only says what is known of it. Nothing is sent, and the store stays as it is.
    """
    if output and show:
        raise click.UsageError("--output and --show exclude each other.")
    with OpenFleet(place) as fleet:
        found = fleet.run(fleet.keeper.login(login))
        kept = _account(found, account)
    body = kept.body or b""
    _tell(found, kept)
    if output:
        _write(Path(output), body)
        say("written (mode 0600). It may hold a live token: keep it private, and remove it when it has served.")
    elif show:
        _show(body)
    else:
        say("--output FILE writes it to a file, --show to standard output.")
        return Exit.REFRESHED
    say("how what you find goes back into the store: mesh-refresh salvage --help")
    return Exit.REFRESHED


def _account(login: Login, account_id: str | None) -> Account:
    if account_id is not None:
        found = [login.account(account_id)]
    else:
        found = [account for account in login.accounts if account.body is not None]
    if not found or found[0].body is None:
        raise Failure("There is no unreadable reply to salvage here.")
    if len(found) > 1:
        names = ", ".join(one_line(_name(account)) for account in found)
        raise Failure(f"Several accounts of this login have one: say which with --account ({names}).")
    return found[0]


def _name(account: Account) -> str:
    return account.tokens.account_id or account.tokens.mesh_account_id or "without an id"


def _tell(login: Login, account: Account) -> None:
    when = f" on {account.parked_at:%Y-%m-%d at %H:%M:%S} UTC" if account.parked_at else ""
    size = len(account.body or b"")
    say(f"{login.login_id}: {login.broker}, account {_name(account)}: a reply of {size} bytes came{when}.")
    say(f"{_why(account)}, and may hold the only live token of the account; what was stored before is kept too.")
    if account.state is not AccountState.UNREADABLE:
        say(f"the account is {account.state} by now. The reply is kept until the person logs in anew.")


def _why(account: Account) -> str:
    if account.display_message == ONLY_STRANGERS:
        return "it names only accounts that this login does not have, so that it is most likely another person's"
    return "it could not be taken"


def _show(body: bytes) -> None:
    """To the byte, or on a terminal without what could steer it: the body is of a server."""
    if sys.stdout.isatty():
        letters = body.decode("utf-8", "backslashreplace")
        click.echo("".join(it if it.isprintable() or it == "\n" else ascii(it)[1:-1] for it in letters))
        return
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def _write(path: Path, body: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure("--output exists: name a new file.") from None
    except OSError as error:
        raise Failure(f"--output cannot be written: {system_reason(error)}.") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Failure(f"--output cannot be written: {system_reason(error)}. The store still has it.") from None

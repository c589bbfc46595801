"""``mesh-refresh salvage``."""

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import account_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.messages import Failure, format_path, one_line, say, system_reason
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.keeper.rules.unreadable import ONLY_STRANGERS

_KEPT = "The store still has the reply."

_EPILOG = """\b
If you find a token in the body, import it with one line:
  {"login": "LOGIN", "tokens": [
    {"format": "mesh_refresh.tokens", "version": 1, "broker": "BROKER",
     "account_id": "ACCOUNT", "refresh_token": "..."}]}

The account is then refreshed at once. If the body has no token, the person must log
in again: import the new payload of Link.
"""


@click.command(epilog=_EPILOG, short_help="Bring out a reply that could not be read.")
@click.argument("login")
@account_option
@click.option("-o", "--output", metavar="FILE", help="Write the body of the reply to this new file, mode 0600.")
@click.option("--show", is_flag=True, help="Write the body to standard output.")
@store_options
def salvage(login: str, account: str | None, output: str | None, location: StoreLocation, *, show: bool) -> None:
    """Bring out the reply for LOGIN that could not be read and may hold its only live token.

    Without --output or --show the command only describes the reply. It sends nothing, and does not change the store.
    """
    if output and show:
        raise click.UsageError("--output and --show exclude each other.")
    with OpenFleet(location) as fleet:
        found = fleet.run(fleet.keeper.login(login))
        kept = _find_account(found, account)
    body = kept.body or b""
    _describe(found, kept)
    if output:
        _write(Path(output), body)
        say("written (mode 0600). It may hold a live token: keep it private, and delete it after use.")
    elif show:
        _show(body)
    else:
        say("--output FILE writes it to a file, --show to standard output.")
        return
    say("to import a token from it: mesh-refresh salvage --help")


def _find_account(login: Login, account_id: str | None) -> Account:
    if account_id is not None:
        found = [login.account(account_id)]
    else:
        found = [account for account in login.accounts if account.body is not None]
    if not found or found[0].body is None:
        raise Failure("This login has no unreadable reply.")
    if len(found) > 1:
        names = ", ".join(one_line(_name(account)) for account in found)
        raise Failure(f"Several accounts of this login have an unreadable reply. Name one with --account ({names}).")
    return found[0]


def _name(account: Account) -> str:
    return account.tokens.account_id or account.tokens.mesh_account_id or "without an id"


def _describe(login: Login, account: Account) -> None:
    when = f" on {account.parked_at:%Y-%m-%d at %H:%M:%S} UTC" if account.parked_at else ""
    size = len(account.body or b"")
    say(f"{login.login_id}: {login.broker}, account {_name(account)}: a reply of {size} bytes came{when}.")
    say(f"{_reason(account)}. It may hold the only live token of the account. The stored tokens are unchanged.")
    if account.state is not AccountState.UNREADABLE:
        say(f"the account is {account.state} now. The store keeps the reply until the person logs in again.")


def _reason(account: Account) -> str:
    if account.display_message == ONLY_STRANGERS:
        return "it names only accounts that this login does not have, so it most likely belongs to another person"
    return "it could not be read"


def _show(body: bytes) -> None:
    """Write the bytes; on a terminal without control characters, since the body comes from a server."""
    if sys.stdout.isatty():
        letters = body.decode("utf-8", "backslashreplace")
        click.echo("".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in letters))
        return
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def _write(path: Path, body: bytes) -> None:
    try:
        with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(body)
    except FileExistsError:
        raise Failure(f"--output {format_path(path)} exists. Name a new file.") from None
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise Failure(f"--output cannot be written: {system_reason(error)}. {_KEPT}") from None

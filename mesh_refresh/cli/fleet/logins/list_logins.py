"""``mesh-refresh logins``."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click
from attrs import frozen

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import json_option, page_options, parse_time, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import Cell, show
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import format_count, one_line, say
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.keeper.listing import UnopenedRow, page_of, read_page
from mesh_refresh.stores import WrongKey

_COLUMNS = ("login", "broker", "account", "state", "reason", "expires", "due", "failures", "changed")
_YIELDING = ("reason", "failures", "changed", "account", "due", "expires", "broker", "state")
"""In a narrow window. The reason goes first: mostly it is empty, and it reads well in a line of its own."""
_NOT_OPENED, _NOT_READ = "cannot be opened with these keys", "cannot be read"
_PAGE = 500
_SHOWN = 100


@frozen
class _Filters:
    """The logins to list, and of these the accounts."""

    state: str | None
    broker: str | None
    changed_since: datetime | None
    after: str | None

    def read(self, fleet: OpenFleet, limit: int | None) -> Iterator[Login | UnopenedRow]:
        """The logins that match, `limit` of them at the most; None: all.

        It reads page by page, so that a large store is printed while it is read, and ``head`` can end that.
        """
        left, after = limit, self.after
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            wanted = page_of(size, state=self.state, broker=self.broker, changed_since=self.changed_since, after=after)
            page = fleet.run(read_page(fleet.store, wanted))
            yield from page
            if len(page) < size:
                return
            after, left = page[-1].login_id, None if left is None else left - size

    def accounts(self, login: Login) -> list[Account]:
        """The accounts of `login` to list."""
        return [account for account in login.accounts if self.state in (None, account.state)]


@click.command("logins", short_help="List logins, by state, broker or change.")
@click.option(
    "--state",
    type=click.Choice([state.value for state in AccountState]),
    metavar="STATE",
    help=f"Logins with an account in this state: {', '.join(AccountState)}.",
)
@click.option("--broker", metavar="NAME", help="Logins of this broker, such as coinbase.")
@click.option("--changed-since", type=parse_time, metavar="TIME", help="Changed at TIME or later: a time, or 15m, 2h.")
@page_options("login", "LOGIN", _SHOWN)
@json_option
@store_options
def list_logins(
    location: StoreLocation,
    state: str | None,
    broker: str | None,
    changed_since: datetime | None,
    after: str | None,
    *,
    limit: int | None,
    as_json: bool,
) -> int:
    """List the logins of the store, one line for each account.

    It shows no tokens, sends nothing, and needs no keys of Mesh. Logins that these keys do not open are listed with
    their unencrypted columns, and the exit code is 12.
    """
    filters = _Filters(state, broker, changed_since, after)
    unopened: list[UnopenedRow] = []
    with OpenFleet(location) as fleet:
        if as_json:
            for login in filters.read(fleet, limit):
                unopened += [login] if isinstance(login, UnopenedRow) else []
                for document in _documents(login, filters):
                    click.echo(json.dumps(document))
        else:
            unopened = _print(fleet, limit or _SHOWN, filters)
    if not unopened:
        return Exit.REFRESHED
    sys.stdout.flush()
    sealed = sum(isinstance(row.error, WrongKey) for row in unopened)
    if damaged := len(unopened) - sealed:
        say(f"{format_count(damaged, 'login')} {_NOT_READ}. The store is unchanged: restore from a backup.")
    if sealed:
        say(f"{format_count(sealed, 'login')} {_NOT_OPENED}: {location.other_key()}")
    return Exit.STORE


def _documents(login: Login | UnopenedRow, filters: _Filters) -> list[dict[str, Any]]:
    if isinstance(login, UnopenedRow):
        return [document_of_unopened(login)]
    return [document_of(login, account) for account in filters.accounts(login)]


def document_of_unopened(login: UnopenedRow) -> dict[str, Any]:
    """What ``--json`` writes of a login that does not open: its unencrypted columns."""
    row = login.row
    facts = {"login": row.login_id, "broker": row.broker, "state": "+".join(sorted(row.states))}
    times = {"expires_at": _iso(row.expires_at), "due_at": _iso(row.due_at), "changed_at": _iso(row.changed_at)}
    return {**facts, "opened": False, "problem": _problem(login), **times}


def document_of(login: Login, account: Account) -> dict[str, Any]:
    """What ``--json`` writes of an account: nothing secret."""
    tokens = account.tokens
    return {
        "login": login.login_id,
        "broker": str(login.broker),
        "account": tokens.account_id,
        "mesh_account": tokens.mesh_account_id,
        "state": account.state.value,
        "moving": login.moving.way.value if login.moving else None,
        "reason": account.reason.value if account.reason else None,
        "expires_at": _iso(tokens.expires_at),
        "refresh_token_expires_at": _iso(tokens.refresh_token_expires_at),
        "due_at": _iso(account.due_at),
        "refreshed_at": _iso(account.refreshed_at),
        "failures": account.failures,
        "last_error": account.last_error,
        "needs_code": account.needs_code,
        "pending_id": account.pending.id if account.pending else None,
        "display_message": account.display_message,
        "changed_at": _iso(login.changed_at),
        "opened": True,
    }


def _print(fleet: OpenFleet, limit: int, filters: _Filters) -> list[UnopenedRow]:
    """Print the table. Returns the logins in it that do not open."""
    found = list(filters.read(fleet, limit + 1))
    shown = found[:limit]
    if not shown:
        say("no login matches.")
        return []
    rows = [row for login in shown for row in _rows(login, filters)]
    show(_COLUMNS, rows, numbers=("failures",), yielding=_YIELDING)
    if len(found) > limit:
        sys.stdout.flush()
        say(f"there are more: --after {one_line(shown[-1].login_id)}")
    return [login for login in shown if isinstance(login, UnopenedRow)]


def _rows(login: Login | UnopenedRow, filters: _Filters) -> list[tuple[Cell, ...]]:
    if not isinstance(login, UnopenedRow):
        return [_row(login, account) for account in filters.accounts(login)]
    row = login.row
    times = row.expires_at, row.due_at
    return [
        (row.login_id, row.broker, None, "+".join(sorted(row.states)), _problem(login), *times, None, row.changed_at)
    ]


def _problem(login: UnopenedRow) -> str:
    return _NOT_OPENED if isinstance(login.error, WrongKey) else _NOT_READ


def _row(login: Login, account: Account) -> tuple[Cell, ...]:
    tokens = account.tokens
    return (
        login.login_id,
        str(login.broker),
        tokens.account_id or tokens.mesh_account_id,
        login.moving.way.value if login.moving else account.state.value,
        account.reason.value if account.reason else account.last_error,
        tokens.expires_at,
        account.due_at if not account.parked and not login.moving else None,
        account.failures,
        login.changed_at,
    )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()

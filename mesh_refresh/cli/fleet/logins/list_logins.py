"""``mesh-refresh logins``."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import duration, json_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import Cell, show
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import counted, one_line, say
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.keeper.listing import UnopenedRow, page_of, read_page
from mesh_refresh.stores import WrongKey

_COLUMNS = ("login", "broker", "account", "state", "reason", "expires", "due", "failures", "changed")
_YIELDING = ("reason", "failures", "changed", "account", "due", "expires", "broker", "state")
"""In a narrow window. What says why something is wrong is mostly empty, and stands well in a line of its own."""
_NOT_OPENED, _NOT_READ = "cannot be opened with these keys", "cannot be read"
_PAGE = 500
_SHOWN = 100


def _time(text: str) -> datetime:
    """A time, or how long ago."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - duration(text)
        except (click.BadParameter, OverflowError):
            moment = datetime.min  # noqa: DTZ901 - without an offset: refused below
    if moment.tzinfo is None:
        raise click.BadParameter("It should be a time such as 2026-11-23T16:00:00+00:00, or a span such as 15m.")
    return moment


@click.command(short_help="List logins, by state, broker or change.")
@click.option("--state", type=click.Choice([state.value for state in AccountState]), help="With an account in it.")
@click.option("--broker", metavar="NAME", help="Of this broker, such as coinbase.")
@click.option("--changed-since", type=_time, metavar="TIME", help="Changed then or later: a time, or 15m, 2h, 1d.")
@click.option("--after", metavar="LOGIN", help="Those behind this login, in the order of the ids.")
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help=f"Logins at the most.  [default: {_SHOWN}; all with --json]"
)
@json_option
@store_options
def logins(place: StoreLocation, limit: int | None, *, as_json: bool, **filters: Any) -> int:
    """List the logins of the store, a line for each account; with --state, only for those in it.

    No tokens are shown. Nothing is sent, and no keys of Mesh are needed. A login that does not open with the keys at
    hand is listed as that, and the exit code is 12.
    """
    unopened: list[UnopenedRow] = []
    with OpenFleet(place) as fleet:
        if as_json:
            for login in _found(fleet, limit, filters):
                unopened += [login] if isinstance(login, UnopenedRow) else []
                for document in _documents(login, filters):
                    click.echo(json.dumps(document))
        else:
            unopened = _print(fleet, limit or _SHOWN, filters)
    if not unopened:
        return Exit.REFRESHED
    sys.stdout.flush()
    sealed = sum(isinstance(it.error, WrongKey) for it in unopened)
    if sealed < len(unopened):
        say(f"{counted(len(unopened) - sealed, 'login')} {_NOT_READ}, and was left as it is: restore it from a backup.")
    if sealed:
        say(f"{counted(sealed, 'login')} {_NOT_OPENED}: {place.other_key()}")
    return Exit.STORE


def _documents(login: Login | UnopenedRow, filters: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(login, UnopenedRow):
        return [document_of_unopened(login)]
    return [document_of(login, account) for account in _wanted(login, filters)]


def document_of_unopened(login: UnopenedRow) -> dict[str, Any]:
    """What ``--json`` writes of a login that does not open: what the store shows of it."""
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


def _print(fleet: OpenFleet, limit: int, filters: dict[str, Any]) -> list[UnopenedRow]:
    """The table; gives those of its logins that do not open."""
    found = list(_found(fleet, limit + 1, filters))
    shown = found[:limit]
    if not shown:
        say("no login fits.")
        return []
    rows = [row for login in shown for row in _rows(login, filters)]
    show(_COLUMNS, rows, numbers=("failures",), yielding=_YIELDING)
    if len(found) > limit:
        sys.stdout.flush()
        say(f"there are more: --after {one_line(shown[-1].login_id)}")
    return [login for login in shown if isinstance(login, UnopenedRow)]


def _rows(login: Login | UnopenedRow, filters: dict[str, Any]) -> list[tuple[Cell, ...]]:
    if not isinstance(login, UnopenedRow):
        return [_row(login, account) for account in _wanted(login, filters)]
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


def _found(fleet: OpenFleet, limit: int | None, filters: dict[str, Any]) -> Iterator[Login | UnopenedRow]:
    """Page by page, so that a pipe is fed while a large store is read, and ``head`` can end it."""
    left, after = limit, filters["after"]
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        wanted: dict[str, Any] = {**filters, "after": after}
        page = fleet.run(read_page(fleet.store, page_of(size, **wanted)))
        yield from page
        if len(page) < size:
            return
        after, left = page[-1].login_id, None if left is None else left - size


def _wanted(login: Login, filters: dict[str, Any]) -> list[Account]:
    return [account for account in login.accounts if filters["state"] in (None, account.state)]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()

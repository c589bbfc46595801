"""``mesh-refresh prune``."""

from datetime import UTC, datetime
from pathlib import Path

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import check_past, do_it_option, parse_time, spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import format_moment
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, format_count, format_path, one_line, say, system_reason
from mesh_refresh.keeper import AccountState, Login
from mesh_refresh.keeper.bulk.prune import Prune
from mesh_refresh.keeper.runtime.spool import look
from mesh_refresh.stores import Sealing
from mesh_refresh.tasks import all_of


@click.command(short_help="Remove logins whose people have not come back for long.")
@click.option(
    "--parked-before", type=parse_time, required=True, metavar="TIME", help="Parked before TIME: a time, or 90d."
)
@do_it_option
@spool_option
@store_options
def prune(location: StoreLocation, parked_before: datetime, spool: str | None, *, yes: bool) -> int:
    """Remove logins that wait for their person to log in again since before TIME, each account of them.

    Without --yes it only lists them. It leaves logins with an account in any other state, with an unreadable reply,
    with tokens in the spool, that were moved, that are in use, or whose last exchange has an unknown outcome. Ages are
    told by the clocks of the machines: look at the dates in the list first.
    """
    now = datetime.now(UTC)
    check_past("--parked-before", parked_before, now)
    folder = location.spool(spool)
    removed = listed = unopened = 0
    with OpenFleet(location, read_only=not yes) as fleet:
        cipher = fleet.store.cipher
        spooled = _read_spool(folder, cipher)
        what = Prune(parked_before, now, lambda login_id: _is_spooled(folder, cipher, login_id))
        try:
            for page in fleet.pages(AccountState.RECONNECT_REQUIRED):
                logins = [it for it in page if isinstance(it, Login)]
                unopened += len(page) - len(logins)
                found = [login for login in logins if what.concerns(login) and login.login_id not in spooled]
                listed += len(found)
                if yes:
                    removed += sum(fleet.run(all_of(what.apply(fleet.store, login) for login in found)))
                else:
                    for login in found:
                        click.echo(_line(login))
        except KeyboardInterrupt:
            say(f"interrupted: {format_count(removed, 'login')} removed so far. Run it again for the rest.")
            raise
    if yes:
        left = listed - removed
        say(f"{format_count(removed, 'login')} removed{f'; {left} left, in use or changed meanwhile' if left else ''}.")
    else:
        since = format_moment(parked_before.astimezone(UTC))
        say(
            f"{format_count(listed, 'login')} parked before {since}. Nothing was changed: --yes removes them with "
            "their tokens."
        )
    return location.report_unopened(unopened)


def _line(login: Login) -> str:
    parked = max(account.parked_at for account in login.accounts if account.parked_at is not None)
    return f"{one_line(login.login_id)}  {one_line(str(login.broker))}  parked {format_moment(parked)}"


def _read_spool(folder: Path, cipher: Sealing) -> frozenset[str]:
    """The logins that have tokens in it. Raises `Failure` for a file that may be of any login."""
    try:
        found = [it for it in look(folder, cipher) if not it.is_damaged]
    except OSError as error:
        raise Failure(f"The spool {format_path(folder)} cannot be read: {system_reason(error)}.", Exit.STORE) from None
    if unopened := [it.path for it in found if it.login_id is None]:
        raise Failure(
            f"The file {format_path(unopened[0])} of the spool does not open, and may have tokens of any login. "
            "Nothing was removed. Next: mesh-refresh check",
            Exit.STORE,
        )
    return frozenset(it.login_id for it in found if it.login_id is not None)


def _is_spooled(folder: Path, cipher: Sealing, login_id: str) -> bool:
    try:
        return any(it.login_id in (login_id, None) and not it.is_damaged for it in look(folder, cipher))
    except OSError:
        return True

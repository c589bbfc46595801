"""``mesh-refresh remove``."""

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import spool_option, store_options
from mesh_refresh.cli.fleet.support.spool_content import SpoolContent
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import format_count, one_line, say
from mesh_refresh.cli.terminal.questions import YES, confirm
from mesh_refresh.keeper import UnknownLogin
from mesh_refresh.stores import StoreDamaged, WrongKey


@click.command(short_help="Delete a login and its tokens.")
@click.argument("login")
@YES
@spool_option
@store_options
def remove(login: str, location: StoreLocation, spool: str | None, *, yes: bool) -> int:
    """Delete LOGIN and all of its tokens from the store and from the spool.

    This cannot be undone, so the command asks first; without a terminal, --yes is required. It looks into one spool:
    not into those of other folders and machines. It also removes a login that only the spool has.
    """
    folder = location.spool(spool)
    with OpenFleet(location) as fleet:
        row = fleet.run(fleet.store.read(login))
        if row is None and not SpoolContent.find(folder, fleet.store.cipher, login).of_login:
            raise UnknownLogin
        if not yes:
            where = "in the spool only" if row is None else row.broker
            opens = "" if row is None or fleet.run(_opens(fleet, login)) else ", which cannot be opened with these keys"
            question = f"Delete {one_line(login)} ({one_line(where)}) and its tokens{opens}?"
            confirm(question, otherwise="nothing was removed.")
        fleet.run(fleet.keeper.remove(login))
        # After the row: what a worker spools before this is found here, and what it writes later finds no row.
        spooled = SpoolContent.find(folder, fleet.store.cipher, login)
        spooled.forget()
    files = f", with {format_count(len(spooled.of_login), 'file')} of the spool" if spooled.of_login else ""
    say(f"removed: {login}{files}.")
    if spooled.unopened:
        unopened = format_count(spooled.unopened, "file")
        say(f"note: {unopened} of the spool cannot be opened with these keys, may belong to any login, and was kept.")
    return Exit.REFRESHED


async def _opens(fleet: OpenFleet, login_id: str) -> bool:
    """Whether the login can be read with these keys. One that cannot be read can be removed all the same."""
    try:
        await fleet.keeper.login(login_id)
    except (WrongKey, StoreDamaged):
        return False
    return True

"""``mesh-refresh remove``."""

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import spool_option, store_options
from mesh_refresh.cli.fleet.support.spool_content import SpoolContent
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import counted, one_line, say
from mesh_refresh.cli.terminal.questions import YES, agree
from mesh_refresh.keeper import UnknownLogin
from mesh_refresh.stores import StoreDamaged, WrongKey


@click.command(short_help="Forget a login and its tokens.")
@click.argument("login")
@YES
@spool_option
@store_options
def remove(login: str, place: StoreLocation, spool: str | None, *, yes: bool) -> int:
    """Forget LOGIN and all of its tokens, those in the spool too.

    There is no way back, so you are asked first; where there is no terminal to ask at, --yes must be said. Spools of
    other folders and machines are not looked into. A login that is in the spool alone can be named as well.
    """
    folder = place.spool(spool)
    with OpenFleet(place) as fleet:
        row = fleet.run(fleet.store.read(login))
        if row is None and not SpoolContent.found(folder, fleet.store.cipher, login).of_login:
            raise UnknownLogin
        if not yes:
            where = "in the spool alone" if row is None else row.broker
            opens = "" if row is None or fleet.run(_opens(fleet, login)) else ", which cannot be opened with these keys"
            question = f"Forget {one_line(login)} ({one_line(where)}) and its tokens{opens}?"
            agree(question, yes=yes, otherwise="nothing was removed.")
        fleet.run(fleet.keeper.remove(login))
        # After the row: what a worker spools until then is found, and what it writes later finds no row.
        spooled = SpoolContent.found(folder, fleet.store.cipher, login)
        spooled.forget()
    files = f", with {counted(len(spooled.of_login), 'file')} of the spool" if spooled.of_login else ""
    say(f"removed: {login}{files}.")
    if spooled.unopened:
        say(
            f"note: {counted(spooled.unopened, 'file')} of the spool cannot be opened with these keys, and may be of "
            "any login: what does not open stays."
        )
    return Exit.REFRESHED


async def _opens(fleet: OpenFleet, login_id: str) -> bool:
    """A login that nobody can open can be forgotten all the same."""
    try:
        await fleet.keeper.login(login_id)
    except (WrongKey, StoreDamaged):
        return False
    return True

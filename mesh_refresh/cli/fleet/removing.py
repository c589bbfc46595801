"""``mesh-refresh remove``."""

import sys

import click

from mesh_refresh.cli.exits import Exit
from mesh_refresh.cli.fleet.opened import Fleet
from mesh_refresh.cli.fleet.options import store_options
from mesh_refresh.cli.fleet.place import Place
from mesh_refresh.cli.lines import Failure, one_line, say
from mesh_refresh.keeper import UnknownLogin
from mesh_refresh.stores import StoreDamaged, WrongKey


@click.command(short_help="Forget a login and its tokens.")
@click.argument("login")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_options
def remove(login: str, place: Place, *, yes: bool) -> int:
    """Forget LOGIN and all of its tokens. At a terminal you are asked first: there is no way back."""
    with Fleet(place) as fleet:
        found = fleet.run(fleet.store.read(login))
        if found is None:
            raise UnknownLogin
        if not yes and sys.stdin is not None and sys.stdin.isatty():
            opens = "" if fleet.run(_opens(fleet, login)) else ", which cannot be opened with these keys"
            question = f"Forget {one_line(login)} ({one_line(found.broker)}) and its tokens{opens}?"
            if not click.confirm(question, err=True):
                raise Failure("nothing was removed.", Exit.INTERRUPTED)
        fleet.run(fleet.keeper.remove(login))
    say(f"removed: {login}.")
    return Exit.REFRESHED


async def _opens(fleet: Fleet, login_id: str) -> bool:
    """A login that nobody can open can be forgotten all the same."""
    try:
        await fleet.keeper.login(login_id)
    except (WrongKey, StoreDamaged):
        return False
    return True

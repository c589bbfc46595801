"""``mesh-refresh remove``."""

import sys

import click

from mesh_refresh.cli.exits import Exit
from mesh_refresh.cli.fleet.opened import Fleet
from mesh_refresh.cli.fleet.options import store_options
from mesh_refresh.cli.fleet.place import Place
from mesh_refresh.cli.lines import Failure, one_line, say


@click.command(short_help="Forget a login and its tokens.")
@click.argument("login")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_options
def remove(login: str, place: Place, *, yes: bool) -> int:
    """Forget LOGIN and all of its tokens. At a terminal you are asked first: there is no way back."""
    with Fleet(place) as fleet:
        found = fleet.run(fleet.keeper.login(login))
        if not yes and sys.stdin is not None and sys.stdin.isatty():
            question = f"Forget {one_line(login)} ({one_line(str(found.broker))}) and its tokens?"
            if not click.confirm(question, err=True):
                raise Failure("nothing was removed.", Exit.INTERRUPTED)
        fleet.run(fleet.keeper.remove(login))
    say(f"removed: {login}.")
    return Exit.REFRESHED

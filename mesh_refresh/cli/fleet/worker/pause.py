"""``mesh-refresh pause`` and ``mesh-refresh resume``."""

from datetime import UTC, datetime

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import say

_ALL = "*"

_EPILOG = """\b
The pause of all (--all) and those of single brokers are kept apart: ending one
leaves the others. So all that is paused can be let go broker by broker:
  mesh-refresh pause --all      nothing is sent, whatever else is said
  mesh-refresh pause --each     each broker by its own name, too
  mesh-refresh resume --all     the brokers are paused still
  mesh-refresh resume coinbase  this one goes on

\b
To end every pause there is:
  mesh-refresh resume --all --each
"""


@click.command(epilog=_EPILOG, short_help="Refresh nothing of a broker, or at all, for now.")
@click.argument("brokers", metavar="[BROKER...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All brokers together, also those that are still to come.")
@click.option("--each", is_flag=True, help="Each broker that the store has, by its own name.")
@store_options
def pause(brokers: tuple[str, ...], place: StoreLocation, *, everything: bool, each: bool) -> int:
    """No more exchanges of BROKER, in any process, until "resume". What is under way is finished.

    The store keeps it: it also holds for workers that are started later. Tokens that are good are handed out as before.
    """
    _check(brokers, everything=everything, each=each)
    with OpenFleet(place) as fleet:
        known = {count.broker for count in fleet.run(fleet.store.counts(datetime.now(UTC)))}
        names = [*([_ALL] if everything else []), *(sorted(known) if each else brokers)]
        for name in names:
            fleet.run(fleet.keeper.pause(name))
    for name in brokers:
        if name not in known and name != _ALL:
            # A name that is written wrong would pause nothing, in silence.
            say(f"note: the store has no login of {name}.")
    say(f"paused: {_listed(names)}." if names else "nothing is paused: the store has no logins.")
    return Exit.REFRESHED


@click.command(epilog=_EPILOG, short_help="Go on with a broker, or with all.")
@click.argument("brokers", metavar="[BROKER...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="End the pause of all; brokers paused by name stay paused.")
@click.option("--each", is_flag=True, help="End every pause of a single broker.")
@store_options
def resume(brokers: tuple[str, ...], place: StoreLocation, *, everything: bool, each: bool) -> int:
    """Go on with BROKER. Where all brokers were paused together, only --all ends that."""
    _check(brokers, everything=everything, each=each)
    with OpenFleet(place) as fleet:
        paused = fleet.run(fleet.store.paused())
        names = [*([_ALL] if everything else []), *(sorted(paused.keys() - {_ALL}) if each else brokers)]
        for name in names:
            fleet.run(fleet.keeper.resume(name))
        left = fleet.run(fleet.store.paused())
    say(f"resumed: {_listed(names)}." if names else "no broker was paused by its name.")
    if _ALL in left:
        say("note: all brokers are paused together, and stay so until `mesh-refresh resume --all`.")
    elif left:
        say(
            f"still paused, by name: {_listed(sorted(left))}. `mesh-refresh resume BROKER` ends it, --each all of them."
        )
    return Exit.REFRESHED


def _check(brokers: tuple[str, ...], *, everything: bool, each: bool) -> None:
    if (everything or each) == bool(brokers):
        raise click.UsageError("Name a BROKER, or say --all or --each.")


def _listed(names: list[str]) -> str:
    """The pause of all is none of a broker."""
    return ", ".join("all brokers" if name == _ALL else name for name in names)

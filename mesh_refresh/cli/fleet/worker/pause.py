"""``mesh-refresh pause`` and ``mesh-refresh resume``."""

from datetime import UTC, datetime

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import say
from mesh_refresh.stores.store import ALL_BROKERS

_EPILOG = """
The pause of all brokers (--all) and the pauses of single brokers are independent: ending one leaves the others.

\b
To stop everything, and start again broker by broker:
  mesh-refresh pause --all      pauses all brokers together
  mesh-refresh pause --each     also pauses each broker by its own name
  mesh-refresh resume --all     the brokers stay paused by their names
  mesh-refresh resume coinbase  coinbase goes on

\b
To end every pause:
  mesh-refresh resume --all --each
"""


@click.command(epilog=_EPILOG, short_help="Stop refreshing a broker, or all, until resume.")
@click.argument("brokers", metavar="[BROKER...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All brokers together, also those added later.")
@click.option("--each", is_flag=True, help="Each broker in the store, by its own name.")
@store_options
def pause(brokers: tuple[str, ...], location: StoreLocation, *, everything: bool, each: bool) -> int:
    """Stop all exchanges of BROKER, in every process, until "resume". Exchanges under way are finished.

    The store keeps the pause, so it also binds workers that start later. Valid tokens are handed out as before.
    """
    _check_arguments(brokers, everything=everything, each=each)
    with OpenFleet(location) as fleet:
        known = {count.broker for count in fleet.run(fleet.store.counts(datetime.now(UTC)))}
        names = [*([ALL_BROKERS] if everything else []), *(sorted(known) if each else brokers)]
        for name in names:
            fleet.run(fleet.keeper.pause(name))
    for name in brokers:
        if name not in known and name != ALL_BROKERS:
            # A misspelt name would pause nothing, in silence.
            say(f"note: the store has no login of {name}.")
    say(f"paused: {_join(names)}." if names else "nothing was paused: the store has no logins.")
    return Exit.REFRESHED


@click.command(epilog=_EPILOG, short_help="End the pause of a broker, or of all.")
@click.argument("brokers", metavar="[BROKER...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="End the pause of all brokers together; pauses by name stay.")
@click.option("--each", is_flag=True, help="End every pause by name.")
@store_options
def resume(brokers: tuple[str, ...], location: StoreLocation, *, everything: bool, each: bool) -> int:
    """End the pause of BROKER. It also ends the wait of an open breaker: one exchange tests whether the outage is over.

    A pause of all brokers together ends only with --all.
    """
    _check_arguments(brokers, everything=everything, each=each)
    with OpenFleet(location) as fleet:
        paused = fleet.run(fleet.store.paused())
        names = [*([ALL_BROKERS] if everything else []), *(sorted(paused.keys() - {ALL_BROKERS}) if each else brokers)]
        for name in names:
            fleet.run(fleet.keeper.resume(name))
        left = fleet.run(fleet.store.paused())
    say(f"resumed: {_join(names)}." if names else "no broker was paused by name.")
    if ALL_BROKERS in left:
        say("note: all brokers stay paused together until `mesh-refresh resume --all`.")
    elif left:
        say(f"still paused by name: {_join(sorted(left))}. `mesh-refresh resume BROKER` ends one, --each ends all.")
    return Exit.REFRESHED


def _check_arguments(brokers: tuple[str, ...], *, everything: bool, each: bool) -> None:
    if (everything or each) == bool(brokers):
        raise click.UsageError("Name a BROKER, or give --all or --each.")


def _join(names: list[str]) -> str:
    """The names of pauses, for a message."""
    return ", ".join("all brokers" if name == ALL_BROKERS else name for name in names)

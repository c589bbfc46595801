"""``mesh-refresh pause`` and ``mesh-refresh resume``."""

from datetime import UTC, datetime

import click

from mesh_refresh.cli.exits import Exit
from mesh_refresh.cli.fleet.opened import Fleet
from mesh_refresh.cli.fleet.options import store_options
from mesh_refresh.cli.fleet.place import Place
from mesh_refresh.cli.lines import say

_ALL = "*"


@click.command(short_help="Refresh nothing of a broker, or at all, for now.")
@click.argument("brokers", metavar="[BROKER...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All brokers.")
@store_options
def pause(brokers: tuple[str, ...], place: Place, *, everything: bool) -> int:
    """No more exchanges of BROKER, in any process, until "resume". What is under way is finished.

    The store keeps it: it also holds for workers that are started later. Tokens that are good are handed out as before.
    """
    names = _names(brokers, everything=everything)
    with Fleet(place) as fleet:
        for name in names:
            fleet.run(fleet.keeper.pause(name))
        _doubt(fleet, names)
    say(f"paused: {_listed(names)}.")
    return Exit.REFRESHED


@click.command(short_help="Go on with a broker, or with all.")
@click.argument("brokers", metavar="[BROKER...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Everything that is paused.")
@store_options
def resume(brokers: tuple[str, ...], place: Place, *, everything: bool) -> int:
    """Go on with BROKER. Where all brokers were paused together, only --all ends that."""
    names = _names(brokers, everything=everything)
    with Fleet(place) as fleet:
        paused = fleet.run(fleet.store.paused())
        for name in {*names, *(paused if everything else ())}:
            fleet.run(fleet.keeper.resume(name))
        left = fleet.run(fleet.store.paused())
    say(f"resumed: {_listed(names)}.")
    if _ALL in left:
        say("note: all brokers are paused together, and stay so until `mesh-refresh resume --all`.")
    return Exit.REFRESHED


def _names(brokers: tuple[str, ...], *, everything: bool) -> tuple[str, ...]:
    if everything == bool(brokers):
        raise click.UsageError("Name a BROKER, or say --all.")
    return brokers or (_ALL,)


def _doubt(fleet: Fleet, names: tuple[str, ...]) -> None:
    """A name that is written wrong would pause nothing, in silence."""
    known = {count.broker for count in fleet.run(fleet.store.counts(datetime.now(UTC)))}
    for name in names:
        if name not in known and name != _ALL:
            say(f"note: the store has no login of {name}.")


def _listed(names: tuple[str, ...]) -> str:
    return "all brokers" if names == (_ALL,) else ", ".join(names)

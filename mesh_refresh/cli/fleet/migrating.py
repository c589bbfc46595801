"""``mesh-refresh migrate``."""

import asyncio

import click

from mesh_refresh import MeshRefreshError
from mesh_refresh.cli.exits import Exit, exit_for
from mesh_refresh.cli.fleet.opened import Fleet
from mesh_refresh.cli.fleet.options import store_options
from mesh_refresh.cli.fleet.place import Place
from mesh_refresh.cli.lines import Failure, say
from mesh_refresh.stores.postgres import PostgresStore


@click.command(short_help="Make a store's tables, or bring them to this version.")
@click.option(
    "--partitions",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Of a new PostgreSQL store: lay the logins into N tables, by a hash of their ids.",
)
@store_options
def migrate(place: Place, partitions: int | None) -> int:
    """Make the tables of a PostgreSQL store, or bring them to this version. Repeating it does no harm.

    The role in the URL needs the right to make a schema, or to make tables in the one that is there. No key is needed.
    An SQLite file is brought to this version whenever it is opened; there, this does no more than that.
    """
    if not place.in_postgres:
        if partitions:
            raise click.UsageError("--partitions is for PostgreSQL.")
        with Fleet(place, create=True):
            say("the file is there, and is of this version.")
        return Exit.REFRESHED
    try:
        version = asyncio.run(PostgresStore.migrate(place.url(), partitions=partitions or 0))
    except MeshRefreshError as error:
        raise Failure(str(error), exit_for(error)) from None
    say(f"the tables are there, and are of version {version}.")
    return Exit.REFRESHED

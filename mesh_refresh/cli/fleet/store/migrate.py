"""``mesh-refresh migrate``."""

import asyncio

import click

from mesh_refresh import MeshRefreshError
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit, exit_for
from mesh_refresh.cli.terminal.messages import Failure, counted, say
from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.postgres.schema.migrate import Migrated, migrate_at


@click.command(short_help="Make a store's tables, or bring them to this version.")
@click.option(
    "--partitions",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Of a new PostgreSQL store: lay the logins into N tables, by a hash of their ids. Not to be changed later.",
)
@store_options
def migrate(place: StoreLocation, partitions: int | None) -> int:
    """Make the tables of a PostgreSQL store, or bring them to this version. Repeating it does no harm.

    The role in the URL needs the right to make a schema, or to make tables in the one that is there. No key is needed.
    An SQLite file is brought to this version whenever it is opened; there, this does no more than that.
    """
    if not place.in_postgres:
        if partitions:
            raise click.UsageError("--partitions is for PostgreSQL.")
        is_new = not place.has_file()
        with OpenFleet(place, create=True):
            say("the file was made." if is_new else "the file is there, and is of this version.")
        return Exit.REFRESHED
    try:
        done = asyncio.run(migrate_at(MaskedStr(place.url()), partitions=partitions or 0))
    except MeshRefreshError as error:
        raise Failure(str(error), exit_for(error)) from None
    say(_sentence(done, partitions))
    return Exit.REFRESHED


def _sentence(done: Migrated, partitions: int | None) -> str:
    if not done.before:
        laid = f", with {counted(partitions, 'partition')}" if partitions else ""
        return f"the tables were made, of version {done.version}{laid}."
    if done.before < done.version:
        return f"the tables were brought from version {done.before} to version {done.version}."
    return f"the tables are there, and are of version {done.version}: there was nothing to do."

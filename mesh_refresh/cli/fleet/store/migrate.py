"""``mesh-refresh migrate``."""

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, format_count, say
from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.postgres.schema.migrate import Migrated, migrate_at


@click.command(short_help="Make the tables of a store, or upgrade them.")
@click.option(
    "--partitions",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="For a new PostgreSQL store: N partitions of the logins, by a hash of their ids. Cannot be changed later.",
)
@store_options
def migrate(location: StoreLocation, partitions: int | None) -> None:
    """Make the tables of a PostgreSQL store, or upgrade them, and report what was done. It can be repeated.

    The role in the URL needs the right to create a schema, or tables in the existing one. No key is needed. An SQLite
    file is upgraded whenever a command opens it, and this command does no more.
    """
    if not location.in_postgres:
        if partitions:
            raise click.UsageError("--partitions is for PostgreSQL only.")
        is_new = not location.has_file()
        with OpenFleet(location, create=True):
            say("the store was made." if is_new else "the store exists, and has this version.")
        return
    with Loop() as loop:
        try:
            done = loop.run(migrate_at(MaskedStr(location.url()), partitions=partitions or 0))
        except KeyboardInterrupt:
            raise Failure("interrupted. Run it again: it goes on where it was.", loop.exit_code) from None
    say(_describe(done, partitions))


def _describe(done: Migrated, partitions: int | None) -> str:
    if not done.before:
        laid = f" and {format_count(partitions, 'partition')}" if partitions else ""
        return f"the tables were made, with version {done.version}{laid}."
    if done.before < done.version:
        return f"the tables were upgraded from version {done.before} to version {done.version}."
    return f"the tables exist, and have version {done.version}: there was nothing to do."

"""``mesh-refresh backup``."""

import os
from pathlib import Path

import click

from mesh_refresh.cli.fleet.support.options import spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation, check_name, path_of
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, format_count, format_path, say, system_reason
from mesh_refresh.keeper.runtime.spool import files
from mesh_refresh.stores.sqlite.backup import back_up

_SIDES = ("-wal", "-shm", "-journal")

_EPILOG = """
The backup is the store at one moment. It stays sealed with the key of the
store, which the command does not need: keep the key somewhere else.

\b
A refresh that comes after the backup spends tokens that are in it. What that
costs when you restore it:
  docs/restoring-a-backup.md

\b
Tokens that wait in the spool are in no backup of the store. To have both:
  1. copy the folder of the spool
  2. mesh-refresh backup FILE
"""


@click.command(epilog=_EPILOG, short_help="Copy an SQLite store into a new file, while workers run.")
@click.argument("file", metavar="FILE")
@spool_option
@store_options
def backup(file: str, location: StoreLocation, spool: str | None) -> None:
    """Copy an SQLite store into the new FILE (mode 0600), while workers run.

    An existing FILE is never replaced. If the copy fails, FILE is removed. PostgreSQL is backed up with pg_dump.
    """
    if location.in_postgres:
        raise Failure("This store is a PostgreSQL database: back it up with pg_dump, after `umask 077`.")
    check_name(file, "FILE")
    store, target = os.path.realpath(location.path(create=False)), Path(path_of(file))
    if file == "-" or os.path.realpath(target) in [store + side for side in _SIDES]:
        raise Failure("FILE must be the path of a new file that does not belong to the store.")
    with Loop() as loop:  # so that a signal ends it in order
        try:
            number = back_up(store, target)
        except FileExistsError:
            raise Failure(f"FILE exists: {format_path(target)}. It was not changed: name a new file.") from None
        except OSError as error:
            raise Failure(f"FILE cannot be written: {system_reason(error)}. There is no backup.") from None
        except KeyboardInterrupt:
            raise Failure("interrupted. There is no backup.", loop.exit_code) from None
    say(f"backed up: {format_count(number, 'login')}, in {format_path(target)}.")
    folder = location.spool(spool)
    if waiting := len(files(folder)):
        say(
            f"note: {format_count(waiting, 'file')} in the spool {format_path(folder)} may have newer tokens than the "
            "backup. Copy that folder, and then back up again."
        )

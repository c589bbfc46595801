"""``mesh-refresh key``."""

import click

from mesh_refresh.cli.fleet.store.two_stores import name_some
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, format_count, say
from mesh_refresh.keeper.runtime.spool import files
from mesh_refresh.stores import Cipher

_EPILOG = f"""
To rotate keys while workers run: do each step in every process that uses the store before you begin the next step, and
restart the processes one by one.

\b
  1. mesh-refresh key generate      makes NEW
  2. {KEYS_VARIABLE}=OLD,NEW      now every process can open what NEW seals
  3. {KEYS_VARIABLE}=NEW,OLD      now NEW seals
  4. mesh-refresh key reseal        with NEW,OLD: seals all logins with NEW
  5. check the spools               their files may still need OLD
  6. {KEYS_VARIABLE}=NEW

Without step 2, a restarted process seals logins with NEW that the others cannot
open yet. Leave it out only if you stop all processes together.
"""


@click.group(epilog=_EPILOG, short_help="Make a key for a store, or change its key.")
def key() -> None:
    """Make and change the keys that seal the tokens of a store. The environment has them, never the store itself."""


@key.command(short_help="Print a new key.")
def generate() -> None:
    """Print a new key. Keep it apart from backups of the store: both together give all tokens.

    Without the key, the tokens in the store cannot be recovered.
    """
    click.echo(Cipher.generate_key())


@key.command(epilog=_EPILOG, short_help="Seal every login with the first key.")
@spool_option
@store_options
def reseal(location: StoreLocation, spool: str | None) -> int:
    """Seal every login in the store with the first of the keys. Workers may run meanwhile.

    This is step 4 of the six below. It can be interrupted and run again. Logins that none of the keys opens are named
    and not changed, and the exit code is 12.
    """
    if location.plaintext:
        raise Failure(f"--plaintext has no key to seal with. Leave it out, and put a key into {KEYS_VARIABLE}.")
    with OpenFleet(location) as fleet:
        done = fleet.run(fleet.store.reseal())
    say(f"{format_count(done.number, 'login')} {'is' if done.number == 1 else 'are'} sealed with the first key.")
    name_some(done.unopened, "cannot be opened with these keys, and not changed")
    if done.unopened.number:
        say(location.other_key())
    if waiting := len(files(location.spool(spool))):
        say(
            f"note: {format_count(waiting, 'file')} in the spool may be sealed with an older key. Keep that key until "
            "a worker with this spool has written them into the store, and files set aside there are removed."
        )
    return Exit.STORE if done.unopened.number else Exit.REFRESHED

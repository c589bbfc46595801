"""``mesh-refresh key``."""

import click

from mesh_refresh.cli.fleet.store.two_stores import name_some
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, counted, say
from mesh_refresh.keeper.runtime.spool import files
from mesh_refresh.stores import Cipher

_EPILOG = f"""\b
To rotate keys while all goes on: do each step in every process that uses the
store before the next one, and restart them one by one.
  1. mesh-refresh key generate       makes NEW
  2. {KEYS_VARIABLE}=OLD,NEW       now all can open what NEW seals
  3. {KEYS_VARIABLE}=NEW,OLD       now NEW seals
  4. mesh-refresh key reseal         with NEW,OLD; seals the rest anew
  5. look into the spools            what waits there has the key of its day
  6. {KEYS_VARIABLE}=NEW

\b
Without step 2, a process that has NEW seals logins that one which has not been
restarted yet cannot open. Leave it out only where you stop all of them together.
"""


@click.group(epilog=_EPILOG, short_help="Make a key for a store; change the key of one.")
def key() -> None:
    """Keys seal the tokens in a store. They come from the environment, and are never in the store itself."""


@key.command(short_help="Make a new key, and print it.")
def generate() -> int:
    """Print a new key. Keep it where no backup of the store is: both together open everything.

    Without the key, the store cannot be opened by anyone.
    """
    click.echo(Cipher.generate_key())
    return Exit.REFRESHED


@key.command(epilog=_EPILOG, short_help="Seal everything in a store with the first key.")
@spool_option
@store_options
def reseal(place: StoreLocation, spool: str | None) -> int:
    """Seal every login in the store with the first of the keys. Workers may go on meanwhile.

    It is step 4 of the six below, and may be stopped and begun again. A login that no key at hand opens is named and
    left as it is, and the exit code is 12.
    """
    if place.plaintext:
        raise Failure(f"There is no key with --plaintext: put one into {KEYS_VARIABLE}.")
    with OpenFleet(place) as fleet:
        done = fleet.run(fleet.store.reseal())
    say(f"{counted(done.number, 'login')} {'is' if done.number == 1 else 'are'} sealed with the first key.")
    name_some(done.unopened, "cannot be opened with these keys, and left as it is")
    if done.unopened.number:
        say(place.other_key())
    if waiting := len(files(place.spool(spool))):
        verb = "waits" if waiting == 1 else "wait"
        say(
            f"note: {counted(waiting, 'outcome')} {verb} in the spool, perhaps sealed with an older key: keep that key "
            "until a worker with this spool has taken them up, and what was set aside there is gone."
        )
    return Exit.STORE if done.unopened.number else Exit.REFRESHED

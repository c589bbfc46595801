"""``mesh-refresh key``."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mesh_refresh.cli.fleet.store.two_stores import name_some
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import json_option, spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, StoreLocation
from mesh_refresh.cli.fleet.support.tables import show, tell
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, format_count, say
from mesh_refresh.keeper.runtime.spool import files, sealed_by
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

Keys in the file that {KEYS_VARIABLE}_FILE names need no restart: put NEW,OLD
into it, wait ten minutes, run step 4, and put NEW into it when
"mesh-refresh key usage" says that OLD may go. Every process sees the change
within a second; NEW opens at once, and seals after ten minutes.
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
        cipher = location.cipher()
        if cipher.seals_with != cipher.key_ids[0]:
            raise Failure(
                f"The first key has not been in the file for ten minutes: other processes may not know it yet. Nothing "
                f"was changed. Try again later, or put the keys into {KEYS_VARIABLE} where all processes have them.",
                Exit.TRY_AGAIN,
            )
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


@key.command(short_help="Count what each key still seals.")
@json_option
@spool_option
@store_options
def usage(location: StoreLocation, spool: str | None, *, as_json: bool) -> int:
    """Count the values in the store that each key still seals: logins, notices and what processes tell of themselves.

    A key that seals nothing, neither in the store nor in a spool, may go. Values that none of the keys opens are
    counted under the id of their key, and the exit code is 12.
    """
    with OpenFleet(location) as fleet:
        cipher = location.cipher()
        sealed = Counter(fleet.run(fleet.store.key_usage()))
    ids, waiting = cipher.key_ids, _in_spool(location.spool(spool))
    keys = [
        {"key": number, "id": key_id, "values": sealed[key_id], "spooled": waiting[key_id]}
        for number, key_id in enumerate(ids, 1)
    ]
    keys += [
        {"key": None, "id": key_id, "values": sealed[key_id], "spooled": waiting[key_id]}
        for key_id in sorted((sealed.keys() | waiting.keys()) - set(ids))
    ]
    if as_json:
        click.echo(json.dumps({"seals_with": cipher.seals_with, "keys": keys}))
    else:
        show(["key", "id", "values", "spooled"], [_row(line) for line in keys], numbers=["values", "spooled"])
        click.echo()
        for line in _advice(keys, is_new_first=cipher.seals_with != ids[0]):
            tell(line)
    return Exit.STORE if any(line["key"] is None for line in keys) else Exit.REFRESHED


def _in_spool(folder: Path) -> Counter[str]:
    """How many files of the spool each key has sealed."""
    return Counter(key_id for path in files(folder) if (key_id := sealed_by(path)) is not None)


def _row(line: Mapping[str, Any]) -> list[str | int]:
    name = "none of these" if line["key"] is None else str(line["key"])
    return [name, line["id"] or "not sealed by a Cipher", line["values"], line["spooled"]]


def _advice(keys: Sequence[Mapping[str, Any]], *, is_new_first: bool) -> Iterator[str]:
    if is_new_first:
        yield "Key 1 is new in the file: processes seal with another one, for up to ten minutes. No key may go yet."
        return
    for line in keys[1:]:
        name = f"The key with the id {line['id']}" if line["key"] is None else f"Key {line['key']} ({line['id']})"
        if line["key"] is None:
            yield f"{name} is not at hand: what it seals cannot be opened. Add it at the end of the keys."
        elif line["spooled"]:
            yield f"{name} must stay: files in the spool are sealed with it. A worker with this spool writes them."
        elif line["values"]:
            yield f"{name} must stay: it seals {format_count(line['values'], 'value')}. Next: mesh-refresh key reseal"
        else:
            yield f"{name} seals nothing here. It may go, if a reseal has run under key 1 and no other spool needs it."

"""``mesh-refresh remove``, which also forgets the files of a spool that belong to the login."""

from pathlib import Path

import click
from attrs import define, field

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.messages import Failure, format_count, format_path, one_line, say, system_reason
from mesh_refresh.cli.terminal.questions import YES, confirm
from mesh_refresh.keeper import UnknownLogin
from mesh_refresh.keeper.runtime.spool import look
from mesh_refresh.stores import Sealing, StoreDamaged, WrongKey


@click.command(short_help="Delete a login and its tokens.")
@click.argument("login")
@YES
@spool_option
@store_options
def remove(login: str, location: StoreLocation, spool: str | None, *, yes: bool) -> None:
    """Delete LOGIN and all of its tokens from the store and from the spool.

    This cannot be undone, so the command asks first; without a terminal, --yes is required. It looks into one spool:
    not into those of other folders and machines. It also removes a login that only the spool has.
    """
    folder = location.spool(spool)
    with OpenFleet(location) as fleet:
        row = fleet.run(fleet.store.read(login))
        if row is None and not SpoolContent.find(folder, fleet.store.cipher, login).of_login:
            raise UnknownLogin
        if not yes:
            where = "in the spool only" if row is None else row.broker
            opens = "" if row is None or fleet.run(_opens(fleet, login)) else ", which cannot be opened with these keys"
            question = f"Delete {one_line(login)} ({one_line(where)}) and its tokens{opens}?"
            confirm(question, otherwise="nothing was removed.")
        fleet.run(fleet.keeper.remove(login))
        # After the row: what a worker spools before this is found here, and what it writes later finds no row.
        spooled = SpoolContent.find(folder, fleet.store.cipher, login)
        spooled.forget()
    files = f", with {format_count(len(spooled.of_login), 'file')} of the spool" if spooled.of_login else ""
    say(f"removed: {login}{files}.")
    if spooled.unopened:
        unopened = format_count(spooled.unopened, "file")
        say(f"note: {unopened} of the spool cannot be opened with these keys, may belong to any login, and was kept.")


async def _opens(fleet: OpenFleet, login_id: str) -> bool:
    """Whether the login can be read with these keys. One that cannot be read can be removed all the same."""
    try:
        await fleet.keeper.login(login_id)
    except (WrongKey, StoreDamaged):
        return False
    return True


@define
class SpoolContent:
    """What a spool has of one login."""

    of_login: list[Path] = field(factory=list)
    unopened: int = 0
    """Files that do not open with these keys: they may belong to any login."""

    @classmethod
    def find(cls, folder: Path, cipher: Sealing, login_id: str) -> "SpoolContent":
        """What the spool in `folder` has of `login_id`. Raises `Failure` if a file cannot be read."""
        try:
            found = list(look(folder, cipher))
        except OSError as error:
            where = format_path(Path(error.filename or folder))
            why = f"The spool file {where} cannot be read: {system_reason(error)}. Nothing was removed."
            raise Failure(why) from None
        return cls([it.path for it in found if it.login_id == login_id], sum(it.login_id is None for it in found))

    def forget(self) -> None:
        """Remove the files of the login. Raises `Failure` if one cannot be removed."""
        for path in self.of_login:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                why = f"The spool file {format_path(path)} cannot be removed: {system_reason(error)}."
                raise Failure(f"{why} It still has tokens of the login: remove it by hand.") from None

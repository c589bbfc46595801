"""``mesh-refresh check``."""

import json
from pathlib import Path
from typing import Any

import click
from attrs import asdict, define, field, frozen

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import json_option, spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import tell
from mesh_refresh.cli.own_app import OwnApp, app_option
from mesh_refresh.cli.terminal.exit_codes import Exit, exit_for
from mesh_refresh.cli.terminal.messages import Failure, format_count, format_path, one_line, system_reason
from mesh_refresh.keeper.listing import UnopenedRow
from mesh_refresh.keeper.notices import open_notice
from mesh_refresh.keeper.rules.attempt import NewerVersion
from mesh_refresh.keeper.runtime.spool import look, why_unfit
from mesh_refresh.stores import LoginNames, NoticePage, StoreDamaged, StoreError, WrongKey
from mesh_refresh.stores.key_ids import key_id_of

_PAGE = 500
_SHOWN = 20
_LINES = 5
"""Lines of an integrity check that are shown."""

_RESTORE = "Keep the store as it is, and restore a backup beside it: docs/restoring-a-backup.md"
_DAMAGED_VALUE = f"It was damaged, or written by another program. {_RESTORE}"

_EPILOG = """
It sends nothing, and needs no keys of Mesh.

\b
Exit codes:
    0  all is well
    2  the command line, the keys or the name of the store cannot be used
    3  the store is not available now: run it again later
   11  new tokens wait in the spool: start a worker with that spool
   12  something else is wrong; the output says what, and what to do next
"""


@frozen
class StoreFinding:
    """Something that is not as it should be."""

    kind: str
    what: str
    next_step: str
    code: Exit = Exit.STORE
    names: LoginNames = field(factory=LoginNames)
    """Whom it is about, where that is known."""

    def document(self) -> dict[str, Any]:
        """As ``--json`` writes it."""
        about = {"number": self.names.number, "logins": list(self.names.first)}
        return {"kind": self.kind, "what": self.what, "next": self.next_step, "exit_code": int(self.code), **about}


@define
class _Counts:
    logins: int = 0
    """Those that open and can be read."""
    accounts: int = 0
    unread_logins: int = 0
    notices: int = 0
    unread_notices: int = 0
    spooled: int = 0
    """Files of the spool that wait to be written."""


@click.command(epilog=_EPILOG, short_help="Check that a store is sound, and opens with these keys.")
@json_option
@app_option
@spool_option
@store_options
def check(location: StoreLocation, app: OwnApp, spool: str | None, *, as_json: bool) -> int:
    """Check that the store opens with these keys, and that each login and notice in it can be read.

    It also runs SQLite's integrity check (of PostgreSQL it asks what the server has noticed), and looks at the spool
    and at the modes of the files. It changes nothing, and may run beside workers.
    """
    location.open_store(create=False, read_only=True)  # what cannot be used is an error, and no finding
    checkup = _Checkup(location, location.spool(spool), app)
    checkup.look_at_files()
    checkup.look_at_spool()
    checkup.look_at_store()
    (checkup.print_json if as_json else checkup.print)()
    return max((found.code for found in checkup.findings), default=Exit.REFRESHED)


@define
class _Checkup:
    location: StoreLocation
    folder: Path
    app: OwnApp
    counts: _Counts = field(factory=_Counts)
    findings: list[StoreFinding] = field(factory=list)

    def _find(
        self, kind: str, what: str, next_step: str, names: LoginNames | None = None, code: Exit = Exit.STORE
    ) -> None:
        self.findings.append(StoreFinding(kind, what, next_step, code, names or LoginNames()))

    def look_at_files(self) -> None:
        """Who may read and replace the files of the store."""
        for what, next_step in self.location.open_to_others():
            self._find("open_to_others", f"{what[0].upper()}{what[1:]}.", next_step)

    def look_at_spool(self) -> None:
        """Whether a worker could use the spool, and what waits in it."""
        where = f"The spool {format_path(self.folder)}"
        try:
            if not self.folder.exists():
                return  # a worker makes it
            unfit = why_unfit(self.folder) if self.folder.is_dir() else "it is no folder"
            entries = list(look(self.folder, self.location.cipher()))
        except OSError as error:
            self._find("spool_not_read", f"{where} cannot be read: {system_reason(error)}.", "Run it as its owner.")
            return
        if unfit is not None:
            self._find("spool_unfit", f"{where} cannot be used by a worker: {unfit}.", "Change that, or use --spool.")
        waiting = sorted({it.login_id for it in entries if it.is_waiting and it.login_id is not None})
        self.counts.spooled = sum(it.is_waiting for it in entries)
        if waiting:
            what = f"{where} has new tokens that the store may not have."
            next_step = "Start a worker with this spool, which writes them: mesh-refresh run"
            self._find("spool_waiting", what, next_step, LoginNames().having(waiting), Exit.NOT_SAVED)
        for it in entries:
            name = format_path(it.path)
            if it.is_damaged:
                what = f"The file {name} of the spool is damaged: a login may have lost its tokens."
                self._find("spool_damaged", what, "Let people whose login is refused log in again; then remove it.")
            elif it.login_id is None:
                next_step = "A worker with this spool sets it aside, and says so."
                if isinstance(it.error, WrongKey | NewerVersion):
                    next_step = self._key() if isinstance(it.error, WrongKey) else "Update mesh_refresh here."
                self._find("spool_not_opened", f"The file {name} of the spool does not open: {it.error}", next_step)
            elif not it.is_waiting:
                what = f"The file {name} of the spool has tokens of a login that the store does not have."
                next_step = f"If that login was removed: mesh-refresh remove {one_line(it.login_id)}"
                self._find("spool_set_aside", what, next_step, LoginNames(1, (it.login_id,)), Exit.REFRESHED)

    def look_at_store(self) -> None:
        """Whether it opens, and everything in it."""
        try:
            with OpenFleet(self.location, self.app, read_only=True, tell=lambda _: None) as fleet:
                if damage := fleet.run(fleet.store.find_damage()):
                    more = f"; {len(damage) - _LINES} more" if len(damage) > _LINES else ""
                    self._find("damaged", f"The store is damaged: {'; '.join(damage[:_LINES])}{more}.", _RESTORE)
                self._read_logins(fleet)
                self._read_notices(fleet)
        except Failure as error:
            if error.code is not Exit.STORE:
                raise  # an --app that cannot be used, or a signal
            self._find("not_opened", str(error), self._key(), code=error.code)
        except StoreError as error:
            self._find("not_read", str(error), "mesh-refresh check, after that", code=exit_for(error))

    def _key(self) -> str:
        advice = self.location.other_key()
        return f"{advice[0].upper()}{advice[1:]}"

    def _read_logins(self, fleet: OpenFleet) -> None:
        other_key, damaged, ids = LoginNames(), LoginNames(), self.location.cipher().key_ids
        for page in fleet.pages():
            unread = [it for it in page if isinstance(it, UnopenedRow)]
            self.counts.unread_logins += len(unread)
            self.counts.logins += len(page) - len(unread)
            self.counts.accounts += sum(len(it.accounts) for it in page if not isinstance(it, UnopenedRow))
            sealed = [
                it.login_id for it in unread if isinstance(it.error, WrongKey) and key_id_of(it.row.sealed) not in ids
            ]
            other_key = other_key.having(sealed)
            damaged = damaged.having([it.login_id for it in unread if it.login_id not in sealed])
        if other_key.number:
            what = f"{format_count(other_key.number, 'login')} cannot be opened with these keys."
            self._find("other_key", what, f"{self._key()} Which one: mesh-refresh key usage", other_key)
        if damaged.number:
            what = f"{format_count(damaged.number, 'login')} cannot be read, though the key is at hand."
            self._find("unreadable_row", what, _DAMAGED_VALUE, damaged)

    def _read_notices(self, fleet: OpenFleet) -> None:
        outbox, cipher, unread = fleet.store.outbox, fleet.store.cipher, LoginNames()
        after = None
        while page := fleet.run(outbox.page(NoticePage(_PAGE, after))):
            for row in page:
                try:
                    open_notice(cipher, row)
                    self.counts.notices += 1
                except (WrongKey, StoreDamaged):
                    unread = unread.having([row.login_id])
            after = page[-1].id
        self.counts.unread_notices = unread.number
        if unread.number:
            what = f"{format_count(unread.number, 'notice')} cannot be opened with these keys, or not read."
            next_step = f"{self._key()} They are listed by: mesh-refresh webhooks list"
            self._find("notice_not_opened", what, next_step, unread)

    def print_json(self) -> None:
        """One document."""
        found = [finding.document() for finding in self.findings]
        is_ok = not any(it["exit_code"] for it in found)
        click.echo(json.dumps({"ok": is_ok, **asdict(self.counts), "findings": found}))

    def print(self) -> None:
        """For a person, what is wrong last."""
        counts = self.counts
        tell(
            f"Read: {format_count(counts.logins, 'login')} with {format_count(counts.accounts, 'account')}, and "
            f"{format_count(counts.notices, 'notice')}. Not read: {counts.unread_logins} and {counts.unread_notices}. "
            f"In the spool: {format_count(counts.spooled, 'file')}."
        )
        for finding in self.findings:
            click.echo()
            tell(one_line(finding.what))
            for login_id in finding.names.first[:_SHOWN]:
                click.echo(f"  {one_line(login_id)}")
            if finding.names.number > _SHOWN:
                click.echo(f"  and {finding.names.number - _SHOWN} more")
            tell(one_line(f"Next: {finding.next_step}"))
        if not self.findings:
            tell("Nothing is wrong.")

"""``mesh-refresh import``."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import click
from attrs import define, field

from mesh_refresh import InvalidRequest, MeshRefreshError
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine, Reading
from mesh_refresh.cli.fleet.logins.import_sources import open_source, read_csv, read_lines
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import duration_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.own_app import OwnApp, app_option
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, format_count, say
from mesh_refresh.keeper.arguments import brokers_of
from mesh_refresh.stores import WrongKey
from mesh_refresh.stores.store import ALL_BROKERS

_BATCH = 500
_PROGRESS = 20_000
_COMPLAINTS = 20
"""Bad lines that are named; further ones are only counted."""

_SEALED = "the store has this login, and it cannot be opened with these keys. It was not changed."

_EPILOG = """\b
Write one login a line, with your own id for it:
  {"login": "user-7", "obtained_at": "2026-11-23T16:00:00+00:00",
   "payload": {the payload of Link}}
  {"login": "user-8", "tokens": [{a tokens document for each account}]}

"obtained_at" is the time when Link gave the payload; its lifetimes count from
then. Without it the age of the tokens is unknown: the login is due at once, and
is refreshed before its tokens are handed out. WeBull's trade token stands
beside the payload, as "trade_token". Output of "mesh-refresh refresh" is
accepted too, if its documents have a "login".

With --csv the first line names the columns: "login", "obtained_at" and
"trade_token"; and either "payload" or "tokens" as above, or for one account a
row the fields of Link ("brokerType", "accessToken", "expiresInSeconds" ...) or
of Tokens ("broker", "access_token", "expires_at" ...).

A file can be imported again, also after an interruption: tokens that the store has
or had change nothing. If a login stands in several lines, the last one counts.
"""


@click.command("import", epilog=_EPILOG, short_help="Put logins into the store.")
@click.argument("files", metavar="FILE...", nargs=-1)
@duration_option("--spread", "Spread the first refreshes of logins that are due at once over this time: 90s, 2h.", "0s")
@click.option(
    "--on-demand",
    metavar="BROKER",
    multiple=True,
    help="Refresh logins of this broker only on demand, until one needs no MFA code; '*': of all. Can be repeated.",
)
@click.option("--from-line", type=click.IntRange(1), default=1, metavar="N", help="Start at line N (with one FILE).")
@click.option("--csv", "as_csv", is_flag=True, help="FILE is CSV, with a header: see below.")
@click.option("--strict", is_flag=True, help="Stop at the first bad line.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
@app_option
@store_options
def import_logins(
    files: tuple[str, ...],
    spread: timedelta,
    on_demand: tuple[str, ...],
    *,
    from_line: int,
    location: StoreLocation,
    app: OwnApp,
    as_csv: bool,
    strict: bool,
    quiet: bool,
) -> int:
    """Put logins into the store, from files of JSON lines (or CSV), or from standard input (-).

    It sends nothing to Mesh.
    """
    names = files or _standard_input()
    brokers = brokers_of(on_demand)
    if brokers is None:
        raise click.UsageError("--on-demand takes the name of a broker, or '*' for all of them.")
    if len(names) > 1 and from_line > 1:
        raise click.UsageError("--from-line needs exactly one FILE.")
    with ExitStack() as stack:
        several = len(names) > 1
        sources = [
            stack.enter_context(open_source(name, number if several else None)) for number, name in enumerate(names, 1)
        ]
        with OpenFleet(location, app, create=True) as fleet:
            run = Import(fleet, spread, brokers, as_csv=as_csv, strict=strict, quiet=quiet)
            try:
                run.add_all(list(zip(names, sources, strict=True)), from_line)
            except KeyboardInterrupt:
                run.sum_up(interrupted=True)
                raise
            run.sum_up()
    for broker in sorted(brokers - run.brokers - {ALL_BROKERS}):
        # A name that is written wrong would leave its logins to the loop, in silence.
        say(f"note: --on-demand {broker}: no login of this broker was read.")
    return run.code


def _standard_input() -> tuple[str, ...]:
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("Name a FILE, or - for standard input.")
    return ("-",)


@define
class Import:
    """One run of the command: its options, and its counts so far."""

    fleet: OpenFleet
    spread: timedelta
    on_demand: frozenset[str]
    as_csv: bool
    strict: bool
    quiet: bool
    brokers: set[str] = field(factory=set)
    """The brokers of the logins that were read."""
    bad: int = 0
    code: Exit = Exit.REFRESHED
    """The exit code: that of the worst bad line."""
    _lines: int = 0
    _news: int = 0
    _where: str = field(default="")
    _done: int = 0
    """The store has every login up to this line."""
    _files: int = 1

    def add_all(self, sources: list[tuple[str, BinaryIO]], first: int) -> None:
        """Add the logins in `sources`, which have names, one file after the other, from line `first` on."""
        self._files = len(sources)
        reading = Reading(datetime.now(UTC), self.fleet.mesh.credential)
        for number, (name, source) in enumerate(sources, 1):
            # The name may be shown: a file of that name was opened, so it is no token that was pasted by mistake.
            self._where, self._done = (f" of file {number} ({name})" if len(sources) > 1 else ""), 0
            for batch in self._batches((read_csv if self.as_csv else read_lines)(source, reading, first=first)):
                self._add(batch)

    def sum_up(self, *, interrupted: bool = False) -> None:
        """Say what the run has done."""
        if interrupted:
            again = f", or go on with --from-line {self._done + 1}" if self._files == 1 else ""
            say(f"interrupted after line {self._done}{self._where}; the store has them so far. Import again{again}.")
        if not self.quiet or self.bad or interrupted:
            known = self._lines - self._news
            bad = f", {self.bad} bad" if self.bad else ""
            say(f"{format_count(self._lines, 'login')} read: {self._news} added, {known} already known{bad}.")

    def _batches(self, lines: Iterator[InputLine | BadLine]) -> Iterator[list[InputLine]]:
        """Lines to add together. No login is twice in a batch, because the order of its lines counts."""
        batch: dict[str, InputLine] = {}
        for line in lines:
            if isinstance(line, BadLine):
                if self.strict:
                    yield list(batch.values())
                self._complain(line)
                continue
            if line.login_id in batch or len(batch) == _BATCH:
                yield list(batch.values())
                batch = {}
            batch[line.login_id] = line
        yield list(batch.values())

    def _add(self, batch: list[InputLine]) -> None:
        errors = self.fleet.run(self._add_together(batch))
        self._lines += len(batch) - len(errors)
        for line in batch:
            match errors.get(line.login_id):
                case None:
                    pass
                case InvalidRequest() as error:
                    # It contradicts the login in the store: another broker, for example.
                    self._complain(BadLine(line.number, str(error)))
                case WrongKey():
                    self._complain(BadLine(line.number, _SEALED), Exit.STORE)
                case error:
                    raise error
        if batch:
            self._progress(batch[-1].number)

    async def _add_together(self, batch: list[InputLine]) -> dict[str, MeshRefreshError]:
        """Add all lines. Gives the errors of those that cannot be added, by their login ids."""
        errors: dict[str, MeshRefreshError] = {}
        self.brokers.update(str(tokens.broker) for line in batch for tokens in line.tokens)
        for aged in (True, False):
            self._news += await self.fleet.keeper.add_many(
                [(line.login_id, line.tokens) for line in batch if line.aged is aged],
                spread=self.spread,
                at_once=not aged,
                on_demand=self.on_demand,
                on_error=errors.__setitem__,
            )
        return errors

    def _complain(self, line: BadLine, code: Exit = Exit.INVALID) -> None:
        self.bad, self.code = self.bad + 1, max(self.code, code)
        text = f"line {line.number}{self._where}: {line.why}"
        if self.strict:
            self.sum_up()
            raise Failure(text, code)
        if self.bad <= _COMPLAINTS:
            say(text)
        if self.bad == _COMPLAINTS:
            say("further bad lines are counted, not shown.")

    def _progress(self, line: int) -> None:
        if not self.quiet and line // _PROGRESS > self._done // _PROGRESS:
            say(f"line {line}{self._where}: {self._news} logins added so far.")
        self._done = max(self._done, line)

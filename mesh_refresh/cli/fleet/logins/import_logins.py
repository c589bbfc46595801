"""``mesh-refresh import``."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import click
from attrs import define, field

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine
from mesh_refresh.cli.fleet.logins.import_sources import open_source, read
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import duration, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, counted, say
from mesh_refresh.enums import named_broker
from mesh_refresh.stores import WrongKey

_BATCH = 500
_PROGRESS = 20_000
_COMPLAINTS = 20
"""After so many bad lines, only their number is told."""

_SEALED = "what the store has of this login cannot be opened with these keys, and was left as it is."

_EPILOG = """\b
One login a line, with your own id of it:
  {"login": "user-7", "obtained_at": "2026-11-23T16:00:00+00:00", "payload": {what Link handed over}}
  {"login": "user-8", "tokens": [{a tokens document}, {one for each account}]}

\b
Lifetimes in a Link payload count from "obtained_at". Without it, nobody knows how
old the tokens are: the login is due at once, and is refreshed before its tokens
are handed out. WeBull's trade token stands beside the payload, as "trade_token".
What "mesh-refresh refresh" wrote is read too, where its documents have a "login".

\b
Tokens that were in the store before are no news and change nothing: a file can be
imported again, as a whole or after an interruption. A later line of a login
counts more than an earlier one.
"""


@click.command("import", epilog=_EPILOG, short_help="Put logins into the store.")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--spread", type=duration, default="0s", help="Let what is due at once fall due within this: 90s, 2h.")
@click.option(
    "--on-demand",
    metavar="BROKER",
    multiple=True,
    help="Refresh logins of this broker only when asked for, until that needs no code. Repeat it for more.",
)
@click.option("--from-line", type=click.IntRange(1), default=1, metavar="N", help="Begin there (with one FILE).")
@click.option("--strict", is_flag=True, help="Stop at the first bad line.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong, and warnings.")
@store_options
def import_logins(
    files: tuple[str, ...],
    spread: timedelta,
    on_demand: tuple[str, ...],
    from_line: int,
    place: StoreLocation,
    *,
    strict: bool,
    quiet: bool,
) -> int:
    """Put logins into the store, from files of JSON lines, or from standard input (-). Nothing is sent to Mesh."""
    names = files or _standard_input()
    if not all(broker.strip() for broker in on_demand):
        raise click.UsageError("--on-demand takes the name of a broker.")
    if len(names) > 1 and from_line > 1:
        raise click.UsageError("--from-line needs one FILE.")
    with ExitStack() as stack:
        several = len(names) > 1
        sources = [
            stack.enter_context(open_source(name, number if several else None)) for number, name in enumerate(names, 1)
        ]
        with OpenFleet(place, create=True) as fleet:
            run = Import(fleet, spread, on_demand, strict=strict, quiet=quiet)
            try:
                run.all(list(zip(names, sources, strict=True)), from_line)
            except KeyboardInterrupt:
                run.sum_up(interrupted=True)
                raise
            run.sum_up()
    for broker in on_demand:
        if str(named_broker(broker)) not in run.brokers:
            # A name that is written wrong would leave its logins to the loop, in silence.
            say(f"note: no login of {broker} was read.")
    return run.code


def _standard_input() -> tuple[str, ...]:
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("Name a FILE, or - for standard input.")
    return ("-",)


@define
class Import:
    """One run."""

    fleet: OpenFleet
    spread: timedelta
    on_demand: tuple[str, ...]
    strict: bool
    quiet: bool
    brokers: set[str] = field(factory=set)
    """Of the logins that were read."""
    bad: int = 0
    code: Exit = Exit.REFRESHED
    """The worst of them."""
    _lines: int = 0
    _news: int = 0
    _where: str = field(default="")
    _done: int = 0
    """Up to this line, everything is in the store."""
    _files: int = 1

    def all(self, sources: list[tuple[str, BinaryIO]], first: int) -> None:
        """Read them, with their names, one after the other."""
        self._files = len(sources)
        for number, (name, source) in enumerate(sources, 1):
            # A file of that name was opened: it is no token that was pasted by mistake.
            self._where, self._done = (f" of file {number} ({name})" if len(sources) > 1 else ""), 0
            for batch in self._batches(read(source, datetime.now(UTC), first=first)):
                self._add(batch)

    def sum_up(self, *, interrupted: bool = False) -> None:
        """What was done."""
        if interrupted:
            again = f", or go on with --from-line {self._done + 1}" if self._files == 1 else ""
            say(f"interrupted after line {self._done}{self._where}: import it again{again}.")
        if not self.quiet or self.bad or interrupted:
            known = self._lines - self._news
            bad = f", {self.bad} bad" if self.bad else ""
            say(f"{counted(self._lines, 'login')} read: {self._news} added, {known} known before{bad}.")

    def _batches(self, lines: Iterator[InputLine | BadLine]) -> Iterator[list[InputLine]]:
        """No login twice in one: the later line must come later."""
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
        for line, done in zip(batch, self.fleet.run(self._added(batch)), strict=True):
            if isinstance(done, InvalidRequest):
                # It does not go with the login that the store has.
                self._complain(BadLine(line.number, str(done)))
            elif isinstance(done, WrongKey):
                self._complain(BadLine(line.number, _SEALED), Exit.STORE)
            elif isinstance(done, BaseException):
                raise done
            else:
                self._news += done
                self._lines += 1
        if batch:
            self._progress(batch[-1].number)

    async def _added(self, batch: list[InputLine]) -> list[int | BaseException]:
        """At once: the store writes them together. Each with an end of its own."""
        add = self.fleet.keeper.add_many
        self.brokers.update(str(tokens.broker) for line in batch for tokens in line.tokens)
        adding = (
            add([(line.login_id, line.tokens)], spread=self.spread, at_once=not line.aged, on_demand=self.on_demand)
            for line in batch
        )
        return await asyncio.gather(*adding, return_exceptions=True)

    def _complain(self, line: BadLine, code: Exit = Exit.INVALID) -> None:
        self.bad, self.code = self.bad + 1, max(self.code, code)
        text = f"line {line.number}{self._where}: {line.why}"
        if self.strict:
            self.sum_up()
            raise Failure(text, code)
        if self.bad <= _COMPLAINTS:
            say(text)
        if self.bad == _COMPLAINTS:
            say("further bad lines are only counted.")

    def _progress(self, line: int) -> None:
        if not self.quiet and line // _PROGRESS > self._done // _PROGRESS:
            say(f"line {line}{self._where}: {self._news} logins added so far.")
        self._done = max(self._done, line)

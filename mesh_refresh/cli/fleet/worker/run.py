"""``mesh-refresh run``."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from mesh_refresh.cli.fleet.support import open_fleet
from mesh_refresh.cli.fleet.support.logs import logging_to_stderr
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import duration, spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, STORE_VARIABLE, StoreLocation
from mesh_refresh.cli.fleet.worker.tally import Tally
from mesh_refresh.cli.terminal.exit_codes import WORKER_EXITS, Exit, listed, worst
from mesh_refresh.cli.terminal.messages import say
from mesh_refresh.keeper import Keeper, Policy

_log = logging.getLogger("mesh_refresh.cli")

_EPILOG = f"""\b
Any number of workers can share a store, of one machine an SQLite file, of many a
PostgreSQL database: each login is refreshed by one of them at a time. SIGTERM and
Ctrl-C end a worker in order: nothing more is sent, and what was sent is finished
and written first.

\b
Spans of time are written like 90s, 15m, 2h or 1d.

\b
Environment:
  {STORE_VARIABLE}   the store, where there is no --store
  {KEYS_VARIABLE}    the keys of the store, with commas between; the first seals
  MESH_CLIENT_ID       your client id
  MESH_CLIENT_SECRET   your client secret
  MESH_BASE_URL        where Mesh is; production where it is not set

\b
Exit codes; with --once, the highest of 2 to 11 that fits, and 4 to 10 only then:
{listed(WORKER_EXITS)}"""


@click.command(epilog=_EPILOG, short_help="Keep the logins of the store fresh: a worker.")
@click.option("--once", is_flag=True, help="Refresh what is due, and end.")
@click.option("--concurrency", type=click.IntRange(1), help=f"Exchanges at once.  [default: {Policy().concurrency}]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Exchanges begun in a second, at the most.")
@click.option("--keep-alive", type=duration, help="Refresh at least so often, also where no lifetime is known.")
@click.option("--deadline", type=duration, help="For one exchange.  [default: 60s]")
@click.option("--lease", type=duration, help="For how long a worker has a login; longer than a deadline. [default: 3m]")
@click.option(
    "--resend-after", type=duration, help="After an unknown outcome, before tokens are sent again. [default: 2m]"
)
@click.option("--confirm-after", type=duration, help="Before a first refusal is confirmed by one more. [default: 2m]")
@click.option("--poll", type=duration, help="How often the store is asked what is due.  [default: 1s]")
@click.option("--log-json", is_flag=True, help="Log in JSON, one object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
@spool_option
@store_options
def run(
    deadline: timedelta | None,
    spool: str | None,
    place: StoreLocation,
    *,
    once: bool,
    log_json: bool,
    quiet: bool,
    **wishes: Any,
) -> int:
    """Refresh each login of the store before it ends, until SIGTERM or Ctrl-C."""
    wishes["lease"] = _fitting(wishes["lease"], deadline)
    policy, tally = open_fleet.policy(**wishes), Tally()
    with logging_to_stderr(as_json=log_json, quiet=quiet):
        fleet = OpenFleet(
            place,
            lambda: open_fleet.client(deadline),
            policy,
            background=not once,
            spool=spool,
            spools=True,
            on_event=tally.count if once else None,
            tell=_log.warning,
        )
        # With --log-json, all of standard error is for a machine.
        tell = _log.info if log_json else say
        return _once(fleet, tally, tell, quiet=quiet) if once else _until_told(fleet)


def _until_told(fleet: OpenFleet) -> int:
    with fleet:
        try:
            fleet.run(_work(fleet.keeper))
        except KeyboardInterrupt:
            # The way in which it is meant to end.
            received = fleet.loop.received or signal.SIGINT
            _log.info("%s: nothing more is sent, and what was sent is finished first", received.name)
    _log.info("the worker has ended, and everything is in the store")
    return Exit.REFRESHED


async def _work(keeper: Keeper) -> None:
    summary = await keeper.summary()
    facts = {"logins": summary.logins, "due": summary.due, "paused": ", ".join(sorted(summary.paused)) or None}
    _log.info("the worker has begun", extra=facts)
    # All that was imported stays for good. Else every full collection walks over it, and holds the loop up meanwhile.
    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


def _once(fleet: OpenFleet, tally: Tally, tell: Callable[[str], object], *, quiet: bool) -> int:
    with fleet:
        began = datetime.now(UTC)
        before = fleet.run(fleet.store.counts(began))
        claimed = fleet.run(fleet.keeper.refresh_due())
        after = fleet.run(fleet.store.counts(began))
        paused = frozenset(fleet.run(fleet.store.paused()))
    tally.claimed(claimed)  # by now the keeper has been left, and every event was told
    left = tally.still_due(sum(it.due for it in before), sum(it.due for it in after))
    code = worst([tally.code, Exit.TRY_AGAIN if left else Exit.REFRESHED])
    if code or not quiet:
        tell(tally.sentence(left))
        for line in (*tally.advice(), *_pauses(paused, {it.broker for it in after if it.due})):
            tell(line)
    return code


def _pauses(paused: frozenset[str], due: set[str]) -> list[str]:
    """Which pauses hold back what is `due`."""
    if "*" in paused and due:
        return ["all brokers are paused: mesh-refresh resume --all"]
    return [f"{broker} is paused: mesh-refresh resume {broker}" for broker in sorted(paused & due)]


def _fitting(lease: timedelta | None, deadline: timedelta | None) -> timedelta | None:
    """A lease must outlast the deadline, and who sets only that should not have to know."""
    if lease is None and deadline is not None and deadline >= Policy().lease:
        return deadline * 1.5
    return lease

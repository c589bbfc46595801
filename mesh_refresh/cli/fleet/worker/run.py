"""``mesh-refresh run``."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click

from mesh_refresh.cli.fleet.support.listen_options import ListenOptions, listen_options
from mesh_refresh.cli.fleet.support.logs import logging_to_stderr
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet, make_client, make_policy
from mesh_refresh.cli.fleet.support.options import duration_option, spool_option, store_options
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, STORE_VARIABLE, StoreLocation
from mesh_refresh.cli.fleet.support.webhook_option import make_webhooks, webhook_option
from mesh_refresh.cli.fleet.worker.tally import Tally
from mesh_refresh.cli.terminal.exit_codes import RUN, Exit, list_exits, worst
from mesh_refresh.cli.terminal.messages import say
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.stores import StoreUnavailable
from mesh_refresh.stores.store import ALL_BROKERS

_log = logging.getLogger("mesh_refresh.cli")

_EPILOG = f"""
Any number of workers can share a store: an SQLite file on one machine, a
PostgreSQL database on many. One worker at a time refreshes a login. SIGTERM and
Ctrl-C stop a worker in order: it sends nothing more, and writes the results of
what it has sent before it ends.

A SPAN is written like 90s, 15m, 2h or 1d.

\b
Environment:
  {STORE_VARIABLE}   the store, without --store
  {KEYS_VARIABLE}    the keys of the store, with commas between them
  MESH_CLIENT_ID       your client id
  MESH_CLIENT_SECRET   your client secret
  MESH_BASE_URL        the URL of Mesh; production if it is not set

Exit codes. With --once it is the highest of 2 to 11 that applies; 4 to 10 occur only then.

\b
{list_exits(RUN)}"""


@click.command(epilog=_EPILOG, short_help="Keep the logins of the store fresh: a worker.")
@click.option("--once", is_flag=True, help="Refresh what is due, and exit.")
@click.option(
    "--concurrency", type=click.IntRange(1), help=f"Exchanges at the same time.  [default: {Policy().concurrency}]"
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Start at most this many exchanges a second.")
@duration_option("--keep-alive", "Refresh every account at least this often, even if its lifetime is unknown.")
@duration_option("--deadline", "Time limit of one exchange.  [default: 60s]")
@duration_option("--lease", "How long a worker reserves a login; longer than --deadline.  [default: 3m]")
@duration_option("--resend-after", "Wait after an unknown outcome before the tokens are sent again.  [default: 2m]")
@duration_option("--confirm-after", "Wait after a first refusal before one more request confirms it.  [default: 2m]")
@duration_option("--poll", "How often to ask the store what is due.  [default: 1s]")
@click.option("--log-json", is_flag=True, help="Log in JSON, one object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
@spool_option
@listen_options
@webhook_option
@store_options
def run(
    location: StoreLocation,
    spool: str | None,
    listen: ListenOptions,
    webhook: str | None,
    *,
    once: bool,
    concurrency: int | None,
    rate: float | None,
    keep_alive: timedelta | None,
    deadline: timedelta | None,
    lease: timedelta | None,
    resend_after: timedelta | None,
    confirm_after: timedelta | None,
    poll: timedelta | None,
    log_json: bool,
    quiet: bool,
) -> int:
    """Refresh each login of the store before its access token expires, until SIGTERM or Ctrl-C."""
    policy = make_policy(
        concurrency=concurrency,
        rate=rate,
        keep_alive=keep_alive,
        lease=_fit_lease(lease, deadline),
        resend_after=resend_after,
        confirm_after=confirm_after,
        poll=poll,
    )
    if once and listen.are_given:
        raise click.UsageError("--once goes without --listen: it ends by itself.")
    supervision = None if once else listen.supervise()
    tally = Tally()
    with logging_to_stderr(as_json=log_json, quiet=quiet):
        fleet = OpenFleet(
            location,
            lambda: make_client(deadline),
            policy,
            background=not once,
            spool=spool,
            spools=True,
            on_event=tally.count if once else None,
            webhooks=make_webhooks(webhook, None if supervision is None else supervision.observer),
            tell=_log.warning,
            supervision=supervision,
            role="run",
        )
        # With --log-json, a program reads all of standard error.
        tell = _log.info if log_json else say
        return _run_once(fleet, tally, tell, quiet=quiet) if once else _run_until_stopped(fleet)


def _run_until_stopped(fleet: OpenFleet) -> int:
    with fleet:
        try:
            fleet.run(_work(fleet.keeper))
        except KeyboardInterrupt:
            # The ordinary end of a worker.
            received = fleet.loop.received or signal.SIGINT
            if fleet.supervision is not None:
                fleet.run(fleet.supervision.linger())
            _log.info("%s: the worker sends nothing more, and writes the results of what it has sent", received.name)
    _log.info("the worker has stopped; all results are in the store")
    return Exit.REFRESHED


async def _work(keeper: Keeper) -> None:
    facts = {}
    with suppress(StoreUnavailable):  # it was there a moment ago, and the keeper waits for it
        summary = await keeper.summary()
        facts = {"logins": summary.logins, "due": summary.due, "paused": ", ".join(sorted(summary.paused)) or None}
    _log.info("the worker has started", extra=facts)
    # Imported modules stay for good. Unfrozen, every full collection walks over them and holds the loop up.
    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


def _run_once(fleet: OpenFleet, tally: Tally, tell: Callable[[str], object], *, quiet: bool) -> int:
    with fleet:
        began = datetime.now(UTC)
        before = fleet.run(fleet.store.counts(began))
        claimed = fleet.run(fleet.keeper.refresh_due())
        after = fleet.run(fleet.store.counts(began))
        paused = frozenset(fleet.run(fleet.store.paused()))
    tally.count_claimed(claimed)  # the keeper has been left, so that every event has been told
    left = tally.count_still_due(sum(count.due for count in before), sum(count.due for count in after))
    code = worst([tally.code, Exit.TRY_AGAIN if left else Exit.REFRESHED])
    if code or not quiet:
        tell(tally.sum_up(left))
        for line in (*tally.advise(), *_name_pauses(paused, {count.broker for count in after if count.due})):
            tell(line)
    return code


def _name_pauses(paused: frozenset[str], due: set[str]) -> list[str]:
    """The pauses that keep logins of the brokers in `due` from being refreshed, with the command that ends each."""
    if ALL_BROKERS in paused and due:
        return ["all brokers are paused: mesh-refresh resume --all"]
    return [f"{broker} is paused: mesh-refresh resume {broker}" for broker in sorted(paused & due)]


def _fit_lease(lease: timedelta | None, deadline: timedelta | None) -> timedelta | None:
    """The lease to use. It must outlast the deadline, so a long `deadline` given alone makes the lease longer too."""
    if lease is None and deadline is not None and deadline >= Policy().lease:
        return deadline * 1.5
    return lease

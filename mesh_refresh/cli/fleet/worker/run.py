"""``mesh-refresh run``."""

import asyncio
import gc
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import click
from attrs import evolve

from mesh_refresh.cli.fleet.support.listen_options import ListenOptions, listen_options
from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import store_options
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, STORE_VARIABLE, StoreLocation
from mesh_refresh.cli.fleet.support.worker_options import WorkerOptions, worker_options
from mesh_refresh.cli.fleet.worker.processes import report_events, run_processes
from mesh_refresh.cli.fleet.worker.summary import ExchangeCounts
from mesh_refresh.cli.fleet.worker.tally import Tally
from mesh_refresh.cli.terminal.child import CHILD, Child
from mesh_refresh.cli.terminal.exit_codes import RUN, Exit, list_exits, worst
from mesh_refresh.cli.terminal.messages import say
from mesh_refresh.keeper import Event, Keeper
from mesh_refresh.service.web.addresses import UnixAddress
from mesh_refresh.stores import StoreUnavailable
from mesh_refresh.stores.store import ALL_BROKERS

_log = logging.getLogger("mesh_refresh.cli")
_summary = logging.getLogger("mesh_refresh.summary")

_STOPS = "%s: the %s sends nothing more, and writes the results of what it has sent"
_EVERY = 60.0
"""Seconds between two summaries."""

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
  {KEYS_VARIABLE}_FILE, MESH_CLIENT_SECRET_FILE
                       files with keys or secret instead, which may change

Exit codes. With --once it is the highest of 2 to 11 that applies; 4 to 10 occur only then.

\b
{list_exits(RUN)}"""


@click.command(epilog=_EPILOG, short_help="Keep the logins of the store fresh: a worker.")
@click.option("--once", is_flag=True, help="Refresh what is due, and exit.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    help="Share the work among N processes, which use as many cores. They share --rate and --concurrency too.",
)
@worker_options
@listen_options
@store_options
def run(location: StoreLocation, listen: ListenOptions, worker: WorkerOptions, *, once: bool, processes: int) -> int:
    """Refresh each login of the store before its access token expires, until SIGTERM or Ctrl-C."""
    if once and (listen.are_given or processes > 1):
        raise click.UsageError("--once goes without --listen and --processes: it ends by itself.")
    if (child := CHILD.get()) is not None:
        return _run_child(child, location, evolve(worker, share=(int(child.name), processes)))
    if processes > 1:
        evolve(worker, share=(processes, processes)).check(location)
        with worker.logging():
            return run_processes(listen, processes)
    supervision = None if once else listen.supervise()
    tally = Tally()
    with worker.logging():
        if not once:
            counts = worker.make_counts()
            fleet = worker.open(location, supervision, background=True, observer=counts, role="run")
            return run_until_stopped(fleet, "worker", counts)
        fleet = worker.open(location, supervision, on_event=tally.count, role="run")
        # With --log-json, a program reads all of standard error.
        return _run_once(fleet, tally, _log.info if worker.log_json else say, quiet=worker.quiet)


def run_until_stopped(
    fleet: OpenFleet, name: str, counts: ExchangeCounts | None, begin: Callable[[], object] = lambda: None
) -> int:
    """Keep `fleet` open until a signal comes. `begin` is called once it is. Messages call the process `name`.

    `counts` are summed up once a minute and at the end.
    """
    is_open = False
    try:
        with fleet:
            is_open = True
            try:
                begin()
                fleet.run(_work(fleet.keeper, name, counts))
            except KeyboardInterrupt:
                # The ordinary end.
                received = fleet.loop.received or signal.SIGINT
                if fleet.supervision is not None:
                    fleet.run(fleet.supervision.linger())
                _log.info(_STOPS, received.name, name)
    finally:
        if counts is not None and is_open:
            _tell(counts.sum_up_all(time.monotonic()))
    _log.info("the %s has stopped; all results are in the store", name)
    return Exit.REFRESHED


async def _work(keeper: Keeper, name: str, counts: ExchangeCounts | None) -> None:
    facts = {}
    with suppress(StoreUnavailable):  # it was there a moment ago, and the keeper waits for it
        summary = await keeper.summary()
        facts = {"logins": summary.logins, "due": summary.due, "paused": ", ".join(sorted(summary.paused)) or None}
    _log.info("the %s has started", name, extra=facts)
    # Imported modules stay for good. Unfrozen, every full collection walks over them and holds the loop up.
    gc.collect()
    gc.freeze()
    while True:
        await asyncio.sleep(_EVERY)
        if counts is not None:
            _tell(counts.sum_up(time.monotonic()))


def _tell(summary: tuple[str, Mapping[str, int]] | None) -> None:
    if summary is not None:
        _summary.info("%s", summary[0], extra=summary[1])


def _run_child(child: Child, location: StoreLocation, worker: WorkerOptions) -> int:
    """Run a worker that answers its parent's questions, and tells it at the end what happened."""
    events: Counter[str] = Counter()

    def count(event: Event) -> None:
        events[type(event).__name__] += 1

    listen = ListenOptions(UnixAddress(child.socket), None, None, opens_metrics=False, hosts=(), drain_delay=None)
    with worker.logging():
        counts = worker.make_counts()
        fleet = worker.open(location, listen.supervise(), background=True, on_event=count, observer=counts, role="run")
        try:
            return run_until_stopped(fleet, "worker", counts)
        finally:
            report_events(events)


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

"""``mesh-refresh status``."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import json_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import format_span, show, tell
from mesh_refresh.cli.terminal.messages import one_line
from mesh_refresh.keeper import AccountState, BrokerSummary, Process, Summary, Way
from mesh_refresh.keeper.advice import PARKED
from mesh_refresh.stores import NoticeCounts
from mesh_refresh.stores.store import ALL_BROKERS

_YIELDING = (
    "managed", "not_refreshable", "unreadable", "expired",
    "mfa_required", "reconnect_required", "active", "logins",
)  # fmt: skip
"""In a narrow window. `show` moves states without logins first."""
_NO_NOTICES = NoticeCounts(0, 0, None)


_BEGINNING = timedelta(seconds=5)
_COLUMNS = ("host", "pid", "role", "since", "last_report", "version", "state")


@click.command(short_help="Count logins by broker and state, and name the workers.")
@json_option
@store_options
def status(location: StoreLocation, *, as_json: bool) -> None:
    """Count the logins of the store by broker and state, and name the processes that work on it.

    A login with several accounts counts once for each of their states. "expired" counts logins with an expired access
    token, "due" those that are to be refreshed now. A process that has told nothing for a minute is "silent": killed,
    or cut off from the store. It sends nothing, and needs no keys of Mesh.
    """
    with OpenFleet(location) as fleet:
        summary = fleet.run(fleet.keeper.summary())
        outbox = fleet.store.outbox
        notices = _NO_NOTICES if outbox is None else fleet.run(outbox.counts())
        processes, now = fleet.run(fleet.keeper.processes()), fleet.keeper.now()
    if as_json:
        told = {"waiting": notices.waiting, "dead": notices.dead}
        listed = [_process_document(process, now) for process in processes]
        click.echo(json.dumps({**document_of(summary), "notices": told, "processes": listed}))
    else:
        _print(summary, notices)
        _print_processes(processes, now, is_due=bool(summary.due))


def document_of(summary: Summary) -> dict[str, Any]:
    """What ``--json`` writes: numbers, seconds, and names of brokers."""
    return {
        **_count(summary),
        "late_seconds": round(summary.late.total_seconds(), 3),
        "leased": summary.leased,
        "moving": {way.value: number for way, number in summary.moving.items()},
        "paused": sorted(summary.paused),
        "brokers": {name: _count(broker) for name, broker in summary.brokers.items()},
    }


def _count(counts: Summary | BrokerSummary) -> dict[str, Any]:
    states = {state.value: counts.states.get(state, 0) for state in AccountState}
    return {"logins": counts.logins, "states": states, "expired": counts.expired, "due": counts.due}


def _print(summary: Summary, notices: NoticeCounts = _NO_NOTICES) -> None:
    lines = _lines(summary)
    if notices.dead:
        lines.append(f"Notices that were given up: {notices.dead}. Next: mesh-refresh webhooks list --dead")
    if not summary.logins:
        click.echo("The store has no logins. Next: mesh-refresh import FILE")
    else:
        columns = ["broker", "logins", *AccountState, "expired", "due"]
        rows = [_row(name, broker) for name, broker in summary.brokers.items()]
        if len(rows) > 1:
            rows.append(_row("all", summary))
        show(columns, rows, numbers=columns[1:], yielding=_YIELDING)
        if lines:
            click.echo()
    for line in lines:
        tell(line)


def _process_document(process: Process, now: datetime) -> dict[str, Any]:
    return {
        "host": process.host,
        "pid": process.pid,
        "role": process.role,
        "since": None if process.since is None else process.since.isoformat(),
        "last_report": process.at.isoformat(),
        "silent": process.is_silent(now),
        "version": process.version,
        "has_loop": process.has_loop,
    }


def _print_processes(processes: Sequence[Process], now: datetime, *, is_due: bool) -> None:
    """The processes that work on the store, those that tell of themselves first."""
    if processes:
        listed = sorted(processes, key=lambda it: (it.is_silent(now), it.host or "", it.pid or 0))
        state = {True: "silent", False: "alive"}
        rows = [(it.host, it.pid, it.role, it.since, it.at, it.version, state[it.is_silent(now)]) for it in listed]
        click.echo()
        show(_COLUMNS, rows, numbers=("pid",), yielding=("version", "since"))
    if is_due and not any(_may_work(it) and not it.is_silent(now) for it in processes):
        tell("No worker runs now. Next: mesh-refresh run")


def _may_work(process: Process) -> bool:
    """Whether it has a loop. A process that has only just begun has not looked yet for what is due."""
    return process.has_loop or (process.since is not None and process.at - process.since < _BEGINNING)


def _row(name: str, counts: Summary | BrokerSummary) -> list[str | int]:
    found = _count(counts)
    return [name, found["logins"], *found["states"].values(), found["expired"], found["due"]]


def _lines(summary: Summary) -> list[str]:
    lines = []
    if summary.due:
        lines.append(f"Most overdue: {format_span(summary.late)}.")
    if summary.leased:
        lines.append(f"Claimed by a worker now: {summary.leased}.")
    if ALL_BROKERS in summary.paused:
        lines.append("All brokers are paused. Next: mesh-refresh resume --all")
    brokers = [one_line(name) for name in sorted(summary.paused - {ALL_BROKERS})]
    if brokers:
        lines.append(f"Paused: {', '.join(brokers)}. Next: mesh-refresh resume BROKER")
    if moved := summary.moving.get(Way.MOVED):
        lines.append(f"Moved to another store: {moved}.")
    if arriving := summary.moving.get(Way.ARRIVING):
        lines.append(f"Arriving from another store: {arriving}. If no copy runs now, next: mesh-refresh copy FROM TO")
    for state, parked in PARKED.items():
        if number := summary.states.get(state):
            lines.append(f"{parked.what}: {number}. Next: {parked.command}")
    return lines

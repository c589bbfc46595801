"""``mesh-refresh status``."""

import json
from typing import Any

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import json_option, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import show, span, tell
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import one_line
from mesh_refresh.keeper import AccountState, BrokerSummary, Summary, Way

_NEXT = {
    AccountState.MFA_REQUIRED: "In need of a code: {}. mesh-refresh mfa LOGIN",
    AccountState.RECONNECT_REQUIRED: "In need of the person logging in again: {}. Import what Link hands over then.",
    AccountState.UNREADABLE: "With a reply that cannot be read: {}. mesh-refresh salvage LOGIN",
}
_YIELDING = ("not_refreshable", "unreadable", "expired", "mfa_required", "reconnect_required", "active", "logins")
"""In a narrow window: states that nobody is in first."""


@click.command(short_help="How the fleet is: counts by broker and state.")
@json_option
@store_options
def status(place: StoreLocation, *, as_json: bool) -> int:
    """Count the logins of the store by broker and state.

    A login with several accounts counts under each of their states. Nothing is sent, and no keys of Mesh are needed.
    """
    with OpenFleet(place) as fleet:
        summary = fleet.run(fleet.keeper.summary())
    if as_json:
        click.echo(json.dumps(document_of(summary)))
    else:
        _print(summary)
    return Exit.REFRESHED


def document_of(summary: Summary) -> dict[str, Any]:
    """What ``--json`` writes."""
    return {
        "logins": summary.logins,
        "states": _states(summary),
        "expired": summary.expired,
        "due": summary.due,
        "late_seconds": round(summary.late.total_seconds(), 3),
        "leased": summary.leased,
        "moving": {way.value: number for way, number in summary.moving.items()},
        "paused": sorted(summary.paused),
        "brokers": {
            name: {"logins": it.logins, "states": _states(it), "expired": it.expired, "due": it.due}
            for name, it in summary.brokers.items()
        },
    }


def _states(it: Summary | BrokerSummary) -> dict[str, int]:
    return {state.value: it.states.get(state, 0) for state in AccountState}


def _print(summary: Summary) -> None:
    lines = _lines(summary)
    if not summary.logins:
        click.echo("The store has no logins yet: mesh-refresh import FILE")
    else:
        columns = ["broker", "logins", *AccountState, "expired", "due"]
        rows = [_row(name, it) for name, it in summary.brokers.items()]
        if len(rows) > 1:
            rows.append(_row("all", summary))
        show(columns, rows, numbers=columns[1:], yielding=_YIELDING)
        if lines:
            click.echo()
    for line in lines:
        tell(line)


def _row(name: str, it: Summary | BrokerSummary) -> list[str | int]:
    return [name, it.logins, *(it.states.get(state, 0) for state in AccountState), it.expired, it.due]


def _lines(summary: Summary) -> list[str]:
    lines = []
    if summary.due:
        lines.append(f"The latest has been due for {span(summary.late)}.")
    if summary.leased:
        lines.append(f"Being worked on: {summary.leased}.")
    if "*" in summary.paused:
        lines.append("All brokers are paused. mesh-refresh resume --all")
    brokers = [one_line(name) for name in sorted(summary.paused - {"*"})]
    if brokers:
        lines.append(f"Paused: {', '.join(brokers)}. mesh-refresh resume BROKER")
    if moved := summary.moving.get(Way.MOVED):
        lines.append(f"Moved to another store: {moved}.")
    if arriving := summary.moving.get(Way.ARRIVING):
        lines.append(f"On their way into this store: {arriving}. Run mesh-refresh copy again, if it does not run.")
    lines += [words.format(summary.states[state]) for state, words in _NEXT.items() if summary.states.get(state)]
    return lines

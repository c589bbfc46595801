"""``mesh-refresh retry``."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import click

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import (
    check_past,
    do_it_option,
    duration_option,
    parse_time,
    store_options,
)
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import format_span
from mesh_refresh.cli.terminal.messages import format_count, one_line, say
from mesh_refresh.enums import named_broker
from mesh_refresh.keeper import AccountState, Login, Reason
from mesh_refresh.keeper.bulk.retry import Retry
from mesh_refresh.keeper.errors import WHY
from mesh_refresh.keeper.listing import UnopenedRow
from mesh_refresh.keeper.rules.failure import RETRIED
from mesh_refresh.stores.store import ALL_BROKERS
from mesh_refresh.tasks import all_of

_LONGEST = timedelta(days=365)

_EPILOG = """\b
Reasons that can be retried:
  refused
      the tokens were refused twice, and were good before
  refused_after_unknown
      they were refused after an exchange without an answer, and are most
      likely spent; not where another account of the login works

Accounts that were parked for other reasons have no token that may be sent.
"""


def _parse_reason(text: str) -> Reason:
    """A reason that can be retried. Raises `click.BadParameter` for another one, and for what is none."""
    can_be = f"It can be {' or '.join(RETRIED)}."
    if text not in list(Reason):
        raise click.BadParameter(can_be)
    if text not in RETRIED:
        raise click.BadParameter(f"Accounts with this reason are never retried: {WHY[Reason(text)]}. {can_be}")
    return Reason(text)


@click.command(epilog=_EPILOG, short_help="Retry logins that a broker has refused falsely.")
@click.option("--broker", required=True, metavar="NAME", help="Logins of this broker.")
@click.option("--reason", required=True, type=_parse_reason, metavar="REASON", help="Parked for this reason.")
@click.option("--parked-since", type=parse_time, metavar="TIME", help="Parked at TIME or later: a time, or 6h.")
@duration_option("--spread", "Make them due evenly over this time: 30m, 2h.  [default: 1h]", "1h")
@do_it_option
@store_options
def retry(
    location: StoreLocation,
    broker: str,
    reason: Reason,
    parked_since: datetime | None,
    spread: timedelta,
    *,
    yes: bool,
) -> int:
    """Let logins be refreshed once more whose tokens the broker has refused by mistake, as in an outage.

    Without --yes it only lists them. Workers refresh them, within their limits, and while the broker is not paused. An
    account whose tokens are refused again is parked as before. A second run changes nothing.
    """
    now = datetime.now(UTC)
    if not broker.strip() or broker == ALL_BROKERS:
        raise click.UsageError("--broker takes the name of one broker.")
    if spread > _LONGEST:
        raise click.UsageError("--spread takes 365d at the most.")
    check_past("--parked-since", parked_since, now)
    name, what = str(named_broker(broker)), Retry(reason, parked_since, now)
    done = found = unopened = 0
    with OpenFleet(location, read_only=not yes) as fleet:
        for page in fleet.pages(AccountState.RECONNECT_REQUIRED, name):
            logins = _those(page, what)
            found += len(logins)
            unopened += sum(isinstance(it, UnopenedRow) for it in page)
            for login in logins if not yes else ():
                click.echo(f"{one_line(login.login_id)}  {one_line(name)}  {reason}")
        places = count()
        try:
            for page in fleet.pages(AccountState.RECONNECT_REQUIRED, name) if yes and found else ():
                due = [(login, now + spread * min(1.0, next(places) / found)) for login in _those(page, what)]
                done += sum(fleet.run(all_of(what.apply(fleet.store, login, due_at) for login, due_at in due)))
        except KeyboardInterrupt:
            say(f"interrupted: {format_count(done, 'login')} due again so far. Run it again for the rest.")
            raise
        known = {it.broker for it in fleet.run(fleet.store.counts(now))} if not found else {name}
        paused = {name, ALL_BROKERS} & fleet.run(fleet.store.paused()).keys()
    over = format_span(spread)
    if yes:
        say(f"{format_count(done, 'login')} due again, evenly over {over}, for a worker.")
    else:
        say(f"{format_count(found, 'login')} to retry, evenly over {over}. Nothing was changed: --yes does it.")
    if name not in known:
        say(f"note: the store has no login of {name}.")  # a misspelt name would find nothing, in silence
    if paused:
        say(f"note: {name} is paused: nothing is sent before mesh-refresh resume.")
    return location.report_unopened(unopened)


def _those(page: Sequence[Login | UnopenedRow], what: Retry) -> list[Login]:
    return [it for it in page if isinstance(it, Login) and what.concerns(it)]

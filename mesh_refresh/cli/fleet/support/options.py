"""Options that several commands of a fleet share."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from mesh_refresh.cli.fleet.support.store_location import STORE_VARIABLE, StoreLocation
from mesh_refresh.validation import read_span

_Command = TypeVar("_Command", bound=Callable[..., Any])

SPOOL_VARIABLE = "MESH_REFRESH_SPOOL"
ACCESS_VARIABLE = "MESH_REFRESH_ACCESS"


def parse_duration(text: str) -> timedelta:
    """Read a span of time: ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m``. Raises `click.BadParameter` for other text."""
    span = read_span(text)
    if span is None:
        raise click.BadParameter("Write a span of time, such as 90s, 15m, 2h or 1d.")
    return span


def parse_time(text: str) -> datetime:
    """Read a time, or the time that is a span such as ``15m`` ago. Raises `click.BadParameter` for other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - parse_duration(text)
        except (click.BadParameter, OverflowError):
            moment = datetime.min  # noqa: DTZ901 - without an offset: refused below
    if moment.tzinfo is None:
        raise click.BadParameter("Write a time such as 2026-11-23T16:00:00+00:00, or a span of time such as 15m.")
    return moment


def duration_option(name: str, text: str, default: str | None = None) -> Callable[[_Command], _Command]:
    """An option that takes a span of time. `text` is its help."""
    return click.option(name, type=parse_duration, metavar="SPAN", default=default, help=text)


def access_option(text: str) -> Callable[[_Command], _Command]:
    """``--access``, a file. `text` is its help."""
    shown = f"{text}  [environment: {ACCESS_VARIABLE}]"
    return click.option("--access", metavar="FILE", envvar=ACCESS_VARIABLE, help=shown)


def page_options(what: str, metavar: str, shown: int) -> Callable[[_Command], _Command]:
    """Adds ``--after`` and ``--limit`` to a list of what is called `what`, of which a table has `shown` by default."""

    def add(command: _Command) -> _Command:
        for option in (
            click.option(
                "--limit",
                type=click.IntRange(1),
                metavar="N",
                help=f"At most N {what}s.  [default: {shown}; all with --json]",
            ),
            click.option(
                "--after", metavar=metavar, help=f"{what.capitalize()}s behind this one, in the order of the ids."
            ),
        ):
            command = option(command)
        return command

    return add


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--store`` and ``--plaintext``. The command gets a `StoreLocation` as `location` in their place."""

    @wraps(command)
    def with_location(*arguments: Any, store: str | None, plaintext: bool, **others: Any) -> Any:
        source = click.get_current_context().get_parameter_source("store")
        named_by = STORE_VARIABLE if source is ParameterSource.ENVIRONMENT else "--store"
        return command(*arguments, location=StoreLocation(store, plaintext, named_by=named_by), **others)

    for option in (
        click.option("--plaintext", is_flag=True, help="The store is not sealed: its file or tables show the tokens."),
        click.option(
            "--store",
            metavar="STORE",
            envvar=STORE_VARIABLE,
            help=f"The path of an SQLite file, or the URL of a PostgreSQL database.  [environment: {STORE_VARIABLE}]",
        ),
    ):
        with_location = option(with_location)
    return with_location


def check_past(name: str, moment: datetime | None, now: datetime) -> None:
    """Raises `click.UsageError` where the option `name` has a time to come."""
    if moment is not None and moment > now:
        raise click.UsageError(f"{name} must be a time in the past.")


do_it_option = click.option("--yes", is_flag=True, help="Do it. Without this option, only list what would be done.")

account_option = click.option("--account", metavar="ID", help="The account, if the login has several.")

spool_option = click.option(
    "--spool",
    metavar="DIR",
    envvar=SPOOL_VARIABLE,
    help=f"Where new tokens wait, sealed, while the store cannot be written.  [environment: {SPOOL_VARIABLE}; "
    "default: STORE.spool beside the file, or for PostgreSQL a folder in ~/.local/state/mesh-refresh]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document a line.")

"""What the commands of a fleet share on the command line."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from mesh_refresh.cli.fleet.support.store_location import STORE_VARIABLE, StoreLocation

SPOOL_VARIABLE = "MESH_REFRESH_SPOOL"

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def duration(text: str) -> timedelta:
    """A span of time, from the command line: ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m``."""
    text = text.strip().lower()
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise click.BadParameter("It should be a span of time such as 90s, 15m, 2h or 1d.")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise click.BadParameter("It is too long a span of time.") from None


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which store, and whether it is sealed: the command is called with a `place`."""

    @wraps(command)
    def with_place(*arguments: Any, store: str | None, plaintext: bool, **others: Any) -> Any:
        source = click.get_current_context().get_parameter_source("store")
        named_by = STORE_VARIABLE if source is ParameterSource.ENVIRONMENT else "--store"
        return command(*arguments, place=StoreLocation(store, plaintext, named_by=named_by), **others)

    for option in (
        click.option("--plaintext", is_flag=True, help="The store is not sealed: whoever reads it has the tokens."),
        click.option(
            "--store",
            metavar="STORE",
            envvar=STORE_VARIABLE,
            help=f"An SQLite file, or the URL of a PostgreSQL database; else {STORE_VARIABLE}.",
        ),
    ):
        with_place = option(with_place)
    return with_place


account_option = click.option("--account", metavar="ID", help="Which account, where the login has several.")

spool_option = click.option(
    "--spool",
    metavar="DIR",
    envvar=SPOOL_VARIABLE,
    help=f"Where new tokens wait, sealed, while the store is gone; else {SPOOL_VARIABLE}, else beside the file as "
    "STORE.spool, or for PostgreSQL in ~/.local/state/mesh-refresh.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON, one document a line.")

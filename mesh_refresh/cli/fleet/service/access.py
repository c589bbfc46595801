"""``mesh-refresh access``."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from attrs import asdict

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.fleet.support.options import ACCESS_VARIABLE, access_option, duration_option, json_option
from mesh_refresh.cli.fleet.support.tables import Cell, show
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, say, system_reason
from mesh_refresh.service import AccessKey, Scope
from mesh_refresh.service.access.changes import add_key, change_keys, revoke_key
from mesh_refresh.service.access.file import read_file

_COLUMNS = ("name", "scopes", "prefix", "rate", "expires")

_EPILOG = """\b
Scopes:
  tokens   read access tokens, and report those that a broker refused
  add      add logins, and new tokens of theirs
  operate  refresh a login, type MFA codes, pause and resume brokers
  remove   remove logins
  read     read states and counts, no tokens
  metrics  read /metrics

A running service sees each change at its next request.
"""


_file_option = access_option("The file that keeps the access keys, as hashes.")


@click.group(epilog=_EPILOG, short_help="Make, list and revoke the access keys of a service.")
def access() -> None:
    """Keys for callers of "mesh-refresh serve": programs, and people who open its page."""


@access.command(short_help="Make an access key, and print it.")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What it allows; give it several times for several scopes.",
)
@click.option("--prefix", metavar="TEXT", help="Only logins whose ids begin with this.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="At most N requests a second.")
@duration_option("--expires", "It opens nothing after this time.")
@_file_option
def add(
    access: str | None,
    name: str,
    *,
    scopes: tuple[str, ...],
    prefix: str | None,
    rate: float | None,
    expires: timedelta | None,
) -> int:
    """Make an access key called NAME, and print it on standard output. It is shown this once: the file has its hash.

    NAME stands in every line of the audit.
    """
    if prefix == "":
        raise click.BadParameter("--prefix is empty, which would be all logins. Leave it out if you mean that.")
    key, text = AccessKey.generate(name, map(Scope, scopes), prefix=prefix or "", rate=rate, expires=_end(expires))
    _change(access, add_key(key))
    click.echo(text)
    return Exit.REFRESHED


@access.command("list", short_help="List the access keys.")
@json_option
@_file_option
def list_keys(access: str | None, *, as_json: bool) -> int:
    """List the access keys, one a line: their names and what they allow."""
    keys = read_file(_path(access))
    if as_json:
        for key in keys:
            known = asdict(key, filter=lambda attribute, _: attribute.name != "hash")
            ends = None if key.expires is None else key.expires.isoformat()
            click.echo(json.dumps({**known, "scopes": sorted(key.scopes), "expires": ends}))
    elif keys:
        rows: list[tuple[Cell, ...]] = [
            (key.name, ",".join(sorted(key.scopes)), key.prefix, _rate(key), key.expires) for key in keys
        ]
        show(_COLUMNS, rows, yielding=_COLUMNS[2:])
    else:
        say("there is no access key.")
    return Exit.REFRESHED


@access.command(short_help="Revoke an access key.")
@click.argument("name")
@_file_option
def revoke(access: str | None, name: str) -> int:
    """Revoke the access key called NAME. Sessions of the page that it began end too."""
    _change(access, revoke_key(name))
    say("the access key is revoked.")
    return Exit.REFRESHED


def _change(access: str | None, change: Callable[[tuple[AccessKey, ...]], Iterable[AccessKey]]) -> None:
    path = _path(access)
    try:
        change_keys(path, change)
    except OSError as error:
        raise Failure(f"The access file cannot be written: {system_reason(error)}. Nothing was changed.") from None


def _path(access: str | None) -> Path:
    if not access:
        raise Failure(f"No access file was named. Give it with --access, or in {ACCESS_VARIABLE}.")
    return Path(access)


def _end(expires: timedelta | None) -> datetime | None:
    try:
        return None if expires is None else (datetime.now(UTC) + expires).replace(microsecond=0)
    except OverflowError:
        raise InvalidRequest("--expires is too long.") from None


def _rate(key: AccessKey) -> str | None:
    return None if key.rate is None else f"{key.rate:g}/s"

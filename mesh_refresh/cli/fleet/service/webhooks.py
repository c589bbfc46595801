"""``mesh-refresh webhooks``."""

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
from attrs import evolve

from mesh_refresh.cli.fleet.support.open_fleet import OpenFleet
from mesh_refresh.cli.fleet.support.options import json_option, page_options, parse_time, store_options
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.fleet.support.tables import Cell, show
from mesh_refresh.cli.fleet.support.webhook_option import URL_VARIABLE, make_webhooks, webhook_option
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, format_count, one_line, say
from mesh_refresh.cli.terminal.questions import YES, confirm
from mesh_refresh.keeper.notices import NoticeKind, open_notice
from mesh_refresh.service import WebhookNotTaken, Webhooks
from mesh_refresh.stores import NoticePage, NoticeRow, Outbox, Sealing, StoreDamaged, WrongKey

_COLUMNS = ("notice", "login", "kind", "state", "due", "tries", "written")
_YIELDING = ("written", "due", "tries", "state", "kind")
_PAGE = 500
_SHOWN = 100

_EPILOG = """\b
Notices that a worker posts with "run --webhook URL". One that no receiver has
taken for 3 days is dead: it is kept for 30 days, and can be resent.
"""

_since_option = click.option(
    "--since", type=parse_time, metavar="TIME", help="Notices written at TIME or later: a time, or 15m, 2h."
)


@click.group(epilog=_EPILOG, short_help="List and resend notices, or make a secret for webhooks.")
def webhooks() -> None:
    """What people have to know is posted to a program of yours, in the form of Standard Webhooks."""


@webhooks.command(short_help="Print a new secret.")
def secret() -> int:
    """Print a new secret to sign webhooks with. Workers read it from the environment, and the receiver needs it too.

    To rotate it, give the workers both the new and the old one with a blank between: both sign.
    """
    click.echo(Webhooks.generate_secret())
    return Exit.REFRESHED


@webhooks.command(short_help="Post a test to a receiver.")
@webhook_option
def test(webhook: str | None) -> int:
    """Post a webhook of the type "webhook.test" to a receiver, and say what came of it. It needs no store."""
    hooks = make_webhooks(webhook)
    if hooks is None:
        raise click.UsageError(f"Name the receiver with --webhook, or in {URL_VARIABLE}.")
    try:
        asyncio.run(_post_test(hooks))
    except WebhookNotTaken as error:
        raise Failure(f"the receiver did not take it: {error}", Exit.FAILED) from None
    say("the receiver took it.")
    return Exit.REFRESHED


async def _post_test(hooks: Webhooks) -> None:
    async with hooks:
        await hooks.send_test()


@webhooks.command("list", short_help="List notices that wait or are dead.")
@click.option("--dead", is_flag=True, help="Dead ones only.")
@_since_option
@page_options("notice", "ID", _SHOWN)
@json_option
@store_options
def list_notices(
    location: StoreLocation,
    after: str | None,
    since: datetime | None,
    *,
    dead: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """List the notices that no receiver has taken yet, one a line.

    It sends nothing, and needs no secret of webhooks. Notices that these keys do not open are listed without their
    kind, and the exit code is 12.
    """
    wanted = NoticePage(_PAGE, after=after, is_dead=True if dead else None, since=since)
    with OpenFleet(location) as fleet:
        if as_json:
            kinds = [_print_document(row, fleet.store.cipher) for row in _read(fleet, wanted, limit)]
        else:
            kinds = _print_table(list(_read(fleet, wanted, (limit or _SHOWN) + 1)), limit or _SHOWN, fleet.store.cipher)
    unopened = kinds.count(None)
    if not unopened:
        return Exit.REFRESHED
    sys.stdout.flush()
    say(f"{format_count(unopened, 'notice')} cannot be opened with these keys: {location.other_key()}")
    return Exit.STORE


@webhooks.command(short_help="Send dead notices again.")
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--dead", is_flag=True, help="All dead ones, with --since those written since then.")
@_since_option
@YES
@store_options
def resend(ids: tuple[str, ...], location: StoreLocation, since: datetime | None, *, dead: bool, yes: bool) -> int:
    """Let workers deliver dead notices again: those with these IDs, or all with --dead.

    A notice keeps its id. It may come out of order: the field "sequence" says which of two is newer. At a terminal, the
    command asks first.
    """
    if bool(ids) is dead or (ids and since is not None):
        raise click.UsageError("Name notices by their ids, or all dead ones with --dead [--since TIME].")
    with OpenFleet(location) as fleet:
        found = [row for row in _read(fleet, NoticePage(_PAGE, is_dead=True, since=since)) if not ids or row.id in ids]
        missing = [notice_id for notice_id in ids if notice_id not in {row.id for row in found}]
        if missing:
            raise Failure(f"{one_line(missing[0])} is no dead notice. Nothing was resent: see webhooks list --dead.")
        if found and not yes and sys.stdin is not None and sys.stdin.isatty():
            confirm(f"Resend {format_count(len(found), 'notice')}?", otherwise="nothing was resent.")
        done = fleet.run(_resend(_outbox(fleet), found))
    say(f"{format_count(done, 'notice')} will be delivered again, by a worker with --webhook.")
    return Exit.REFRESHED


async def _resend(outbox: Outbox, rows: list[NoticeRow]) -> int:
    """Resend them in the order in which they were written. Gives how many were still dead."""
    now = datetime.now(UTC)
    return sum([await outbox.resend(row.id, now) for row in sorted(rows, key=lambda row: row.written_at)])


def _outbox(fleet: OpenFleet) -> Outbox:
    if fleet.store.outbox is None:
        raise Failure("This store keeps no notices.")
    return fleet.store.outbox


def _read(fleet: OpenFleet, wanted: NoticePage, limit: int | None = None) -> Iterator[NoticeRow]:
    """The notices that match, page by page, `limit` of them at the most; None: all."""
    outbox, left = _outbox(fleet), limit
    while left is None or left > 0:
        wanted = evolve(wanted, limit=_PAGE if left is None else min(left, _PAGE))
        page = fleet.run(outbox.page(wanted))
        yield from page
        if len(page) < wanted.limit:
            return
        wanted, left = evolve(wanted, after=page[-1].id), None if left is None else left - len(page)


def _kind(row: NoticeRow, cipher: Sealing) -> NoticeKind | None:
    """What it tells; None where these keys do not open it."""
    try:
        return open_notice(cipher, row).kind
    except (WrongKey, StoreDamaged):
        return None


def _print_document(row: NoticeRow, cipher: Sealing) -> NoticeKind | None:
    kind = _kind(row, cipher)
    document: dict[str, Any] = {
        "notice": row.id,
        "login": row.login_id,
        "kind": kind,
        "state": _state(row),
        "due_at": row.due_at.isoformat(),
        "tries": row.tries,
        "first_tried_at": None if row.first_tried_at is None else row.first_tried_at.isoformat(),
        "written_at": row.written_at.isoformat(),
        "opened": kind is not None,
    }
    click.echo(json.dumps(document))
    return kind


def _print_table(found: list[NoticeRow], limit: int, cipher: Sealing) -> list[NoticeKind | None]:
    shown = found[:limit]
    if not shown:
        say("no notice matches.")
        return []
    kinds = [_kind(row, cipher) for row in shown]
    lines: list[tuple[Cell, ...]] = [
        (row.id, row.login_id, kind, _state(row), None if row.is_dead else row.due_at, row.tries, row.written_at)
        for row, kind in zip(shown, kinds, strict=True)
    ]
    show(_COLUMNS, lines, numbers=("tries",), yielding=_YIELDING)
    if len(found) > limit:
        sys.stdout.flush()
        say(f"there are more: --after {one_line(shown[-1].id)}")
    return kinds


def _state(row: NoticeRow) -> str:
    return "dead" if row.is_dead else "waiting"

"""The page of the demo's fleet, on a free port of loopback."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import click

from mesh_refresh.keeper import Keeper
from mesh_refresh.service import Access, Service
from mesh_refresh.service.access.tickets import TICKET_PATH
from mesh_refresh.service.web.addresses import parse_address
from mesh_refresh.service.web.listening import Listening

_LIVE_EVERY = 1.0
"""Seconds between two looks of a browser at the page: the demo is over soon."""


@asynccontextmanager
async def show_page(keeper: Keeper) -> AsyncGenerator[None]:
    """While it is entered, the page is there. Prints the address that opens it once.

    Raises `InvalidRequest` where the extra ``service`` is not installed.
    """
    service = Service(keeper, Access())
    from mesh_refresh.service.page.state import PAGE  # noqa: PLC0415 - an extra, which Service has asked for

    state = service.app[PAGE]
    state.live_every = _LIVE_EVERY
    async with Listening(service.app, parse_address("127.0.0.1:0")) as listening:
        ticket = state.doors.tickets.issue(time.monotonic())
        click.echo(
            f"The fleet in a browser, while the demo runs: http://{listening.addresses[0]}{TICKET_PATH}/{ticket}\n"
        )
        yield

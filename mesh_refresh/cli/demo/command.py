"""``mesh-refresh demo``: the command."""

import asyncio
import logging
import os
import sys
import warnings
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from mesh_refresh import MeshClient
from mesh_refresh.cli.demo.fleet import SMALLEST, build_fleet
from mesh_refresh.cli.demo.pace import FILE, KEY, STRATEGIES, Pace, choose_pace
from mesh_refresh.cli.demo.play import Play
from mesh_refresh.cli.demo.process import Worker
from mesh_refresh.cli.demo.proof import Proof, prove
from mesh_refresh.cli.demo.rows import Board
from mesh_refresh.cli.demo.views import DemoTerminal, PlainLines, View
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.keeper import Keeper
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import FakeMesh, UnusedFault

_EPILOG = """
On a terminal the demo draws a live table, without colours if NO_COLOR is set; elsewhere it prints plain lines. It exits
with 1 if a token was lost, or if a spent token was sent again.
"""


@click.command(epilog=_EPILOG, short_help="See a keeper at work: no keys, no network.")
@click.option(
    "--accounts",
    type=click.IntRange(SMALLEST, 1000),
    default=SMALLEST,
    show_default=True,
    help="Accounts in the fleet.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same tokens and delays.")
@click.option("--fast", is_flag=True, help="Shorter lifetimes, and no pauses for the eye: ten seconds.")
@click.option("--page", is_flag=True, help="Show the fleet in a browser too, while the demo runs.")
def demo(accounts: int, seed: int, *, fast: bool, page: bool) -> int:
    """Keep a fleet of logins fresh, kill the worker half-way, and prove that no token is lost.

    It takes half a minute, and needs no keys and no network. Client, keeper and store are the real ones: the store is
    an SQLite file in a temporary folder, and a fake Mesh on loopback plays the brokers.
    """
    interactive = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    view: View = DemoTerminal() if interactive else PlainLines()
    with TemporaryDirectory(prefix="mesh-refresh-demo-") as folder, _quiet(), Loop() as loop:
        try:
            proof = loop.run(run_demo(view, Path(folder), accounts, seed, fast=fast, page=page))
        except BaseExceptionGroup as group:
            raise _first(group) from None
        except KeyboardInterrupt:
            return loop.exit_code
    return Exit.REFRESHED if proof.holds else Exit.FAILED


async def run_demo(view: View, folder: Path, accounts: int, seed: int, *, fast: bool, page: bool) -> Proof:
    """Play the demo in the folder, and show it by the view."""
    pace, key = choose_pace(fast=fast), Cipher.generate_key()
    async with (
        FakeMesh(seed=seed) as fake,
        MeshClient(
            fake.client_id, fake.client_secret, base_url=fake.base_url, retry=pace.retry, strategies=STRATEGIES
        ) as mesh,
        SqliteStore.open(folder / FILE, cipher=Cipher([key])) as store,
        Keeper(mesh, store, policy=pace.policy, background=False, role="demo") as keeper,
        _page(keeper) if page else nullcontext(),
    ):
        fleet = build_fleet(fake, accounts, seed, pace)
        board = Board(fake, fleet)
        async with Worker(folder, _environment(fake, key), fast=fast) as worker:
            play = Play(fake, fleet, pace, board, keeper, worker, view.show)
            with view.live(board):
                await _in_time(play, pace)
        proof = prove(play)
        view.conclude(board, proof)
        return proof


def _page(keeper: Keeper) -> AbstractAsyncContextManager[None]:
    from mesh_refresh.cli.demo.page import show_page  # noqa: PLC0415 - what serves takes half a second to import

    return show_page(keeper)


def _environment(fake: FakeMesh, key: str) -> dict[str, str]:
    return {
        "MESH_BASE_URL": fake.base_url,
        "MESH_CLIENT_ID": fake.client_id,
        "MESH_CLIENT_SECRET": fake.client_secret,
        KEY: key,
    }


async def _in_time(play: Play, pace: Pace) -> None:
    try:
        async with asyncio.timeout(pace.limit):
            await play.run()
    except TimeoutError:
        last = play.board.scenes[-1].text if play.board.scenes else "nothing"
        raise Failure(f"The demo hangs. The last event was: {last}. Please report this line.", Exit.FAILED) from None


@contextmanager
def _quiet() -> Generator[None]:
    """Inside, nothing but a view writes to the terminal: neither logs, nor warnings of delays that no request met."""
    logger, handler = logging.getLogger("mesh_refresh"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnusedFault)
            yield
    finally:
        logger.removeHandler(handler)


def _first(error: BaseException) -> BaseException:
    """The first error, if several scenes end together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

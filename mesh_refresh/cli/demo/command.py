"""The command itself."""

import asyncio
import os
import sys
from datetime import timedelta

import click

from mesh_refresh import MeshClient, RetryPolicy
from mesh_refresh.cli.demo.fleet import SMALLEST, build
from mesh_refresh.cli.demo.play import Play
from mesh_refresh.cli.demo.proof import Proof, prove
from mesh_refresh.cli.demo.rows import Board
from mesh_refresh.cli.demo.views import Plain, Terminal, View
from mesh_refresh.cli.exits import Exit
from mesh_refresh.testing import FakeMesh

_PACE = 0.5
"""Seconds; pauses for the eye are multiples of it."""

_EPILOG = """\b
On a terminal it is a live table; else plain lines. NO_COLOR is honoured.
It exits with 1 if a token was lost, or a spent one sent again.
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--accounts",
    type=click.IntRange(SMALLEST, 2000),
    default=SMALLEST,
    show_default=True,
    help="More than the default are plain ones.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same tokens and delays.")
@click.option("--fast", is_flag=True, help="No pauses for the eye.")
def demo(accounts: int, seed: int, fast: bool) -> int:  # noqa: FBT001 - click passes by name
    """Refresh a mixed fleet at a fake Mesh on this machine, and prove that nothing is lost.

    Needs no keys and no network: the client is the real one, and speaks HTTP to a server on loopback.
    """
    interactive = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    proof = asyncio.run(_run(Terminal() if interactive else Plain(), accounts, seed, fast=fast))
    return Exit.REFRESHED if proof.holds else Exit.FAILED


async def _run(view: View, accounts: int, seed: int, *, fast: bool) -> Proof:
    async with FakeMesh(seed=seed) as fake:
        fleet = build(fake, accounts, seed, fast=fast)
        play = Play(fake, fleet, 0 if fast else _PACE)
        board = Board(fake, fleet.rows)
        retry = RetryPolicy(backoff=timedelta(milliseconds=20 if fast else 400))
        client = MeshClient(
            fake.client_id, fake.client_secret, base_url=fake.base_url, retry=retry, on_outcome=play.save
        )
        with view.live(board):
            async with client as mesh:
                await play.run(mesh)
        proof = prove(play)
        view.closing(board, proof)
        return proof

"""A worker in another process, which tells of itself several times a second: ``python -m tests.service.page.worker``.

It has a file, a key and the URL of Mesh in its environment, and ends with its standard input.
"""

import asyncio
import os
import sys
from datetime import timedelta

from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore


async def work() -> None:
    """Refresh what is due, until standard input ends."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    async with (
        MeshClient.from_env() as mesh,
        SqliteStore.open(os.environ["STORE"], cipher=Cipher([os.environ["KEY"]])) as store,
        Keeper(mesh, store, role="run", policy=Policy(report_every=timedelta(seconds=0.2))),
    ):
        await over.wait()


if __name__ == "__main__":
    asyncio.run(work())

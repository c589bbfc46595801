"""The demo's worker: a keeper in a process of its own, which knows a file, a key and where Mesh is, and nothing else.

It is started with ``python -m``. Its first line on standard output says that it is at work, each further one is an
event of its keeper, as a JSON object. It ends in order at SIGTERM, or when whoever started it has gone: its standard
input ends then.
"""

import asyncio
import json
import os
import signal
import sys

from attrs import asdict

from mesh_refresh import MeshClient
from mesh_refresh.cli.demo.pace import FILE, KEY, Pace, pace_of
from mesh_refresh.keeper import Event, Keeper
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore


def tell(event: Event) -> None:
    """One line for whoever started this process."""
    print(json.dumps({"event": type(event).__name__, **asdict(event)}, default=str), flush=True)


async def work(pace: Pace) -> None:
    """Keep the fleet in `FILE`, in the current folder, fresh."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    async with (
        MeshClient.from_env(retry=pace.retry) as mesh,
        SqliteStore.open(FILE, cipher=Cipher([os.environ[KEY]])) as store,
        Keeper(mesh, store, policy=pace.policy, on_event=tell),
    ):
        print("at work", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(work(pace_of(fast="--fast" in sys.argv)))

"""The worker of the demo: a keeper in a process of its own, which gets a file, a key and the URL of Mesh.

The demo starts it with ``python -m``. The first line on standard output says that the keeper works; each further line
is one of its events, as a JSON object. The worker stops in order at SIGTERM, or at the end of its standard input, which
comes when the demo is gone.
"""

import asyncio
import json
import os
import signal
import sys

from attrs import asdict

from mesh_refresh import MeshClient
from mesh_refresh.cli.demo.pace import FILE, KEY, STRATEGIES, Pace, choose_pace
from mesh_refresh.keeper import Event, Keeper
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore


def print_event(event: Event) -> None:
    """Write the event as one line, for the demo."""
    print(json.dumps({"event": type(event).__name__, **asdict(event)}, default=str), flush=True)


async def work(pace: Pace) -> None:
    """Refresh the logins in `FILE`, in the current folder, until SIGTERM or the end of standard input."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    async with (
        MeshClient.from_env(retry=pace.retry, strategies=STRATEGIES) as mesh,
        SqliteStore.open(FILE, cipher=Cipher([os.environ[KEY]])) as store,
        Keeper(mesh, store, policy=pace.policy, on_event=print_event, role="run"),
    ):
        print("at work", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(work(choose_pace(fast="--fast" in sys.argv)))

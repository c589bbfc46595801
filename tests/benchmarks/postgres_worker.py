"""One worker of the benchmark: ``python -m tests.benchmarks.postgres_worker URL SCHEMA BASE_URL``.

It reads its key from standard input, says ``ready``, waits for a line, refreshes what is due, and says ``done``.
"""

import asyncio
import gc
import sys

from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.postgres import PostgresStore


async def main(url: str, schema: str, base_url: str) -> None:
    cipher = Cipher([sys.stdin.readline().strip()])
    async with (
        PostgresStore.open(url, cipher=cipher, schema=schema) as store,
        MeshClient("benchmark-id", "benchmark-secret", base_url=base_url) as mesh,
        Keeper(mesh, store, policy=Policy(concurrency=25, concurrency_each=25), background=False) as keeper,
    ):
        gc.freeze()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await keeper.refresh_due()
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))

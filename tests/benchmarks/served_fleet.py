"""A service over SQLite in a process of its own: ``python -m tests.benchmarks.served_fleet CORE FOLDER``.

It prints its port and a key of a caller, and serves until its standard input ends.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from mesh_refresh.keeper import Keeper
from mesh_refresh.service import Access, AccessKey, Scope, Service
from mesh_refresh.service.web.addresses import TcpAddress, parse_address
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import FakeMesh
from tests.benchmarks.cores import pin
from tests.benchmarks.grown_fleet import name_of, some_tokens

LOGINS = 1_000


async def serve(folder: Path) -> None:
    """Serve fresh tokens of `LOGINS` logins."""
    kept, key = AccessKey.generate("bench", [Scope.TOKENS])
    cipher, now = Cipher([Cipher.generate_key()]), datetime.now(UTC)
    async with (
        FakeMesh() as fake,
        fake.client() as mesh,
        SqliteStore.open(folder / "served.db", cipher=cipher, create=True) as store,
        Keeper(mesh, store, background=False) as keeper,
    ):
        await keeper.add_many((name_of(number), some_tokens(number, now, due=False)) for number in range(LOGINS))
        service = Service(keeper, Access([kept]), page=False)
        async with Listening(service.app, parse_address("127.0.0.1:0")) as listening:
            (address,) = listening.addresses
            assert isinstance(address, TcpAddress)
            sys.stdout.write(f"{address.port} {str.__str__(key)}\n")
            sys.stdout.flush()
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            await service.stop()


if __name__ == "__main__":
    pin(int(sys.argv[1]))
    asyncio.run(serve(Path(sys.argv[2])))

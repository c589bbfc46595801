# %% before: database = sqlite3.connect("service.db")
import sqlite3
from datetime import timedelta
from mesh_refresh import MeshClient
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
cipher = Cipher([Cipher.generate_key()])
store = await SqliteStore.open("fleet.db", cipher=cipher)
mesh = MeshClient.from_env()
shown = []

# %% before: async with Keeper(mesh, store, on_notice=on_notice, background=False) as keeper:
import asyncio
from mesh_refresh.keeper import Policy, ReconnectNeeded
person = fake.login("coinbase")
policy = Policy(confirm_after=timedelta(0), min_interval=timedelta(0), poll=timedelta(milliseconds=10))
async def banner():
    for _ in range(500):
        if (await store.outbox.counts()).waiting == 0:
            break
        await asyncio.sleep(0.01)
    return database.execute("SELECT text FROM banner").fetchone()

# %% after: async with Keeper(mesh, store, on_notice=on_notice, background=False) as keeper:
async with Keeper(mesh, store, on_notice=on_notice, background=False, policy=policy) as keeper:
    person.revoke()
    try:
        await keeper.refresh("user-7")
        raise AssertionError
    except ReconnectNeeded:
        pass
    assert await banner() == ("Please connect your broker again.",)
    await keeper.add("user-7", person.again())
    assert await banner() == (None,)
database.close()
await store.aclose()
await mesh.aclose()

# %% before: mesh-refresh backup backup.db --store fleet.db
import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper, NotReadyInTime, Policy, ReconnectNeeded
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore

key = Cipher.generate_key()
mesh = MeshClient.from_env()
people = {f"user-{number}": fake.login("coinbase" if number < 2 else "tdAmeritrade") for number in range(4)}
store = await SqliteStore.open("fleet.db", cipher=Cipher([key]))
keeper = await Keeper(mesh, store, background=False).__aenter__()
for name, login in people.items():
    await keeper.add(name, login.token)

# %% shell: mesh-refresh backup backup.db --store fleet.db

# %% after: mesh-refresh backup backup.db --store fleet.db
assert Path("backup.db").stat().st_mode & 0o777 == 0o600
with closing(sqlite3.connect("backup.db")) as backup:
    assert backup.execute("SELECT count(*) FROM login").fetchone() == (4,)

# %% before: shutil.copy("backup.db", "fleet.db")
import shutil
await keeper.refresh("user-0")
await keeper.refresh("user-3")
await keeper.__aexit__(None, None, None)
await store.aclose()
for path in Path().glob("fleet.db*"):
    path.unlink()

# %% before: mesh-refresh pause --all --store fleet.db
os.environ["MESH_REFRESH_KEYS"] = key

# %% shell: mesh-refresh pause --all --store fleet.db

# %% before: for person in known_rotated:
store = await SqliteStore.open("fleet.db", cipher=Cipher([key]))
keeper = await Keeper(mesh, store, background=False, policy=Policy(confirm_after=timedelta(0), min_interval=timedelta(0))).__aenter__()
assert await keeper.tokens("user-0")
before = len(fake.requests)
try:
    await keeper.refresh("user-0")
    raise AssertionError
except NotReadyInTime:
    pass
assert len(fake.requests) == before
spared, known_rotated = [], ["user-0"]

async def ask_to_reconnect(person):
    spared.append(person)

# %% after: summary = await keeper.summary()
assert (await keeper.refresh("user-3")).access_token
try:
    await keeper.refresh("user-1")
    raise AssertionError
except NotReadyInTime:
    pass
people["user-1"].revoke()  # as good as a spent one: the fake tells a reuse apart, and there is none

# %% before: export MESH_REFRESH_STORE=fleet.db
await keeper.pause()
for broker in summary.brokers:
    await keeper.resume(broker)  # as it was before the block above

# %% shell: export MESH_REFRESH_STORE=fleet.db

# %% after: export MESH_REFRESH_STORE=fleet.db
assert set(await store.paused()) == {"coinbase"}

# %% after: await keeper.resume("coinbase")
try:
    await keeper.refresh("user-1")
    raise AssertionError
except ReconnectNeeded as error:
    assert error.reason == "refused"

# %% after: async for login in keeper.logins(state="reconnect_required"):
assert login.login_id == "user-1" and spared == ["user-0"]
assert not fake.reuses and not await store.paused()
await keeper.__aexit__(None, None, None)
await store.aclose()
await mesh.aclose()

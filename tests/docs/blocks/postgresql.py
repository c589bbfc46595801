# %% before: pip install '.[cli,postgres]'
import os, tempfile
from pathlib import Path
from tests.postgres_server import server_url
database_url = server_url(Path(tempfile.gettempdir()) / f"mesh_refresh-docs-{os.getpid()}")
os.environ["DATABASE_URL"] = database_url
from mesh_refresh.stores import Cipher
os.environ["MESH_REFRESH_KEYS"] = key = Cipher.generate_key()

# %% before: async with (
import subprocess
os.environ["MESH_REFRESH_STORE"] = database_url
subprocess.run(["mesh-refresh", "migrate"], check=True, capture_output=True)
payload = fake.login("coinbase").link_payload()

# %% after: async with (
assert fake.is_live(fresh.access_token)
async with PostgresStore.open(database_url, cipher=Cipher([key])) as store:
    assert not fake.lost([(await store.get("user-7")).account().tokens])

# %% before: mesh-refresh copy fleet.db "$DATABASE_URL" --yes
from mesh_refresh.stores.sqlite import SqliteStore
async with MeshClient.from_env() as mesh, SqliteStore.open("fleet.db", cipher=Cipher([key])) as old:
    async with Keeper(mesh, old, background=False) as keeper:
        await keeper.add("user-8", fake.login("coinbase").token)

# %% shell: mesh-refresh copy fleet.db "$DATABASE_URL" --yes

# %% after: mesh-refresh copy fleet.db "$DATABASE_URL" --yes
async with MeshClient.from_env() as mesh, PostgresStore.open(database_url, cipher=Cipher([key])) as store:
    async with Keeper(mesh, store, background=False) as keeper:
        fresh = await keeper.tokens("user-8")
assert fake.is_live(fresh.access_token)

# %% after: def shard_of(login_id: str, shards: int) -> int:
assert {shard_of(str(number), 3) for number in range(50)} == {0, 1, 2}

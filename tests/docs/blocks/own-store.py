# %% after: NOTHING = timedelta()
from pathlib import Path
Path("dict_store.py").write_text(shown)

# %% pytest: class TestDictStore(StoreConformance):

# %% before: async with MeshClient.from_env() as mesh, store, Keeper(mesh, store) as keeper:
from mesh_refresh import MeshClient, SystemClock
from mesh_refresh.keeper import Keeper
from mesh_refresh.stores import Cipher
store = DictStore(Cipher([Cipher.generate_key()]), SystemClock())

# %% after: async with MeshClient.from_env() as mesh, store, Keeper(mesh, store) as keeper:
assert (await store.get("user-7")).account().tokens == fresh

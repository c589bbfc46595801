# %% before: new = Cipher.generate_key()
from mesh_refresh import MeshClient, Tokens
from mesh_refresh.keeper import Keeper
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
old = Cipher.generate_key()
mesh = MeshClient.from_env()
async with SqliteStore.open("fleet.db", cipher=Cipher([old])) as store, Keeper(mesh, store, background=False) as keeper:
    await keeper.add("user-7", fake.login("coinbase").token)

# %% after: print({key_id: usage.get(key_id, 0) for key_id in cipher.key_ids})
assert [usage.get(key_id, 0) for key_id in cipher.key_ids] == [1, 0]

# %% after: async with SqliteStore.open("fleet.db", cipher=Cipher([new])) as store:
assert not fake.lost([login.account().tokens])
await mesh.aclose()

# %% before: cipher = Cipher.from_file("keys.txt")
# Fakes of the two services: what they answer, and no network.
import base64, sys, types
from pathlib import Path
Path("keys.txt").write_text(f"{new}\n{old}\n")
class Kms:
    def decrypt(self, *, CiphertextBlob, KeyId):
        assert KeyId == "alias/mesh-refresh", KeyId
        return {"Plaintext": CiphertextBlob.removeprefix(b"kms:")[::-1], "KeyId": KeyId}
class Transit:
    def decrypt_data(self, *, name, ciphertext):
        assert name == "mesh-refresh", name
        return {"data": {"plaintext": ciphertext.removeprefix("vault:v1:")[::-1]}}
class Vault:
    def __init__(self, *, url, token):
        self.secrets = types.SimpleNamespace(transit=Transit())
sys.modules["boto3"] = types.SimpleNamespace(client=lambda name: {"kms": Kms}[name]())
sys.modules["hvac"] = types.SimpleNamespace(Client=Vault)
wrapped = [b"kms:" + key.encode()[::-1] for key in (new, old)]
def vault_wraps(key):
    return "vault:v1:" + base64.b64encode(key.encode()).decode()[::-1]

# %% before: kms = boto3.client("kms")
assert cipher.key_ids == Cipher([new, old]).key_ids, cipher

# %% after: kms = boto3.client("kms")
assert cipher.key_ids == Cipher([new, old]).key_ids, cipher
wrapped = [vault_wraps(key) for key in (new, old)]

# %% after: vault = hvac.Client(url="https://vault.example:8200", token="...")
assert cipher.key_ids == Cipher([new, old]).key_ids, cipher

# %% before: cipher = Cipher(os.environ["MESH_REFRESH_KEYS"].split(","))
import os
from mesh_refresh.stores import Cipher
from mesh_refresh import Tokens
os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
login = fake.login("coinbase")
payload = login.link_payload()

# %% after: def save(outcome):
assert not fake.lost([refreshed.tokens])

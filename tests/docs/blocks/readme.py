# %% before: async def save(outcome):
class Database:
    def __init__(self):
        self.rows = {}

    async def load(self, person, account):
        document = self.rows.get((person, account))
        return None if document is None else Tokens.from_json(document)

    async def save(self, person, account, document):
        self.rows[person, account] = document

    async def save_body(self, person, body):
        raise AssertionError("nothing here is unreadable")

database = Database()
login = fake.login("coinbase")
refresh_token = login.token.refresh_token

# %% after: async def save(outcome):
import os
from mesh_refresh.stores import Cipher
assert fake.is_live(outcome.tokens.access_token)
stored = Tokens.from_json(database.rows["user-7", None])
assert not fake.lost([stored])
key = Cipher.generate_key()
several = fake.login("etoro", accounts=2)
payload, account_id = several.link_payload(), several.account_ids[1]

# %% after: async with (
assert fake.is_live(fresh.access_token)
store = await SqliteStore.open("fleet.db", cipher=Cipher([key]))
kept = [account.tokens for account in (await store.get("user-7")).accounts]
await store.aclose()
assert not fake.lost([stored, *kept])

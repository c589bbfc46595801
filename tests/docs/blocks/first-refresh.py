# %% before: async def secret():
from datetime import UTC, datetime, timedelta
import json

class Vault:
    async def read(self, name):
        return fake.client_secret

vault, client_id, base_url = Vault(), fake.client_id, fake.base_url
login = fake.login("coinbase", named=True)
payload = login.link_payload()
saved = {}

class Database:
    async def load(self, person, account):
        return Tokens.from_json(saved[person, account]) if (person, account) in saved else None
    async def save(self, person, account, document):
        saved[person, account] = document
    async def save_body(self, person, body):
        raise AssertionError

database = Database()

# %% after: async def secret():
await mesh.refresh(fake.login("coinbase").token)
await mesh.aclose()

# %% after: print(tokens)
assert repr(tokens).startswith("Tokens(broker=<BrokerType.COINBASE: 'coinbase'>, refresh_token='***', access_token='***', ")

# %% after: async with MeshClient.from_env(on_outcome=save) as mesh:
assert list(saved) == [("user-7", login.account_ids[0])]
kept = [Tokens.from_json(document) for document in saved.values()]
assert login.id not in {lost.login for lost in fake.lost(kept)}

# %% before: outcome = await mesh.refresh(ameritrade, create_new_refresh_token=True)
ameritrade = fake.login("tdAmeritrade").token
mesh = MeshClient.from_env(on_outcome=fake.saved)

# %% after: outcome = await mesh.refresh(ameritrade, create_new_refresh_token=True)
assert outcome.tokens.refresh_token != ameritrade.refresh_token
assert outcome.tokens.refresh_token_expires_at is not None
delayed = fake.delayed_login().token

# %% after: try:
assert not [request for request in fake.requests if request.broker == "interactiveBrokers"]
await mesh.aclose()

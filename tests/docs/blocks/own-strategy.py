# %% before: class RegionalPaxos(DefaultStrategy):
from pathlib import Path
from mesh_refresh import RefreshOptions, Tokens
tokens = fake.login("paxos").token

# %% after: class RegionalPaxos(DefaultStrategy):
Path("regional.py").write_text(shown)

# %% after: mesh = MeshClient.from_env(strategies={BrokerType.PAXOS: RegionalPaxos()})
assert fake.requests[-1].body["metadata"] == {"region": "eu"}
await mesh.aclose()

# %% after: registry = StrategyRegistry().with_strategy("brandNewBroker", DefaultStrategy(send_access_token=True))
await mesh.refresh(fake.login("paxos").token)
assert fake.requests[-1].body["metadata"] == {"region": "eu"}
await mesh.aclose()

# %% process: def make_app():

# %% after: def make_app():
import json, os
from mesh_refresh.stores import Cipher
Path("fleet.py").write_text(shown)
os.environ["MESH_REFRESH_STORE"] = "fleet.db"
os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
typed = json.dumps({"login": "user-7", "payload": fake.login("paxos").link_payload()})

# %% shell: mesh-refresh import --app fleet:make_app -

# %% after: mesh-refresh import --app fleet:make_app -
assert fake.requests[-1].body["metadata"] == {"region": "eu"}

# %% pytest: class TestRegionalPaxos(StrategyConformance):

# %% after: class Bitfinex(DefaultStrategy):
mesh = MeshClient.from_env(strategies=strategies)
only_access = Tokens("bitfinexDirect", access_token="fake-access")
assert mesh.credential(only_access) == "fake-access"
request = Bitfinex(send_access_token=True).build(only_access, RefreshOptions())
assert (request.refresh_token, request.access_token) == ("fake-access", "fake-access")
refreshed = await mesh.refresh(fake.login("bitfinexDirect", spends_access_token=True).token)
assert refreshed.tokens.refresh_token is None and fake.is_live(refreshed.tokens.access_token)
await mesh.aclose()
Path("bitfinex.py").write_text(shown)

# %% pytest: class TestBitfinex(StrategyConformance):

# %% after: class Bearer(DefaultStrategy):
mesh = MeshClient.from_env(strategies={BrokerType.PAXOS: Bearer()})
login = fake.login("paxos", accounts=2)
outcome = await mesh.refresh(login.token)
assert [it.access_token for it in outcome.all_tokens] == [f"Bearer {it.access_token}" for it in login.live]
assert outcome.onto(login.tokens[1]).access_token == outcome.all_tokens[1].access_token
await mesh.aclose()

# %% before: (tokens,) = Tokens.from_link(payload)
import json
from mesh_refresh import MeshClient, Tokens

login = fake.login("weBull")
payload, trade_token = login.link_payload(), login.trade_token
mesh = MeshClient.from_env(on_outcome=fake.saved)

# %% after: refreshed = (await mesh.refresh(tokens)).unwrap()
sent = [request.body["tradeToken"] for request in fake.requests]
assert sent == [trade_token] * 2, sent
assert not fake.lost()

# %% after: try:
assert len(fake.requests) == 2

# %% before: mesh = MeshClient.from_env(strategies={BrokerType.BITFINEX_DIRECT: DefaultStrategy(send_access_token=True)})
await mesh.aclose()

# %% after: mesh = MeshClient.from_env(strategies={BrokerType.BITFINEX_DIRECT: DefaultStrategy(send_access_token=True)})
await mesh.refresh(fake.login("bitfinexDirect").token)
assert "accessToken" in fake.requests[-1].body
await mesh.aclose()

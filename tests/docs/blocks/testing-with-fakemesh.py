# %% pytest: async def test_a_refresh_loses_nothing():

# %% pytest: pytest_plugins = ["mesh_refresh.testing.pytest_plugin"]

# %% before: plain = fake.login("coinbase", ref="user-7")
from mesh_refresh.testing import FakeMesh
fake = FakeMesh()
await fake.start()

# %% after: from mesh_refresh import OutcomeUnknown
(lost,) = fake.lost()
assert lost.login == strict.id and lost.reason.name == "UNDELIVERED"
assert [request.status for request in fake.requests if request.login == plain.id] == [429, 503, 200]

# %% pytest: async def test_no_fault_loses_a_token(name):

# %% pytest: async def test_no_split_loses_a_token():

# %% pytest: async def test_no_cut_loses_a_token(place):

# %% after: assert not [lost for lost in fake.lost() if lost.login == family.id]
assert caller.cancelled()
assert fake.exchanges["succeeded"] == 2 + 1, fake.exchanges

# %% after: held = [tokens for login in (plain, coded) for tokens in login.live]
await fake.stop()

# %% shell: curl -s $MESH_BASE_URL/sandbox/logins -d '{"broker": "coinbase", "accounts": 2}' > payload.json

# %% shell: token=$(sed 's/.*"refreshToken": "\([^"]*\)".*/\1/' payload.json)

# %% after: token=$(sed 's/.*"refreshToken": "\([^"]*\)".*/\1/' payload.json)
import json
reply = json.loads(printed)
assert reply["content"]["status"] == "succeeded", reply
new = reply["content"]["brokerAccountTokens"][0]["refreshToken"]

# %% shell: curl -s $MESH_BASE_URL/sandbox/faults

# %% after: curl -s $MESH_BASE_URL/sandbox/faults
assert '"waiting": 1' in printed and '"sentTwice": 0' in printed, printed

# %% shell: curl -s $MESH_BASE_URL/sandbox/lost -d '{"tokens": [{"refreshToken": "...", "accountId": "acc-1"}]}'

# %% after: curl -s $MESH_BASE_URL/sandbox/lost -d '{"tokens": [{"refreshToken": "...", "accountId": "acc-1"}]}'
assert printed.count("coinbase") == 2, printed

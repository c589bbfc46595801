# %% before: broker = InMemoryBroker()
import os
from mesh_refresh.stores import Cipher
os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
login = fake.login("coinbase", accounts=2)
bought = []
class broker_api:
    @staticmethod
    async def buy(token, amount):
        assert fake.is_live(token)
        bought.append(amount)

# %% after: broker = InMemoryBroker()
await broker.startup()
keeper = broker.state.keeper
from mesh_refresh import Tokens
await keeper.add("user-7", Tokens.from_link(login.link_payload()))
task = await buy.kiq("user-7", login.account_ids[1], 5)
result = await task.wait_result(timeout=30)
result.raise_for_error()
assert bought == [5]
kept = [account.tokens for account in (await keeper.login("user-7")).accounts]
await broker.shutdown()
assert not fake.lost(kept)

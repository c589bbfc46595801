# %% before: async def on_event(event):
import os
from datetime import timedelta
from mesh_refresh import MeshClient
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import Fault

cipher = Cipher([Cipher.generate_key()])
store = await SqliteStore.open("fleet.db", cipher=cipher)
mesh = MeshClient.from_env()

class Application:
    def __init__(self):
        self.did = []
    def __getattr__(self, name):
        async def do(*arguments):
            self.did.append((name, *arguments))
        return do

app = Application()

# %% after: async def on_event(event):
from mesh_refresh.keeper import NotReadyInTime, Policy, ReconnectNeeded
person = fake.login("coinbase")
fake.fail(Fault.refuse(), login=person)
async with Keeper(mesh, store, on_event=on_event, background=False, policy=Policy(confirm_after=timedelta(0), min_interval=timedelta(0))) as keeper:
    await keeper.add("user-7", person.token)
    await keeper.refresh("user-7")
    person.revoke()
    try:
        await keeper.refresh("user-7")
        raise AssertionError
    except ReconnectNeeded:
        pass
    await keeper.add("user-7", person.again())
    await keeper.refresh("user-7")
told = [did[:2] for did in app.did]
assert told == [("take_back_warnings", "user-7"), ("ask_to_reconnect", "user-7")], app.did

# %% before: async def catch_up():
from datetime import UTC, datetime
asked = []

class Notebook:
    value = datetime(2020, 1, 1, tzinfo=UTC)
    async def last_look(self):
        return self.value
    async def looked(self, moment):
        self.value = moment

notebook = Notebook()
async def ask_to_reconnect(login_id, account_id, parked_at):
    asked.append(login_id)
keeper = Keeper(mesh, store, background=False, policy=Policy(confirm_after=timedelta(0), min_interval=timedelta(0)))
await keeper.__aenter__()
person.revoke()
for _ in range(2):
    try:
        await keeper.refresh("user-7")
    except (NotReadyInTime, ReconnectNeeded):
        pass

# %% after: async def catch_up():
await catch_up()
assert asked == ["user-7"], asked
await keeper.__aexit__(None, None, None)
await store.aclose()
await mesh.aclose()

# %% after: logging.getLogger("mesh_refresh").setLevel(logging.WARNING)
logging.getLogger("mesh_refresh").setLevel(logging.NOTSET)

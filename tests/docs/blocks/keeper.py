# %% after: export MESH_REFRESH_KEYS=...
import os
os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
login = fake.login("coinbase", access_lifetime=__import__("datetime").timedelta(seconds=1))
payload = login.link_payload()

# %% after: keys = os.environ["MESH_REFRESH_KEYS"].split(",")
assert fresh.access_token

# %% before: async def main():
__name__ = "not run here"

# %% after: async def main():
import signal, subprocess, sys
from pathlib import Path
__name__ = "__main__"
Path("worker.py").write_text(shown)
command = [sys.executable, "-u", "-W", "error", "worker.py"]
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as worker:
    line = worker.stdout.readline()
    worker.send_signal(signal.SIGTERM)
    rest = worker.stdout.read()
assert line.startswith("AccountRefreshed(login_id='user-7'"), line + rest
assert worker.returncode == 0, rest
store = await SqliteStore.open("fleet.db", cipher=Cipher(keys))
assert not fake.lost([(await store.get("user-7")).account().tokens])

# %% before: async def tokens_of(person, account=None):
class Application:
    def __init__(self):
        self.did = []
    async def ask_for_account(self, person, accounts):
        self.did.append("account")
    async def ask_for_code(self, person, pending_id):
        self.did.append("code")
    async def ask_to_reconnect(self, person, message):
        self.did.append("reconnect")
    async def try_later(self, person, when):
        self.did.append("later")

app = Application()
mesh = MeshClient.from_env()
keeper = await Keeper(mesh, store, background=False).__aenter__()

# %% after: async def tokens_of(person, account=None):
from datetime import timedelta
assert await tokens_of("user-7")
coded = fake.login("vanguard", mfa=True)
gone = fake.login("coinbase")
await keeper.add("coded", coded.token)
await keeper.add("gone", fake.login("eTrade", access_lifetime=timedelta(seconds=0)).token)
await keeper.add("later", fake.delayed_login().token)
try:
    await keeper.refresh("coded")
except MfaPending:
    pass
assert await tokens_of("coded")  # the old access token is still good
for person in ("gone", "later"):
    assert await tokens_of(person) is None
assert app.did == ["reconnect", "later"], app.did

# %% after: async def portfolio(person, broker_api):
from collections import namedtuple
Answer = namedtuple("Answer", "status")
class Api:
    def __init__(self):
        self.refused = []
    async def get(self, path, token):
        if not self.refused:
            self.refused.append(token)
            return Answer(401)
        return Answer(200 if token not in self.refused else 401)

await keeper.add("user-8", fake.login("coinbase").token)
assert (await portfolio("user-8", Api())).status == 200

# %% before: async for login in keeper.logins(state="reconnect_required"):
assert await keeper.remove("user-9")

# %% before: access_tokens = (await keeper.login("user-7")).to_link()
summary = await keeper.summary()
assert summary.logins == 5 and summary.brokers["coinbase"].logins == 2, summary
assert keeper.health().ok

# %% after: access_tokens = (await keeper.login("user-7")).to_link()
assert access_tokens and all(entry["accessToken"] for entry in access_tokens), access_tokens
await keeper.__aexit__(None, None, None)
await mesh.aclose()
await store.aclose()
assert not fake.reuses and not fake.sent_twice()

# %% before: async def lifespan(app):
import os
from pathlib import Path
from mesh_refresh.stores import Cipher
os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
login = fake.login("coinbase")

# %% after: async def lifespan(app):
from starlette.testclient import TestClient
with TestClient(app) as browser:
    assert browser.get("/ready").json() == {"problems": []}
    assert browser.post("/people/user-7/connected", json=login.link_payload()).status_code == 201
    assert browser.get("/people/user-7/expiry").json()["expires_at"].startswith("20")
    assert browser.post("/people/user-8/connected", json=fake.delayed_login().link_payload()).status_code == 201
    assert browser.get("/people/user-8/expiry").status_code == 503

# %% before: KEEPER = web.AppKey("keeper", Keeper)
with TestClient(app) as browser:
    assert browser.post("/people/user-9/connected", json=fake.login("etoro").link_payload()).status_code == 201
    assert browser.get("/people/user-9/expiry").json()["expires_at"].startswith("20")
    assert browser.get("/people/user-8/expiry").status_code == 503
    assert browser.get("/people/nobody/expiry").status_code == 404
    coded = fake.login("coinbase", mfa=True).link_payload()
    del coded["accountTokens"][0]["accessToken"]  # so that it has to be refreshed before it can be answered
    assert browser.post("/people/user-v/connected", json=coded).status_code == 201
    answer = browser.get("/people/user-v/expiry")
    assert answer.status_code == 409 and answer.json()["detail"]["code_wanted"], answer.text

# %% after: KEEPER = web.AppKey("keeper", Keeper)
from aiohttp.test_utils import TestClient as Browser, TestServer
async with Browser(TestServer(app)) as browser:
    answer = await browser.get("/people/user-7/expiry")
    assert answer.status == 200 and (await answer.json())["expires_at"]

# %% before: async with Keeper(mesh, store, background=False) as keeper:
mesh = MeshClient.from_env()
store = await SqliteStore.open("fleet.db", cipher=Cipher(os.environ["MESH_REFRESH_KEYS"].split(",")))
person = "user-7"

# %% after: async with Keeper(mesh, store, background=False) as keeper:
stored = [(await store.get("user-7")).account().tokens]
assert not [lost for lost in fake.lost(stored) if lost.login == login.id]
await store.aclose()
await mesh.aclose()

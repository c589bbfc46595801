# %% before: async def lifespan(app):
import os
from pathlib import Path
from mesh_refresh.stores import Cipher
os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
login = fake.login("coinbase", named=True)

# %% after: async def lifespan(app):
from starlette.testclient import TestClient
with TestClient(app) as browser:
    assert browser.get("/ready").json() == {"problems": []}
    assert browser.post("/people/user-7/connected", json=login.link_payload()).status_code == 201
    assert browser.get("/people/user-7/expiry").json()["expires_at"].startswith("20")
    assert browser.post("/people/user-8/connected", json=fake.delayed_login().link_payload()).status_code == 201
    assert browser.get("/people/user-8/expiry").status_code == 503
    assert browser.get("/people/nobody/expiry").status_code == 404
    assert browser.post("/people/user-9/connected", content=b"nothing").status_code == 422
    several = fake.login("etoro", accounts=2)
    assert browser.post("/people/user-9/connected", json=several.link_payload()).status_code == 201
    answer = browser.get("/people/user-9/expiry")
    assert answer.status_code == 300 and sorted(answer.json()["accounts"]) == sorted(several.account_ids), answer.text
    assert browser.get(f"/people/user-9/accounts/{several.account_ids[1]}/expiry").json()["expires_at"]
    coded = fake.login("coinbase", mfa=True).link_payload()
    del coded["accountTokens"][0]["accessToken"]  # so that it has to be refreshed before it can be answered
    assert browser.post("/people/user-v/connected", json=coded).status_code == 201
    answer = browser.get("/people/user-v/expiry")
    assert answer.status_code == 409 and answer.json()["code_wanted"], answer.text

# %% after: KEEPER = web.AppKey("keeper", Keeper)
from aiohttp.test_utils import TestClient as Browser, TestServer
async with Browser(TestServer(app)) as browser:
    answer = await browser.get("/people/user-7/expiry")
    assert answer.status == 200 and (await answer.json())["expires_at"]
    answer = await browser.get("/people/user-9/expiry")
    assert answer.status == 300 and len((await answer.json())["accounts"]) == 2
    answer = await browser.get(f"/people/user-9/accounts/{several.account_ids[1]}/expiry")
    assert answer.status == 200

# %% before: async with Keeper(mesh, store, background=False) as keeper:
mesh = MeshClient.from_env()
store = await SqliteStore.open("fleet.db", cipher=Cipher(os.environ["MESH_REFRESH_KEYS"].split(",")))
person, account = "user-7", login.account_ids[0]

# %% after: async with Keeper(mesh, store, background=False) as keeper:
stored = [(await store.get("user-7")).account().tokens]
assert not [lost for lost in fake.lost(stored) if lost.login == login.id]
await store.aclose()
await mesh.aclose()

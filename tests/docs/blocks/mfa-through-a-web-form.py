# %% before: async def on_event(event):
import os
from pathlib import Path
from mesh_refresh import MeshClient
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore

os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
key = os.environ["MESH_REFRESH_KEYS"]
vanguard = fake.login("vanguard", mfa=True)
mails = []

class Mail:
    async def send(self, person, text):
        mails.append((person, text))

mail = Mail()
mesh = MeshClient.from_env()
store = await SqliteStore.open("fleet.db", cipher=Cipher([key]))

# %% after: async def on_event(event):
from datetime import timedelta
from mesh_refresh import MfaPending
async with Keeper(mesh, store, on_event=on_event, background=False) as keeper:
    await keeper.add("user-7", vanguard.token)
    try:
        await keeper.refresh("user-7")
    except MfaPending:
        pass
((_, mailed),) = mails

# %% before: async for login in keeper.logins(state="mfa_required"):
missed = Keeper(mesh, store, background=False)
keeper = await missed.__aenter__()
waiting = []

async def remind(person, pending):
    waiting.append((person, pending.id))

# %% after: async for login in keeper.logins(state="mfa_required"):
await keeper.__aexit__(None, None, None)
await store.aclose()
await mesh.aclose()
assert waiting == [("user-7", mailed.rpartition("/")[2])]

# %% after: async def lifespan(app):
import subprocess, sys
Path("web.py").write_text(shown)

def browser(*lines):
    """Another process."""
    program = ["import sys", "from starlette.testclient import TestClient", "from web import app",
        "def post(path, code=''):",
        "    answer = browser.post(path, content=code, follow_redirects=False)",
        "    print(answer.status_code, answer.headers.get('location', answer.text))",
        "with TestClient(app) as browser:", *(f"    {line}" for line in lines)]
    ran = subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(program)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()

page_mailed = mailed.partition("example.com")[2]
wrong = "000000" if vanguard.code != "000000" else "111111"
first, second, elsewhere = browser(*[f"post({page_mailed!r}, {wrong!r})"] * 2, "post('/code/user-7/another')")
assert first == second and first.startswith("422 ") and elsewhere.startswith("303 /code/user-7/"), (first, elsewhere)
page_now = elsewhere.removeprefix("303 ")
assert page_now != page_mailed
told = browser(f"post({page_mailed!r}, {vanguard.code!r})", f"post({page_now!r}, {vanguard.code!r})",
    f"post({page_now!r}, {vanguard.code!r})", "post('/code/nobody/1', '1')")
assert told == ["410 This code is not waited for any more.", "200 Thank you.",
    "410 This code is not waited for any more.", "503 We could not reach your broker. Please try again in a while."], told
store = await SqliteStore.open("fleet.db", cipher=Cipher([key]))
account = (await store.get("user-7")).account()
await store.aclose()
assert account.state == "active" and account.needs_code and not fake.lost([account.tokens])

# %% before: app = Flask(__name__)
import os, signal, subprocess, sys, threading, urllib.request
from pathlib import Path
from mesh_refresh.stores import Cipher

os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
os.environ["CELERY_BROKER"] = "filesystem://"
login, second, third = fake.login("coinbase", named=True), fake.login("etoro"), fake.login("robinhood")

def answer(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(asked, timeout=60).read())

def begun(command, ready):
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    for line in process.stdout:
        said.append(line)
        assert "Task handler raised" not in line and "raised unexpected" not in line, "".join(said)
        if ready in line:
            return process, said
    raise AssertionError("".join(said))

def ended(process, number=signal.SIGTERM):
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode in (0, -number, 128 + number), said
    assert "Traceback" not in said, said

# %% before: def connected(request, person):
Path("app.py").write_text(shown)
browser = app.test_client()
assert browser.post("/people/user-7/connected", json=login.link_payload()).status_code == 201
assert browser.get("/people/user-7/expiry").json["expires_at"].startswith("20")
assert browser.get("/people/nobody/expiry").status_code == 404
assert browser.post("/people/user-9/connected", data="nothing").status_code == 422
assert browser.post("/people/user-9/connected", json=fake.delayed_login().link_payload()).status_code == 201
assert browser.get("/people/user-9/expiry").status_code == 503
many = fake.login("coinbase", accounts=2).link_payload()
assert browser.post("/people/user-10/connected", json=many).status_code == 201
accounts = browser.get("/people/user-10/expiry").json["accounts"]
assert browser.get(f"/people/user-10/accounts/{accounts[1]}/expiry").status_code == 200

command = ["gunicorn", "--workers", "2", "--preload", "--graceful-timeout", "90", "app:app", "--bind", "127.0.0.1:0"]
server, said = begun(command, "Listening at")
url = said[-1].split("Listening at: ")[1].split()[0]
assert answer(f"{url}/people/user-7/expiry")["expires_at"].startswith("20")
answer(f"{url}/people/user-8/connected", second.link_payload())
ended(server)
keeper.close()

# %% before: def save(outcome):
Path("views.py").write_text(shown)
settings = """
import sys
from django.conf import settings
settings.configure(DEBUG=True, SECRET_KEY="not-a-secret", ROOT_URLCONF="views", ALLOWED_HOSTS=["*"])
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
Path("manage.py").write_text(settings)
sys.path.insert(0, os.getcwd())
import django, manage, views
from django.test import Client
django.setup()
browser = Client()
payload = json.dumps(third.link_payload())
assert browser.post("/people/user-11/connected", payload, content_type="application/json").status_code == 201
assert browser.get("/people/user-11/expiry").json()["expires_at"].startswith("20")
assert browser.get("/people/user-11/accounts/none/expiry").status_code == 404
assert browser.post("/people/user-12/connected", "nothing", content_type="application/json").status_code == 422
assert len(browser.get("/people/user-10/expiry").json()["accounts"]) == 2
views.keeper.close()

import socket
with socket.create_server(("127.0.0.1", 0)) as free:
    place = f"127.0.0.1:{free.getsockname()[1]}"
server, _ = begun(["manage", "runserver", place], "Quit the server")
assert answer(f"http://{place}/people/user-11/expiry")["expires_at"].startswith("20")
ended(server, signal.SIGINT)

# %% after: def save(outcome):
mesh.refresh(fake.login("etoro").token)
mesh.close()

# %% after: app = Celery("shop", broker=os.environ["CELERY_BROKER"])
Path("tasks.py").write_text(
    shown + 'app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}\n'
)
Path("queue").mkdir()
import tasks
tasks.buy.delay("user-7", login.account_ids[0], 5)
command = ["celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "INFO"]
worker, said = begun([*command, "--without-gossip", "--without-mingle", "--without-heartbeat"], "succeeded")
ended(worker)
assert Path("bought-user-7").read_text().startswith("5 until 20")

tasks.keeper.close()
sys.path.remove(os.getcwd())
with sync.Keeper(MeshClient.from_env, lambda: SqliteStore.open("fleet.db", cipher=cipher)) as kept:
    stored = [account.tokens for login in kept.logins() for account in login.accounts]
mine = {login.id, second.id, third.id}
assert not [lost for lost in fake.lost(stored) if lost.login in mine]

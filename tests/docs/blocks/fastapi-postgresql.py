# %% before: pip install '.[cli,postgres]' fastapi uvicorn
import os, tempfile
from pathlib import Path
from tests.postgres_server import server_url
os.environ["DATABASE_URL"] = server_url(Path(tempfile.gettempdir()) / f"mesh_refresh-docs-{os.getpid()}")

# %% before: mesh-refresh status
import asyncio, json, re, subprocess
import asyncpg
from mesh_refresh.stores import Cipher

schema = "mesh_refresh_fastapi"
os.environ["DATABASE_URL"] += ("&" if "?" in os.environ["DATABASE_URL"] else "?") + f"schema={schema}"
os.environ["MESH_REFRESH_STORE"] = os.environ["DATABASE_URL"]
os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
from tests.docs.test_public_names import ROOT
text = (ROOT / "docs" / "fastapi-postgresql.md").read_text()
table, export = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
people = {name: fake.login("coinbase", accounts=count) for name, count in (("ann", 1), ("bob", 2))}


async def exported():
    url = re.sub(r"[&?]schema=\w+", "", os.environ["DATABASE_URL"])
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP TABLE IF EXISTS link_payload; " + table)
        for name, login in people.items():
            await connection.execute(
                "INSERT INTO link_payload VALUES ($1, 'coinbase', $2, now())", name, json.dumps(login.link_payload())
            )
        lines = bytearray()

        async def take(data):
            lines.extend(data)

        query = re.fullmatch(r"COPY \((.*)\) TO STDOUT WITH .*", export.strip(), re.DOTALL)[1]
        await connection.copy_from_query(query, output=take, format="csv", quote="\x01", delimiter="\x02")
        await connection.execute("DROP TABLE link_payload")
        return bytes(lines)
    finally:
        await connection.close()


lines = await exported()
subprocess.run(["mesh-refresh", "migrate"], check=True, capture_output=True)
done = subprocess.run(["mesh-refresh", "import", "-", "--spread", "6h"], input=lines, capture_output=True)
assert done.returncode == 0, done.stderr

# %% after: app = FastAPI(lifespan=lifespan)
from mesh_refresh.testing import Fault
from starlette.testclient import TestClient

accounts = list(people["bob"].account_ids)
with TestClient(app) as browser:
    assert browser.get("/ready").json() == {"problems": []}
    assert browser.get("/logins/ann:coinbase/expiry").json()["expires_at"].startswith("20")
    answer = browser.get("/logins/bob:coinbase/expiry")
    assert answer.status_code == 300 and sorted(answer.json()["accounts"]) == sorted(accounts), answer.text
    assert browser.get(f"/logins/bob:coinbase/accounts/{accounts[1]}/expiry").json()["expires_at"]
    assert browser.get("/logins/bob:coinbase/accounts/none/expiry").status_code == 404
    assert browser.get("/logins/nobody/expiry").status_code == 404
    answer = browser.post("/logins/eve/connected", content=b"{}")
    assert answer.status_code == 422 and answer.json()["wrong"], answer.text
    assert browser.post("/logins/eve/connected", json=fake.delayed_login().link_payload()).status_code == 201
    assert browser.get("/logins/eve/expiry").status_code == 503
    coded = fake.login("coinbase", mfa=True)
    payload = coded.link_payload()
    del payload["accountTokens"][0]["accessToken"]  # so that it has to be refreshed before it can be answered
    assert browser.post("/logins/carl/connected", json=payload).status_code == 201
    answer = browser.get("/logins/carl/expiry")
    assert answer.status_code == 409 and answer.json()["code_wanted"], answer.text
    question = f"/logins/carl/codes/{answer.json()['code_wanted']}"
    fake.fail(Fault.all()["status 418"], login=coded)
    answer = browser.post(question, content=coded.code)
    assert answer.status_code == 503 and answer.json()["because"], answer.text
    answers = [browser.post(question, content=code) for code in ("", b"\xff", coded.code, coded.code)]
    assert [answer.status_code for answer in answers] == [422, 422, 200, 410], [answer.text for answer in answers]
    assert answers[1].json()["wrong_code"]
    assert browser.get("/logins/carl/expiry").json()["expires_at"]

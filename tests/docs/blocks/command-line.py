# %% shell: mesh-refresh demo --fast --accounts 50

# %% after: mesh-refresh demo --fast --accounts 50
import json
from pathlib import Path
import re
assert re.search(r"tokens lost +0 ", printed), printed

# %% before: mesh-refresh refresh tokens.json --output tokens.json
login = fake.login("etoro", accounts=2)
Path("payload.json").write_text(json.dumps(login.link_payload()))

# %% shell: mesh-refresh refresh tokens.json --output tokens.json

# %% after: mesh-refresh refresh tokens.json --output tokens.json
from mesh_refresh import Tokens
documents = json.loads(Path("tokens.json").read_text())
assert len(documents) == 2
assert not fake.lost(map(Tokens.from_document, documents))
assert Path("tokens.json").stat().st_mode & 0o777 == 0o600

# %% before: mesh-refresh refresh payload.json --output vanguard.json --no-prompt || test $? = 4
login = fake.login("vanguard", mfa=True)
Path("payload.json").write_text(json.dumps(login.link_payload()))

# %% shell: mesh-refresh refresh payload.json --output vanguard.json --no-prompt || test $? = 4

# %% after: mesh-refresh refresh payload.json --output vanguard.json --no-prompt || test $? = 4
typed = login.code + "\n"

# %% shell: mesh-refresh refresh vanguard.json --output vanguard.json --code-stdin

# %% after: mesh-refresh refresh vanguard.json --output vanguard.json --code-stdin
documents += json.loads(Path("vanguard.json").read_text())
assert not fake.lost(map(Tokens.from_document, documents))

# %% shell: export MESH_REFRESH_STORE=fleet.db

# %% after: export MESH_REFRESH_STORE=fleet.db
import os
assert Path("key.txt").stat().st_mode & 0o777 == 0o600
os.environ["MESH_REFRESH_STORE"] = "fleet.db"
os.environ["MESH_REFRESH_KEYS"] = Path("key.txt").read_text().strip()

# %% before: chmod 600 logins.jsonl
vanguard = fake.login("vanguard", mfa=True)
odd = fake.login("robinhood")
everyone = {"user-7": fake.login("coinbase"), "user-8": fake.login("etoro", accounts=2), "user-v": vanguard, "user-o": odd}
Path("logins.jsonl").write_text("".join(
    json.dumps({"login": name, "payload": login.link_payload()}) + "\n" for name, login in everyone.items()
))

# %% shell: chmod 600 logins.jsonl

# %% shell: mesh-refresh run --once || test $? = 4

# %% after: mesh-refresh run --once || test $? = 4
assert len(fake.requests) >= 4

# %% shell: mesh-refresh logins --state mfa_required

# %% after: mesh-refresh logins --state mfa_required
assert "Waiting for an MFA code: 1." in printed, printed
assert json.loads(printed.splitlines()[-1])["login"] == "user-7"

# %% before: mesh-refresh mfa user-v --code-stdin
typed = vanguard.code + "\n"

# %% shell: mesh-refresh mfa user-v --code-stdin

# %% shell: mesh-refresh pause coinbase etoro

# %% shell: mesh-refresh pause --all --each

# %% after: mesh-refresh pause --all --each
import subprocess
paused = json.loads(subprocess.run(["mesh-refresh", "status", "--json"], capture_output=True, check=True).stdout)["paused"]
assert "etoro" in paused and "coinbase" not in paused and "*" not in paused, paused

# %% shell: mesh-refresh resume --all --each

# %% before: mesh-refresh salvage user-x
from mesh_refresh.testing import Fault
Path("again.jsonl").write_text(json.dumps({"login": "user-x", "payload": fake.login("coinbase").link_payload()}))
fake.fail(Fault.all()["broken json"])
import subprocess
for command in ("import -q again.jsonl", "run --once -q"):
    subprocess.run(["mesh-refresh", *command.split()], capture_output=True)

# %% shell: mesh-refresh salvage user-x

# %% after: mesh-refresh salvage user-x
assert b"refreshToken" in Path("body").read_bytes()
assert Path("body").stat().st_mode & 0o777 == 0o600

# %% shell: mesh-refresh retry --broker coinbase

# %% shell: mesh-refresh remove user-x --yes

# %% shell: mesh-refresh prune --parked-before 90d

# %% shell: mesh-refresh check

# %% after: mesh-refresh check
checked = json.loads(printed.splitlines()[-1])
assert checked["ok"] and checked["logins"] and not checked["unread_logins"], printed

# %% shell: mesh-refresh backup copy-of-the-fleet.db

# %% after: mesh-refresh backup copy-of-the-fleet.db
assert Path("copy-of-the-fleet.db").stat().st_mode & 0o777 == 0o600

# %% shell: mesh-refresh copy fleet.db other.db --yes

# %% after: mesh-refresh copy fleet.db other.db --yes
assert "Moved to another store" in printed, printed

# %% shell: rm other.db

# %% after: rm other.db
assert "Moved to another store" not in printed and "coinbase" in printed, printed

# %% shell: mesh-refresh webhooks list

# %% shell: OLD=$MESH_REFRESH_KEYS

# %% before: mesh-refresh import --csv logins.csv
one = fake.login("coinbase").token
Path("logins.csv").write_text("login,broker,account_id,access_token,refresh_token,expires_at\n"
    f"user-1,coinbase,{one.account_id},{one.access_token},{one.refresh_token},2026-11-23T16:00:00+00:00\n")
Path("logins.csv").chmod(0o600)

# %% shell: mesh-refresh import --csv logins.csv

# %% before: from mesh_refresh import MeshClient, MfaRequired, Refreshed, Tokens
from pathlib import Path
login = fake.login("vanguard", mfa=True)
Path("user-7.json").write_text(login.token.to_json())

# %% process: from mesh_refresh import MeshClient, MfaRequired, Refreshed, Tokens

# %% after: from mesh_refresh import MeshClient, MfaRequired, Refreshed, Tokens
assert printed.strip(), "nobody was asked"
assert Path("user-7-pending.json").exists()
typed = login.code + "\n"

# %% process: from mesh_refresh import CodeRefused, MeshClient, MfaRequired, Refreshed, Tokens

# %% after: from mesh_refresh import CodeRefused, MeshClient, MfaRequired, Refreshed, Tokens
from mesh_refresh import Tokens
assert printed.strip().endswith("Thank you."), printed
assert not Path("user-7-pending.json").exists()
assert not fake.lost([Tokens.from_json(Path("user-7.json").read_text())])
assert [request.outcome for request in fake.requests] == ["mfaRequired", "succeeded"]

# %% before: outcome = await mesh.submit_mfa(pending, wrong_code)
from mesh_refresh import CodeRefused, MeshClient
login = fake.login("vanguard", mfa=True)
mesh = MeshClient.from_env(on_outcome=fake.saved)
pending = await mesh.refresh(login.token)
wrong_code, right_code = "000000", login.code

# %% after: outcome = await mesh.submit_mfa(pending, wrong_code)
assert outcome.unwrap() is outcome
assert not fake.lost([outcome.tokens, Tokens.from_json(Path("user-7.json").read_text())])
await mesh.aclose()

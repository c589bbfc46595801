# %% before: async def refresh(mesh, tokens):
from mesh_refresh import MeshClient
from mesh_refresh.testing import Fault

events = []

class Application:
    async def ask_to_reconnect(self, person):
        events.append(("reconnect", person))
    async def ask_for_code(self, person, pending):
        events.append(("code", person))
    async def try_later(self, person, after):
        events.append(("later", person))
    async def try_once_more(self, person):
        events.append(("once more", person))
    async def save_elsewhere(self, outcomes):
        events.append(("elsewhere", outcomes))

app = Application()
mesh = MeshClient.from_env(on_outcome=fake.saved)

# %% after: async def refresh(mesh, tokens):
async def meets(*faults, **options):
    login = fake.login("coinbase", ref="user-7", **options)
    for fault in faults:
        fake.fail(fault, login=login)
    events.clear()
    await refresh(mesh, login.token)
    return [name for name, _ in events]

assert await meets() == []
assert await meets(mfa=True) == ["code"]
assert await meets(Fault.refuse()) == ["reconnect"]
assert await meets(Fault.cut()) == ["once more"]
assert await meets(*[Fault.throttle(0)] * 3) == ["later"]
await mesh.aclose()

def broken(outcome):
    raise OSError

mesh = MeshClient.from_env(on_outcome=broken)
assert await meets() == ["elsewhere"]
await mesh.aclose()

# %% after: policy = RetryPolicy(
assert policy == RetryPolicy(), "the page shows the defaults"
await mesh.aclose()

# %% before: async def save(outcome):
await mesh.aclose()
tokens = fake.login("coinbase").token
written, stored = [], {}

async def write_to_a_file_instead(kept):
    written.extend(kept)

# %% after: async def save(outcome):
assert [it.refresh_token for it in written] != [tokens.refresh_token]
assert fake.is_live(written[0].refresh_token)

# %% before: first, second = await asyncio.gather(mesh.refresh(tokens), mesh.refresh(tokens))
import asyncio
login = fake.login("coinbase")
tokens, before = login.token, len(fake.requests)
mesh = MeshClient.from_env(on_outcome=fake.saved)

# %% after: first, second = await asyncio.gather(mesh.refresh(tokens), mesh.refresh(tokens))
assert len(fake.requests) == before + 1
await mesh.aclose()

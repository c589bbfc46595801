# %% before: def existing():
import json
import os
from datetime import UTC, datetime, timedelta
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore

os.environ["MESH_REFRESH_KEYS"] = Cipher.generate_key()
people = [fake.login("coinbase", accounts=1 + number % 2) for number in range(40)]
an_hour_ago = datetime.now(UTC) - timedelta(hours=1)

class Old:
    def rows(self):
        for number, login in enumerate(people):
            yield f"user-{number}", login.link_payload(), an_hour_ago

old_database = Old()

# %% after: def existing():
assert await move_in() == 0  # repeated, it changes nothing
store = await SqliteStore.open("fleet.db", cipher=Cipher(os.environ["MESH_REFRESH_KEYS"].split(",")))
due = [(await store.get(f"user-{number}")).accounts[0].due_at for number in range(40)]
now = datetime.now(UTC)
assert min(due) < now + timedelta(hours=2) and max(due) > now + timedelta(hours=3) and len(set(due)) == 40
assert not fake.requests
held = [account.tokens for number in range(40) for account in (await store.get(f"user-{number}")).accounts]
assert not fake.lost(held)
await store.aclose()

# %% after: def undated(old):
from mesh_refresh.stores import MemoryStore
people = [fake.login("coinbase") for _ in range(40)]
async with MeshClient.from_env() as mesh, Keeper(mesh, store := MemoryStore(), background=False) as keeper:
    assert await move_in_at_once(keeper) == 40
    due = [(await store.get(f"user-{number}")).account().due_at for number in range(40)]
    assert max(due) > now + timedelta(hours=3) and min(due) < now + timedelta(hours=2)
    assert (await keeper.tokens("user-0")).access_token
from decimal import Decimal
from mesh_refresh import InvalidRequest
row = {"broker_type": "coinbase", "access_token": "fake-a", "refresh_token": "fake-r", "expires_in_seconds": Decimal(60)}
(tokens,) = Tokens.from_link(row, obtained_at=an_hour_ago)
assert tokens.expires_at == an_hour_ago + timedelta(minutes=1) and tokens.not_before is None
for wrong in ([row], {**row, "expires_in_seconds": an_hour_ago}, {"brokerType": {"S": "coinbase"}}, tokens.to_json()):
    try:
        Tokens.from_link(wrong)
    except InvalidRequest:
        continue
    raise AssertionError(wrong)

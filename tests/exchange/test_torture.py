"""A crowd of callers with stale tokens, cancels at random steps and faults.

``nox -s torture`` runs many more seeds of the same.
"""

import asyncio
import os
import random
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import MeshRefreshError, MfaRequired, RetryPolicy, Tokens
from mesh_refresh.testing import FakeMesh, Fault, Sharing

CALLERS = 80
FAST = RetryPolicy(attempts=4, backoff=timedelta(milliseconds=2), backoff_cap=timedelta(milliseconds=5))
# None of them keeps a rotated pair for itself: whatever is lost after these, the client lost.
FAULTS = (
    Fault.throttle(),
    Fault.unavailable(0),
    Fault.status(409, {"status": "conflict"}),
    Fault.novelties(),
    Fault.wrong_types(),
    Fault.gzip(),
    Fault.delay(0.003, after_rotation=True),
    Fault.delay(0.003, after_rotation=False),
)


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Database:
    """What an application holds: by account, and every token that it ever read, for callers who are late."""

    def __init__(self, tokens: list[Tokens]) -> None:
        self.rows = {one.ref: one for one in tokens}
        self.ever = list(tokens)

    async def save(self, outcome: Any) -> None:
        await steps(2)
        own = [fresh for fresh in outcome.all_tokens if fresh.ref == outcome.before.ref]
        for fresh in own:
            self.rows[fresh.ref] = fresh
            self.ever.append(fresh)


async def one_caller(fake: FakeMesh, mesh: Any, database: Database, chance: random.Random) -> None:
    tokens = chance.choice(database.ever) if chance.random() < 0.4 else chance.choice(list(database.rows.values()))
    renew = chance.choice((None, None, None, True))
    task = asyncio.ensure_future(mesh.refresh(tokens, create_new_refresh_token=renew))
    if chance.random() < 0.4:
        await steps(chance.randrange(60))
        task.cancel()
    try:
        outcome = await task
        if isinstance(outcome, MfaRequired):
            code = next(login.code for login in fake.logins.values() if login.token.ref == tokens.ref)
            await mesh.submit_mfa(outcome, code if chance.random() < 0.7 else "000000")
    except (MeshRefreshError, asyncio.CancelledError):
        pass


@pytest.mark.parametrize("seed", range(int(os.environ.get("MESH_REFRESH_TORTURE_SEEDS", "12"))))
async def test_torture(fake: FakeMesh, seed: int) -> None:
    """Whatever callers do, no token is lost, none is sent twice at once, and no spent one is sent again."""
    chance = random.Random(seed)
    logins = [
        fake.login("coinbase", ref=f"plain-{seed}", revokes_on_reuse=True),
        fake.login("robinhood", ref="rotating", revokes_on_reuse=True),
        fake.login("kraken", ref="top", top_level=True),
        fake.login("etoro", ref="shared", sharing=Sharing.ONE_PAIR, revokes_on_reuse=True),
        fake.login("vanguard", ref="asks", mfa=True),
    ]
    database = Database([login.token for login in logins])
    for _ in range(20):
        fake.fail(chance.choice(FAULTS))
    async with fake.client(on_outcome=database.save, retry=FAST) as mesh:
        callers: list[asyncio.Future[None]] = []
        for _ in range(CALLERS):
            callers.append(asyncio.ensure_future(one_caller(fake, mesh, database, chance)))
            await steps(chance.randrange(int(os.environ.get("MESH_REFRESH_TORTURE_SEEDS", "12"))))
        await asyncio.gather(*callers)
    assert fake.lost() == []
    assert fake.sent_twice() == []
    assert fake.reuses == []

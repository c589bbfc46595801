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
from mesh_refresh.testing import Edge, EdgeFault, FakeMesh, Fault, Reach, Sharing
from mesh_refresh.transport import incoming
from tests.transport.planted_transport_bugs import dropped_what_the_parser_refuses

pytestmark = pytest.mark.filterwarnings("ignore::mesh_refresh.testing.UnusedFault")  # twenty are asked for, at random

CALLERS = 80
SEEDS = range(int(os.environ.get("MESH_REFRESH_TORTURE_SEEDS", "12")))
FAST = RetryPolicy(
    max_requests=4,
    deadline=timedelta(seconds=5),  # what an edge leaves open, only that ends
    backoff=timedelta(milliseconds=2),
    backoff_cap=timedelta(milliseconds=5),
)
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


# Behind these, everything comes whole, and with the reply: who sends a token again would be to blame.
EDGE_FAULTS = [
    fault
    for name, fault in EdgeFault.all().items()
    if fault.reach is Reach.WHOLE
    and not fault.mingles
    and not any(what in name for what in ("cut at", "reset", "while idle", "next segment", "segments of 1"))
]


@pytest.mark.parametrize("seed", SEEDS)
async def test_torture(fake: FakeMesh, seed: int) -> None:
    """Whatever callers do, no token is lost, none is sent twice at once, and no spent one is sent again."""
    await tortured(fake, seed, fake.base_url)


@pytest.mark.parametrize("seed", SEEDS)
async def test_torture_behind_an_edge(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The same, where an edge damages every other reply: nobody has a token of somebody else's either."""
    monkeypatch.setattr(incoming, "LONG_QUIET", 0.5)  # refusals in a framing of no use are waited for so long
    chance = random.Random(seed)
    faults = [fault for found in chance.sample(EDGE_FAULTS, 40) for fault in (found, EdgeFault.none())]
    async with Edge(fake, *faults) as edge:
        await tortured(fake, seed, edge.base_url)


async def test_torture_finds_what_the_edge_is_for(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that drops what its parser refuses."""
    with dropped_what_the_parser_refuses(), pytest.raises(AssertionError):
        await test_torture_behind_an_edge(fake, monkeypatch, 0)


async def tortured(fake: FakeMesh, seed: int, base_url: str) -> None:
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
    async with fake.client(base_url=base_url, on_outcome=database.save, retry=FAST) as mesh:
        callers: list[asyncio.Future[None]] = []
        for _ in range(CALLERS):
            callers.append(asyncio.ensure_future(one_caller(fake, mesh, database, chance)))
            await steps(chance.randrange(len(SEEDS)))
        await asyncio.gather(*callers)
    assert fake.lost() == []
    assert fake.misplaced() == []
    assert fake.sent_twice() == []
    assert fake.reuses == []

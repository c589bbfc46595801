"""Many logins that are due at once, behind an edge that does the same to the reply of each.

``python -m tests.keeper.runtime.fleet_behind_edges`` lets them meet every edge fault: it is a part of ``nox -s edges``.
"""

import asyncio
import logging
import sys
from collections.abc import Iterator
from datetime import timedelta

from attrs import field, frozen

from mesh_refresh import MeshClient, RetryPolicy
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.keeper.events import BreakerOpened
from mesh_refresh.logins import Account, AccountState
from mesh_refresh.testing import Edge, EdgeFault, FakeMesh, ManualClock, Reach, Relay
from tests.belonging import give_own_ids, of_others
from tests.keeper.stage import HOUR, Stage

LOGINS, CONCURRENCY, BEYOND = 60, 10, 10
_AT_ONCE = 4
_LATER = ("in the next segment", "while idle", "after the next request")
"""What comes at such a time may come when the next login has the connection already, and its request is out. Of two
different envelopes none is taken, at no time."""


@frozen
class Fleet:
    """What became of the logins."""

    fault: EdgeFault
    relays: tuple[Relay, ...]
    accounts: dict[str, Account] = field(repr=False)
    lost: frozenset[str]
    strangers: frozenset[str]
    """Logins with a token of another login's."""
    tripped: bool
    """Whether a breaker opened."""

    @property
    def wrong(self) -> Iterator[str]:
        """What must not be."""
        if self.strangers:
            yield f"{len(self.strangers)} logins have tokens of others"
        closed = {it.login for it in self.relays if it.reach in (Reach.CLOSED, Reach.GAP)}
        if missing := self.lost - closed:
            yield f"{len(missing)} pairs are lost"
        if (parked := self._parked()) and not any(when in self.fault.name for when in (*_LATER, "another login's")):
            yield f"{parked} logins are parked whose reply came whole"
        if self.harmed > CONCURRENCY + BEYOND:
            yield f"{self.harmed} logins were harmed"
        if self.harmed == self.met and not self.tripped:
            yield "no breaker opened"

    @property
    def met(self) -> int:
        """How many logins were exchanged."""
        return len({it.login for it in self.relays})

    @property
    def harmed(self) -> int:
        """How many of them were not refreshed, or are parked."""
        met = {it.login for it in self.relays}
        fresh = {login for login, it in self.accounts.items() if it.state is AccountState.ACTIVE and not it.last_error}
        return len(met - fresh)

    def _parked(self) -> int:
        whole = {it.login for it in self.relays if it.reach is Reach.WHOLE}
        return sum(it.state is AccountState.UNREADABLE for login, it in self.accounts.items() if login in whole)


async def due_at_once(fault: EdgeFault) -> Fleet:
    """Each login is exchanged once, as far as breakers let it."""
    clock = ManualClock()
    async with FakeMesh(clock=clock) as fake, Edge(fake, fault) as edge:
        stage, retry = Stage(clock, fake), RetryPolicy(deadline=timedelta(seconds=5))
        keys, policy = (fake.client_id, fake.client_secret), Policy(concurrency=CONCURRENCY)
        async with (
            MeshClient(*keys, base_url=edge.base_url, clock=clock, retry=retry) as mesh,
            Keeper(mesh, stage.store, policy=policy, on_event=stage.notes, background=False) as keeper,
        ):
            stranger = give_own_ids(fake, fake.login("coinbase", named=True))
            edge.fail(EdgeFault.none(), login=stranger)
            await mesh.refresh(stranger.token)
            names = []
            for _ in range(LOGINS):
                login = give_own_ids(fake, fake.login("coinbase", named=True))
                await keeper.add(login.id, login.token)
                names.append(login.id)
            clock.advance(HOUR)
            await keeper.refresh_due()
            await edge.idle()
            await _turns(50)  # what still comes is read
        await _turns(200)  # the edge sees that the client is gone
        accounts = {name: await stage.account(name) for name in names}
        issued = fake.ledger.tokens
        return Fleet(
            fault,
            tuple(edge.relays[1:]),
            accounts,
            frozenset(it.login for it in await stage.lost(ignoring_undelivered=True) if it.login in accounts),
            frozenset(name for name, it in accounts.items() if [*of_others(issued, name, it)]),
            bool(stage.notes.of(BreakerOpened)),
        )


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def main() -> int:
    logging.disable(logging.CRITICAL)
    faults, limit = EdgeFault.all(), asyncio.Semaphore(_AT_ONCE)

    async def behind(fault: EdgeFault) -> bool:
        async with limit:
            fleet = await due_at_once(fault)
        wrong = "; ".join(fleet.wrong)
        became = f"{fleet.met} met, {fleet.harmed} harmed{', breaker' * fleet.tripped}"
        sys.stdout.write(f"{fault.name}: {became}; {wrong or 'well'}\n")
        return bool(wrong)

    failed = sum(await asyncio.gather(*map(behind, faults.values())))
    sys.stdout.write(f"{len(faults)} faults, {LOGINS} logins each. Wrong: {failed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

"""Refreshes behind edge faults, many at once, and what of them was not as the edge's own book says it must be."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from attrs import evolve, field, frozen

from mesh_refresh import (
    AiohttpTransport,
    MeshClient,
    MeshRefreshError,
    MfaRequired,
    Refreshed,
    RetryPolicy,
    Transport,
)
from mesh_refresh.testing import Delivery, Edge, EdgeFault, FakeLogin, FakeMesh, Fault, Moment, Reach, Relay, Sharing
from mesh_refresh.testing.fake.wire import faultless
from mesh_refresh.testing.faults.edge.reach import worst
from mesh_refresh.testing.model.holdings import counted
from tests.belonging import give_own_ids

_LANES, _FEW = 16, 4
_TRICKLES = re.compile("segments of|borders")
"""What goes out in hundreds of segments: among many at once, each of them would come too late."""
_TURNS = 10
"""Turns of the event loop in which a client reads what was written to it."""
_MOST_TURNS = 20_000
_SHORT = timedelta(seconds=0.5)

CHUNKED = Fault(
    "chunks without the last one",
    Delivery.WHOLE,
    lambda answer, _: evolve(faultless(answer), chunked=True, written=len(answer.body)),
)
"""Mesh itself answers in chunks."""


def _chunked(fake: FakeMesh) -> FakeLogin:
    login = fake.login("coinbase")
    fake.fail(CHUNKED, login=login)
    return login


LOGINS: dict[str, Callable[[FakeMesh], FakeLogin]] = {
    "plain": lambda fake: fake.login("coinbase"),
    "own id": lambda fake: give_own_ids(fake, fake.login("kraken", named=True)),
    "three accounts": lambda fake: give_own_ids(fake, fake.login("robinhood", accounts=3)),
    "a pair each": lambda fake: give_own_ids(fake, fake.login("etoro", accounts=3, sharing=Sharing.PAIR_EACH)),
    "a code": lambda fake: fake.login("vanguard", mfa=True, mfa_rotates=True),
    "top level": lambda fake: fake.login("paxos", top_level=True),
    "chunked": _chunked,
}


@frozen
class Case:
    """One login's exchange behind a fault."""

    fault: EdgeFault
    login: str
    """A key of `LOGINS`."""

    @property
    def name(self) -> str:
        """What ``python -m tests.transport.edges_at_scale --replay`` takes."""
        return f"{self.fault.name} / {self.login}"

    @property
    def played(self) -> EdgeFault:
        """The fault. Where Mesh leaves out the last chunk, nothing tells which of two envelopes is the reply."""
        if self.login == "chunked" and self.fault.mingles:
            return evolve(self.fault, reach=worst(self.fault.reach, Reach.BYTES))
        return self.fault


@frozen
class Found:
    """What came of some cases."""

    wrong: tuple[str, ...] = ()
    reached: tuple[Reach, ...] = field(default=(), repr=counted)


class _Lane:
    """A client with connections of its own: it makes no request before the edge is done with the one before.

    Else what the edge writes behind a reply would come after the next request was written: a gap of its own.
    """

    def __init__(self, fake: FakeMesh, edge: Edge, transport: Transport, deadline: timedelta) -> None:
        self.fake, self.edge, self.deadline = fake, edge, deadline
        self.outcomes: list[tuple[Relay, object]] = []
        """What came of each request that the edge passed on."""
        self.late: set[int] = set()
        """Relays that the edge was at work on when the deadline passed: what it wrote then is nobody's fault."""
        retry = RetryPolicy(max_requests=1, deadline=deadline)
        self.mesh: MeshClient = fake.client(base_url=edge.base_url, transport=transport, retry=retry)

    async def run(self, cases: Iterator[Case], made: dict[str, Case]) -> None:
        async with self.mesh as mesh:
            for case in cases:
                login = LOGINS[case.login](self.fake)
                made[login.id] = case
                self.edge.fail(case.played, times=None, login=login)
                outcome = await self._tried(login, mesh.refresh(login.token))
                if isinstance(outcome, MfaRequired):
                    await self._tried(login, mesh.submit_mfa(outcome, login.code))

    async def _tried(self, login: FakeLogin, call: object) -> object:
        outcome: object
        known, began = len(self.edge.relays), time.monotonic()
        try:
            outcome = await call  # type: ignore[misc]
        except MeshRefreshError as error:
            outcome = error
        # Where an edge has closed the connection on a request, it has no relay of it.
        relays = [it for it in self.edge.relays[known:] if it.login == login.id]
        for relay in relays:
            self.outcomes.append((relay, outcome))
            if not relay.done and time.monotonic() - began >= self.deadline.total_seconds():
                self.late.add(relay.number)
            await _until_done(relay)
        return outcome


async def _until_done(relay: Relay) -> None:
    name = relay.fault.name if relay.fault is not None else ""
    waits = Moment.NEXT_REQUEST.value in name or "half-closed" in name
    for _ in range(4 * _TURNS if waits else _MOST_TURNS):
        if relay.done:
            break
        await asyncio.sleep(0)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def go_behind(
    cases: Iterable[Case],
    *,
    lanes: int = _LANES,
    deadline: timedelta = timedelta(seconds=3),
    transport: Callable[[], Transport] = AiohttpTransport,
) -> Found:
    """Let each of `cases` happen, with those that are gaps apart, so that these reach no others."""
    groups: dict[tuple[bool, bool, timedelta], list[Case]] = defaultdict(list)
    for case in cases:
        # Nothing ends the wait for what an edge keeps to itself.
        is_gone = case.fault.reach in (Reach.GONE, Reach.UNTOUCHED)
        within = _SHORT if is_gone else deadline
        groups[case.fault.reach is Reach.GAP, _TRICKLES.search(case.fault.name) is not None, within].append(case)
    found = [
        await _together(some, transport, _FEW if trickles else lanes, within)
        for (_, trickles, within), some in groups.items()
    ]
    return Found(
        tuple(wrong for it in found for wrong in it.wrong), tuple(reach for it in found for reach in it.reached)
    )


async def _together(cases: list[Case], transport: Callable[[], Transport], lanes: int, deadline: timedelta) -> Found:
    made: dict[str, Case] = {}
    async with FakeMesh() as fake, Edge(fake) as edge:
        several = [_Lane(fake, edge, transport(), deadline) for _ in range(min(lanes, len(cases)))]
        waiting = iter(cases)
        await asyncio.gather(*(lane.run(waiting, made) for lane in several))
        outcomes = [it for lane in several for it in lane.outcomes if it[0].number not in lane.late]
        wrong = [f"{made[login].name}: {what}" for login, what in _judged(fake, made, outcomes)]
        return Found(tuple(wrong), tuple(relay.reach for relay in edge.relays))


def _judged(fake: FakeMesh, made: dict[str, Case], outcomes: list[tuple[Relay, object]]) -> Iterator[tuple[str, str]]:
    """What must not be, with the id of the login."""
    reaches: dict[str, set[Reach]] = {login: {case.fault.reach} for login, case in made.items()}
    judged = {relay.login for relay, _ in outcomes}
    for relay, outcome in outcomes:
        assert relay.login is not None
        reaches[relay.login].add(relay.reach)
        if what := _shortfall(fake, relay, outcome):
            yield relay.login, f"{relay.reach.name}, {what}; {type(outcome).__name__}"
    for login in fake.lost(ignoring_undelivered=True):
        if login.login in judged and not reaches[login.login] & {Reach.GAP, Reach.CLOSED}:
            yield login.login, f"lost: {login.reason.value}"
    for item in fake.misplaced():
        if Reach.GAP not in reaches[item.kept_for]:
            yield item.kept_for, f"has a token of {item.login}"


def _shortfall(fake: FakeMesh, relay: Relay, outcome: object) -> str | None:
    if relay.reach is Reach.WHOLE and not isinstance(outcome, Refreshed | MfaRequired):
        return "and no success"
    if relay.reach in (Reach.WHOLE, Reach.BYTES, Reach.LATE) and not fake.ledger.held.issuperset(relay.new):
        return "and nobody has the tokens"
    return None

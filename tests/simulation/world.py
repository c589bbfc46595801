"""One world: a seed decides all of it, and the same seed makes the same world again, step by step."""

import asyncio
import gc
import itertools
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from aiohttp import web
from attrs import field, frozen

from mesh_refresh import Tokens
from mesh_refresh.keeper import copy_fleet
from mesh_refresh.keeper.transfer import step as carrying
from mesh_refresh.stores import StoreError
from mesh_refresh.testing import FakeLogin, FakeMesh
from mesh_refresh.testing.model.ledger import End, Issued
from tests.simulation.alarms import Alarms
from tests.simulation.choices import BROKEN_EDGES, KINDS, MIXED_FLEETS, MOVING, NOTICES, ODD_STRATEGIES, Choices, drawn
from tests.simulation.clock import Clock
from tests.simulation.edge import EdgeTransport
from tests.simulation.excuses import Excuses
from tests.simulation.finale import finale
from tests.simulation.judge import Judge, sender
from tests.simulation.loop import SERVER, Enough, Loop, Stuck
from tests.simulation.parking import Parking
from tests.simulation.people import Gone, People
from tests.simulation.process import Process
from tests.simulation.sent import Hindrances
from tests.simulation.storage import SimStore
from tests.simulation.strategies import bare
from tests.simulation.telling import Telling
from tests.simulation.weather import Weather
from tests.stores.open_memory import OpenMemory

MOST_STEPS = 3_000_000
_NOT_TOLD = (End.REVOKED, End.REUSE, End.SPENT, End.SIBLING)
"""No keeper is told what happens at the broker. An access token that is spent is answered while its exchange runs."""


@frozen
class Report:
    """What came of a world."""

    seed: int
    kind: str
    fingerprint: str
    broken: tuple[str, ...]
    """What must not happen, and did."""
    covered: Counter[str] = field(repr=False)

    @property
    def command(self) -> str:
        """What makes the same world again."""
        return f"python -m tests.simulation --replay {self.seed} --world {self.kind!r}"


class World:
    """Keepers, their store, Mesh, people and the weather."""

    def __init__(self, loop: Loop, kind: str, seed: int, folder: Path) -> None:
        self.loop, self.kind = loop, kind
        self.chance = Random(f"world {kind} {seed}")
        self.choices: Choices = drawn(kind, self.chance)
        self.folder = folder
        self.fake = FakeMesh(clock=Clock(loop), seed=seed, port=8080)
        self.machine = Clock(loop, self.chance.choice((0.0, 0.0, 37.0, -53.0)))
        self.memories = [OpenMemory(clock=self.machine) for _ in range(1 + (kind in MOVING))]
        choices = self.choices
        policy = choices.policy
        spools = [folder / f"spool-{number}" for number in range(choices.keepers)]
        hindrances = Hindrances()
        excuses = Excuses(
            loop,
            self.fake,
            choices.deadline,
            choices.deadline * 0.1,
            policy.resend_after.total_seconds(),
            spools,
            hindrances,
        )
        skew = (self.machine.now() - self.fake.clock.now()).total_seconds()
        self.judge = Judge(
            loop,
            self.fake,
            self.memories,
            excuses,
            Parking(self.fake, excuses, choices.jumps, skew),
            hindrances,
            choices.deadline,
            choices.jumps,
            policy,
            kind == ODD_STRATEGIES,
        )
        if kind == MIXED_FLEETS:
            self.judge.alarms = Alarms(self.fake, self.judge.violated, self.judge.covered)
        self.telling: Telling | None = None
        if kind == NOTICES:
            handlers = Random(f"handlers {kind} {seed}")
            violated, covered = self.judge.violated, self.judge.covered
            self.telling = Telling(loop, handlers, choices.deadline, choices.span, violated, covered)
        self.processes: list[Process] = []
        self._answers: dict[str, bytes] = {}
        self.lives: Counter[int] = Counter()
        self._names = itertools.count(1)
        self.people = People(self, Random(f"people {kind} {seed}"))
        self.weather = Weather(self, Random(f"weather {kind} {seed}"))
        loop.net.set_defaults(latency=(0.0, choices.latency))

    async def live(self) -> None:
        """From its first moment to its last."""
        self._watch_requests()
        await self.loop.start(SERVER, self.fake.start())
        for number in range(self.choices.keepers):
            self.processes.append(self.born(number))
        for _ in range(self.choices.logins):
            await self.people.join()
        people = self.people
        busy = [
            people.answer_questions(),
            people.reconnect(),
            *(people.want_tokens() for _ in range(self.choices.callers)),
        ]
        tasks = [asyncio.ensure_future(it) for it in busy]
        await self.weather.passes()
        for task in tasks[1:]:  # whoever answers questions goes on
            task.cancel()
        await finale(self)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in self.processes:
            process.leave.set()
            await process.ended.wait()
        await self.loop.start(SERVER, self.fake.stop())

    # Processes.

    def born(self, number: int) -> Process:
        """The next life of a keeper."""
        choices, life = self.choices, self.lives[number]
        self.lives[number] += 1
        name = f"keeper-{number}-{life}"
        memory = self.memories[number % len(self.memories)]
        store = self._store(memory, Random(f"store {name} {self.kind} {self.loop.seed}"))
        spool = self.judge.excuses.spools[number] if choices.spool[number] else None
        process = Process(
            name, self.loop, self.judge, store, self.machine, choices, self.new_name, spool,
            Random(f"{name} {self.loop.seed}"), self._edge(name), self.telling, self.kind == ODD_STRATEGIES,
        )  # fmt: skip
        process.begin()
        before = self.processes[number].down if number < len(self.processes) else None
        if before is not None:
            before.end = self.loop.now
        return process

    def _store(self, memory: OpenMemory, chance: Random) -> SimStore:
        return SimStore(memory, chance, self.choices.latency, self.judge, self.telling)

    def _edge(self, name: str) -> EdgeTransport | None:
        if self.kind != BROKEN_EDGES:
            return None
        chance = Random(f"edge {name} {self.loop.seed}")
        return EdgeTransport(self.judge, chance, self._answers, lambda: self.loop.now < self.choices.span)

    def new_name(self) -> str:
        return f"name-{next(self._names)}"

    async def some_process(self, login: FakeLogin | None = None, *, moved: bool = False) -> Process:
        """One that works, on the store in which the login is at home; waited for where there is none.

        `moved`: on any store that has it.
        """
        while True:
            kept = None if login is None else self.judge.kept(login.id)
            usable = [it for it in self.processes if it.usable]
            if kept is not None:
                assert login is not None
                having = [it for it in usable if it.store.memory.kept(login.id)]
                usable = having if moved else [it for it in having if it.store.memory.kept(login.id) is kept]
            if usable:
                return self.chance.choice(usable)
            await asyncio.sleep(self.choices.deadline / 4)

    async def within(self, process: Process, call: Coroutine[Any, Any, Any]) -> Any:
        """What `call` gives in that process. Raises `Gone` where it dies."""
        task = process.call(call)
        death = asyncio.ensure_future(process.ended.wait())
        await asyncio.wait((task, death), return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if not task.done():
            raise Gone
        return task.result()

    async def copy(self, source: OpenMemory, target: OpenMemory, *, wait: bool = False) -> None:
        """Move the fleet, as `mesh-refresh copy` does."""
        one, other = (self._store(it, self.chance) for it in (source, target))
        with suppress(StoreError):
            await copy_fleet(one, other, policy=self.choices.policy, wait=wait, clock=self.machine)

    def look_at_neighbours(self) -> None:
        """None of those that are still due has been so for long."""
        for login in self.people.members.values():
            kept = self.judge.kept(login.id)
            if kept is not None:
                self.judge.pace.kept_back(login, kept.row, self.machine.now())

    # What is seen.

    def _believed(self, found: Tokens, record: Issued) -> bool:
        """Whether they are good, for all that the keeper was told: an application may add a login late."""
        now, skew = self.fake.clock.now(), self.machine.now() - self.fake.clock.now()
        told_late = timedelta() if found.obtained_at is None else found.obtained_at - skew - record.issued_at
        then = now - max(timedelta(), told_late)
        is_told_later = record.end is End.REPLACED and bool(self.judge.excuses.changing.get(record.login))
        ends_at = self.fake.logins[record.login].access_ends(record)
        if record.end is not None and not is_told_later and record.end not in _NOT_TOLD:
            return False
        return ends_at is None or then < ends_at

    def was_answered(self, login: FakeLogin, found: Tokens) -> None:
        """A caller was given tokens: they must be good, as long as clocks tell the time."""
        found = bare(found)
        record = self.fake.ledger.tokens.get(found.auth_token or "")
        if record is None:
            self.judge.violated(f"a caller of {login.id} was given no access token")
        elif found.token_id is not None and found.refresh_token is None:
            self.judge.covered["managed tokens answered"] += 1  # Mesh renews them, whatever end they were told with
        elif not self.choices.jumps and record.value not in self.judge.misled and not self._believed(found, record):
            self.judge.violated(f"a caller of {login.id} was given an access token that has run out")

    def _watch_requests(self) -> None:
        route = self.fake.server.routes[0]
        inner: Any = route.handler

        async def watched(http: web.Request) -> web.StreamResponse:
            body = await http.read()
            sent = self.judge.arrived(sender(http), json.loads(body).get("refreshToken"))
            number = len(self.fake.requests)
            try:
                answer: web.StreamResponse = await inner(http)
            finally:
                if sent is not None:
                    self.judge.ended(sent, self.fake.requests[number])
            self.weather.answered(self.fake.requests[number], answer)
            return answer

        self.fake.server.routes[0] = web.post(route.path, watched)


class _Names:
    """In the place of tempfile's random names, which no seed decides."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return f"{next(self._numbers):08d}"


@contextmanager
def _replayable(seed: int) -> Iterator[None]:
    """Nothing outside the seed decides anything: no file names, no jitter, no moment at which garbage is collected."""
    hook, disabled = sys.unraisablehook, logging.root.manager.disable
    state = random.getstate()
    gc.collect()
    gc.disable()
    try:
        random.seed(seed)
        sys.unraisablehook = lambda _: None  # the dead are collected without a loop
        logging.disable(logging.CRITICAL)
        with patch.object(tempfile, "_name_sequence", _Names()):
            yield
    finally:
        gc.collect()
        gc.enable()
        sys.unraisablehook = hook
        logging.disable(disabled)
        random.setstate(state)


def run(seed: int, kind: str | None = None, until: str | None = None) -> Report:
    """Make a world, and see what becomes of it. It ends early with a violation that is told by the words of `until`."""
    kind = kind or KINDS[seed % len(KINDS)]
    with tempfile.TemporaryDirectory(dir=_fast()) as folder, _replayable(seed):
        loop = Loop(seed, MOST_STEPS)
        world = World(loop, kind, seed, Path(folder))
        judge = world.judge
        judge.until = until
        try:
            with patch.object(carrying, "new_id", world.new_name):
                loop.run_until_complete(world.live())
        except Enough:
            pass
        except Stuck as error:
            judge.violated(f"stuck: {error}")
        except Exception as error:  # noqa: BLE001 - a bug of the simulation itself must name its seed too
            judge.violated(f"the world ended with {type(error).__name__}: {error}")
        for complaint in loop.complaints:
            judge.violated(f"nobody handled: {complaint}")
        requests = [(it.host, it.arrived, it.ended) for it in judge.sent]
        judge.covered["worlds"] += 1
        judge.covered["steps"] += loop.steps
        report = Report(seed, kind, loop.fingerprint(requests), tuple(judge.broken), judge.covered)
        loop.finish()
        del world, judge, loop
    return report


def _fast() -> str | None:
    """Where files cost no disk."""
    memory = Path("/dev", "shm")
    return str(memory) if memory.is_dir() else None

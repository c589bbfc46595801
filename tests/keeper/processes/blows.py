"""What happens to the keepers in a chaos run: one blow after the other, each picked by chance."""

import asyncio
import random
import signal
from pathlib import Path

from attrs import define, field

from mesh_refresh.testing import FakeMesh, Fault
from tests.keeper.processes.chaos_book import ChaosBook
from tests.keeper.processes.handle import Worker
from tests.keeper.processes.postgres import Mode, Proxy, Server
from tests.keeper.processes.traps import Trap

LONGEST_CUT = 4.0
"""Seconds that a worker is cut off from the server at the most."""


@define(eq=False)
class Seat:
    """Where one process after the other works, with the same spool."""

    where: str
    spool: Path
    worker: Worker | None = None
    trap: Trap | None = None
    killed: str | None = None
    """When, where it was done from outside."""

    @property
    def works(self) -> bool:
        worker = self.worker
        if worker is None or self.killed is not None or worker.process.returncode is not None:
            return False
        return bool(worker.of("started"))

    def kill(self, when: str) -> bool:
        """False where there is nobody to be killed."""
        if self.worker is None or self.worker.process.returncode is not None or self.killed is not None:
            return False
        self.killed = when
        self.worker.signal(signal.SIGKILL)
        return True


@define(eq=False)
class Blows:
    """They are counted in the book."""

    fake: FakeMesh
    server: Server
    proxy: Proxy
    random: random.Random
    book: ChaosBook
    seats: list[Seat]
    kills: int = 0
    """From outside."""
    _beside: "set[asyncio.Task[None]]" = field(factory=set)

    async def next(self) -> None:
        """The next one."""
        kinds = [self._kill, self._end_backends, self._late, self._cut_requests, self._cut_off]
        await self.random.choices(kinds, [4, 3, 3, 2, 2])[0]()

    async def restart(self, mode: Mode) -> None:
        """The server."""
        await self.server.restart(mode)
        self.book.done[f"server restarted, {mode}"] += 1

    async def one_kill(self) -> bool:
        """However slow the machine is."""
        if not self.kills:
            await self._kill()
        return self.kills > 0

    def over(self) -> None:
        """Nobody is cut off any more."""
        for task in self._beside:
            task.cancel()
        self.proxy.go_on()

    async def _kill(self) -> None:
        self.kills += self.random.choice(self.seats).kill("at any time")

    async def _end_backends(self) -> None:
        number = await self.server.end_backends(self.random.randint(1, 8), str(self.random.random()))
        self.book.done["connections ended by the server"] += number

    async def _late(self) -> None:
        fault = Fault.delay(self.random.uniform(0.05, 0.4), after_rotation=self.random.random() < 0.7)
        self._insert(fault, self.random.randint(1, 8), None, "replies late")

    async def _cut_requests(self) -> None:
        """Before anything was done; after a rotation only where the broker gives the pair again: else it is lost."""
        if self.random.random() < 0.5:
            self._insert(Fault.cut(after_rotation=True), 2, "kraken", "requests cut after the rotation")
        else:
            self._insert(Fault.cut(), self.random.randint(1, 5), None, "requests cut before it")

    def _insert(self, fault: Fault, times: int, broker: str | None, what: str) -> None:
        """In front of the delays, which would meet every request before it."""
        self.fake.fail(fault, times=times, broker=broker)
        rules = self.fake.faults.rules
        rules.insert(0, rules.pop())
        self.book.done[what] += times

    async def _cut_off(self) -> None:
        """The first worker, and it alone."""
        if not self.proxy.is_cut:
            self.book.done["a keeper cut off from the server"] += 1
            self.proxy.cut()
            task = asyncio.create_task(self._go_on(self.random.uniform(0.5, LONGEST_CUT), self.random.random() < 0.4))
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)

    async def _go_on(self, after: float, killed: bool) -> None:
        await asyncio.sleep(after)  # the length of the outage
        if killed:
            # What it could not write is in its spool, and it is for the next one there.
            self.seats[0].kill("cut off")
        self.proxy.go_on()

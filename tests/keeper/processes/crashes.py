"""Kills a keeper process again and again: ``python -m tests.keeper.processes.crashes --kills 200 --seed 1``.

The fake Mesh is in this process and the keeper in another. The next keeper has been started when one is killed, and
begins at once. Some kills come at any time, some at a point that was picked: right after the broker has rotated and
before it has replied, right after the reply has gone out, in the middle of a commit, and so on.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from pathlib import Path

from attrs import define

from mesh_refresh.keeper import AccountState
from mesh_refresh.testing import FakeLogin, Fault
from tests.keeper.processes.book import Book
from tests.keeper.processes.fleet import fleet, with_codes
from tests.keeper.processes.handle import Worker
from tests.keeper.processes.scene import Scene, open_scene, until
from tests.keeper.processes.traps import Point, Trap

POINTS: tuple[Point, ...] = ("claimed", "connected", "bytes", "reply", "settle", "commit", "committed")
KINDS = ("at any time",) * 6 + ("rotated", "replied", "SIGTERM") + POINTS
POLICY = {"lease": 3.0, "resend_after": 0.5, "confirm_after": 0.5, "min_interval": 0.3, "concurrency": 20}
DEADLINE = 2.5


@define
class Run:
    """One life after the other, over one file."""

    scene: Scene
    random: random.Random
    logins: dict[str, FakeLogin]
    codes: list[FakeLogin]
    book: Book

    async def lives(self, kills: int) -> None:
        following = await self._next("at any time")
        kind = "at any time"
        while sum(self.book.kinds.values()) - self.book.drained < kills:
            worker = await following.go()
            after = self.random.choice(KINDS)
            starting = asyncio.create_task(self._next(after))
            await self._answer_codes(worker)
            await self._end(worker, kind)
            await self._person_returns()
            following, kind = await starting, after
        await self._quiet(await following.go())

    async def _next(self, kind: str) -> Worker:
        """A process that waits for its turn, with its trap set."""
        trap = None
        if kind in POINTS:
            delay = self.random.uniform(0, 0.002) if kind == "commit" else 0.0
            trap = Trap(kind, after=self.random.randint(1, 4 if kind == "claimed" else 25), delay=delay)
        return await self.scene.worker(go=False, events=False, trap=trap)

    async def _end(self, worker: Worker, kind: str) -> None:
        fake = self.scene.fake
        if kind in POINTS:
            await worker.over()
        elif kind in ("rotated", "replied"):
            await asyncio.sleep(self.random.uniform(0, 0.3))
            gate = fake.hold(after_rotation=True)
            # In front of the delays, which would meet every request before it.
            fake.faults.rules.insert(0, fake.faults.rules.pop())
            await gate.entered.wait()
            if kind == "replied":
                gate.release()
                await asyncio.sleep(self.random.uniform(0, 0.003))
            worker.signal(signal.SIGKILL)
            gate.release()
            await worker.over()
        else:
            await asyncio.sleep(self.random.uniform(0.05, 1.0))
            worker.signal(signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
            await worker.over()
        await fake.idle()
        self.book.ended(worker, kind)

    async def _answer_codes(self, worker: Worker) -> None:
        """Codes are out when the kill comes, now and then: nobody waits for what comes of them."""
        for login in self.codes:
            account = await self.scene.account(login)
            pending = account.pending
            if account.state is AccountState.MFA_REQUIRED and pending is not None:
                do = "restart" if pending.answered else "code"
                await worker.order(do, login=login.id, code=login.code)
            elif account.state is AccountState.ACTIVE:
                await worker.order("refresh", login=login.id)

    async def _person_returns(self) -> None:
        """Whoever must log in again does so; what had become of the account is looked at first."""
        parked: dict[str, FakeLogin] = {}
        for login_id, account in await self.scene.accounts():
            if account.state is AccountState.RECONNECT_REQUIRED:
                self.book.check_parked(login_id, account)
                parked[login_id] = self.logins[login_id]
        for login in parked.values():
            login.again()
        self.book.reconnected += len(parked)
        await self.scene.add(parked.values())

    async def _quiet(self, worker: Worker) -> None:
        """No more kills: everything is fresh again, or says why it cannot be."""
        self.scene.fake.heal()
        await until(self._unsettled, lambda left: not left)
        for login in self.codes:
            await self._at_rest(worker, login)
        assert await worker.end() == 0
        await self.scene.fake.idle()
        self.book.ended(worker, "SIGTERM")
        held = []
        parked = set()
        for login_id, account in await self.scene.accounts():
            held.append(account.tokens)
            if account.state is AccountState.RECONNECT_REQUIRED:
                self.book.check_parked(login_id, account)
                parked.add(login_id)
        self.book.reconnected += len(parked)
        lost = {item.login for item in self.scene.fake.lost(held)}
        assert lost <= parked, f"lost without a word: {sorted(lost - parked)}"
        assert {login_id for login_id, _ in await self.scene.accounts()} == set(self.logins), "a login is forgotten"
        assert self.book.cut.total() <= self.book.in_flight + self.book.too_late
        self.book.check_requests(frozenset(login.id for login in self.codes))

    async def _at_rest(self, worker: Worker, login: FakeLogin) -> None:
        """A login that asks for codes has no loop to look after it: the person goes on until it is fresh, or parked."""
        for _ in range(10):
            account = await self.scene.account(login)
            pending = account.pending
            if account.state is AccountState.RECONNECT_REQUIRED:
                return
            if account.state is AccountState.ACTIVE and account.unknown_since is None:
                return
            answered = pending is None or pending.answered
            do = "refresh" if account.state is AccountState.ACTIVE else "restart" if answered else "code"
            await worker.ask(do, login=login.id, code=login.code)
        raise AssertionError(f"{login.id} comes to no rest")

    async def _unsettled(self) -> list[str]:
        """Logins that are neither parked nor fresh: under the lease of a process that is dead, say."""
        return [
            login_id
            for login_id, account in await self.scene.accounts()
            if account.state is AccountState.ACTIVE
            and not account.needs_code
            and not (account.unknown_since is None and self.scene.fake.is_live(account.tokens.refresh_token))
        ]


async def run(folder: Path, *, kills: int, seed: int) -> Book:
    """The book of a run with so many kills; raises `AssertionError` where anything is lost without a word."""
    async with open_scene(folder, lifetime=4, policy=POLICY, deadline=DEADLINE) as scene:
        logins, codes = fleet(scene.fake), with_codes(scene.fake)
        # Without these the time between a rotation and its reply is too short to be hit.
        scene.fake.fail(Fault.delay(0.02, after_rotation=True), broker="coinbase", times=None)
        scene.fake.fail(Fault.delay(0.02), broker="robinhood", times=None)
        await scene.add([*logins, *codes])
        book = Book(scene.fake)
        by_id = {login.id: login for login in (*logins, *codes)}
        await Run(scene, random.Random(seed), by_id, codes, book).lives(kills)
        return book


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        book = asyncio.run(run(Path(folder), kills=asked.kills, seed=asked.seed))
    sys.stdout.write(f"seed {asked.seed}\n{book.figures()}\nlost without a stated reason 0\n")


if __name__ == "__main__":
    main()

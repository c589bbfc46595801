"""Four keeper processes on one PostgreSQL, to which everything happens at once.

``python -m tests.keeper.processes.chaos --seconds 180 --seed 1``: they are killed, also at points that were picked,
and started again; their connections are ended from within the server, which is restarted twice, once as in a crash;
one of them is cut off from it now and then; the fake Mesh is late, and cuts connections.
"""

import argparse
import asyncio
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field

from mesh_refresh.keeper import Account, AccountState
from mesh_refresh.stores import StoreUnavailable
from mesh_refresh.testing import FakeLogin, Fault
from tests.keeper.processes.blows import Blows, Seat
from tests.keeper.processes.chaos_book import ChaosBook
from tests.keeper.processes.fleet import fleet
from tests.keeper.processes.handle import Worker
from tests.keeper.processes.postgres import Mode, Proxy, Server, new_schema, own_server
from tests.keeper.processes.scene import Scene, open_scene, until
from tests.keeper.processes.traps import Point, Trap
from tests.keeper.processes.watched import WatchedMesh
from tests.stores.postgres.postgres_handles import OpenPostgres

KEEPERS = 4
POINTS: tuple[Point, ...] = ("claimed", "connected", "bytes", "reply", "settle", "committed")
LIFETIME = 5
POLICY: dict[str, Any] = {
    "lease": 2.3,
    "resend_after": 5.0,
    "confirm_after": 5.0,
    "poll": 0.2,
    "min_interval": 0.3,
    "concurrency": 15,
    "backoff": 1.0,
    "backoff_cap": 10.0,
}
"""Outages may last longer than a lease, but never as long as that and the settling time together. What was cut several
times in a row must be tried again while it is waited for."""
DEADLINE = 2.0
STORE_PATIENCE = 1.0
PATIENCE = 60.0
_LEASED = """SELECT login_id FROM "{schema}".login WHERE owner IS NOT NULL"""


@define(eq=False)
class Chaos:
    scene: Scene
    fake: WatchedMesh
    blows: Blows
    random: random.Random
    logins: dict[str, FakeLogin]
    book: ChaosBook
    seats: list[Seat]
    calm: bool = False
    """No more traps."""
    ending: bool = False
    """Who ends is not followed by another."""
    _returning: dict[str, FakeLogin] = field(factory=dict)

    async def run(self, seconds: float) -> None:
        """So long a time of chaos, and then the quiet in which it is proved what became of it."""
        lives = [asyncio.create_task(self._lives(seat)) for seat in self.seats]
        work = asyncio.create_task(self._story(seconds))
        try:
            await asyncio.wait((work, *lives), return_when=asyncio.FIRST_COMPLETED)
            for life in lives:
                if life.done() and not self.ending:
                    life.result()
            await work
            await asyncio.gather(*lives)
        finally:
            for task in (work, *lives):
                task.cancel()
        accounts = await self.scene.accounts()
        self.book.check(accounts, list(self.logins.values()), [seat.spool for seat in self.seats])
        self._check_notices(accounts)

    def _check_notices(self, accounts: list[tuple[str, Account]]) -> None:
        """The last that was told of an account is true, whichever process was told it."""
        told = [note for worker in self.scene.workers for note in worker.of("notice")]
        told = [note for note in told if note["what"] != "account_joined"]
        for login_id, account in accounts:
            name = account.tokens.account_id or account.tokens.mesh_account_id
            mine = [note for note in told if (note["login"], note["account"]) == (login_id, name)]
            last = max(mine, key=lambda note: int(note["sequence"]), default={"what": ""})["what"]
            assert account.announced in ("", last), (login_id, account.state, last)
            assert account.announced or last in ("", "recovered", "mfa_done"), (login_id, last)
        self.book.done["notices told"] += len({note["id"] for note in told})

    async def _story(self, seconds: float) -> None:
        await self._chaos(time.monotonic(), seconds)
        await self._quiet()
        self.ending = True
        for seat in self.seats:
            assert seat.worker is not None
            seat.worker.signal(signal.SIGTERM)

    # The processes.

    async def _lives(self, seat: Seat) -> None:
        """One process after the other."""
        before: tuple[Worker, str] | None = None
        while not self.ending:
            trap = self._trap()
            worker = await self.scene.worker(
                go=False, where=seat.where, spool=seat.spool, events=False, notices=True, trap=trap, busy=STORE_PATIENCE
            )
            if before is not None:
                # By now, all that it has sent was read by the fake.
                self.book.ended(*before)
                before = None
            if self.calm and trap is not None:
                await worker.kill()
                continue
            seat.worker, seat.trap, seat.killed = worker, trap, None
            await worker.begin()
            code = await worker.over(None)
            trapped = worker.of("trap")
            assert code == -signal.SIGKILL or (self.ending and code == 0), (code, worker.notes[-5:])
            await until(partial(self.fake.all_done, worker.name))
            before = worker, "SIGTERM" if code == 0 else trapped[0]["point"] if trapped else seat.killed or "?"
        if before is not None:
            self.book.ended(*before)

    def _trap(self) -> Trap | None:
        if self.calm or self.random.random() < 0.5:
            return None
        point = self.random.choice(POINTS)
        return Trap(point, after=self.random.randint(2, 12 if point == "claimed" else 60))

    # What happens to them.

    async def _chaos(self, begin: float, seconds: float) -> None:
        restarts: list[tuple[float, Mode]] = [(begin + seconds / 3, "immediate"), (begin + seconds * 2 / 3, "fast")]
        while time.monotonic() < begin + seconds:
            await asyncio.sleep(self.random.uniform(0.1, 0.6))  # the pace of the chaos: nothing is waited for
            if restarts and time.monotonic() >= restarts[0][0]:
                await self.blows.restart(restarts.pop(0)[1])
            await self.blows.next()
            await self._people_return()
            if self.random.random() < 0.5:
                self._log_in_anew()
        for _, mode in restarts:
            await self.blows.restart(mode)
        await until(self.blows.one_kill)

    def _log_in_anew(self) -> None:
        """People who have no need to, in the middle of an exchange: they come into the store with those who have."""
        for request in [it for it in self.fake.requests[-40:] if not it.done][:3]:
            login = self.logins[request.login or ""]
            if login.id not in self._returning:
                login.again()
                self._returning[login.id] = login
                self.book.done["logins made anew in an exchange"] += 1

    async def _people_return(self) -> None:
        """Whoever must log in again does so; what had become of the account is looked at first."""
        try:
            found = await self.scene.accounts()
        except StoreUnavailable:
            return
        parked: dict[str, list[Account]] = {}
        for login_id, account in found:
            if account.state is AccountState.RECONNECT_REQUIRED and login_id not in self._returning:
                parked.setdefault(login_id, []).append(account)
        for seat in self.seats if parked else ():
            if seat.worker is not None:
                self.book.gave_up(seat.worker)
        for login_id, accounts in parked.items():
            self.book.found_parked(login_id, accounts)
            self.logins[login_id].again()
            self._returning[login_id] = self.logins[login_id]
        if self._returning:
            try:
                await self.scene.add(self._returning.values())
            except StoreUnavailable:
                return  # they come again
            self._returning.clear()

    # What became of it.

    async def _quiet(self) -> None:
        """Nothing more happens: every login is fresh again, or says why it cannot be."""
        self.fake.heal()
        self.blows.over()
        await until(self._people_return, lambda _: not self._returning)
        self.calm = True
        for seat in self.seats:  # the last blow: no trap must be left
            if seat.trap is not None:
                seat.kill("at the end")
        await until(lambda: all(seat.works for seat in self.seats), patience=PATIENCE)
        begin = len(self.fake.requests)
        left = await self._unsettled()

        async def look() -> set[str]:
            now = await self._unsettled()
            sent = Counter(request.login or "" for request in self.fake.requests[begin:])
            for login_id in left - now:
                self.book.rounds[login_id] = sent[login_id]
            left.intersection_update(now)
            return left

        async def waiting() -> int:
            outbox = self.scene.store.outbox
            assert outbox is not None
            return (await outbox.counts()).waiting

        try:
            await until(look, lambda left: not left, PATIENCE)
            await until(waiting, lambda left: not left, PATIENCE)
        except AssertionError:
            self.book.check_exchanges()  # the cause is a better message
            raise

    async def _unsettled(self) -> set[str]:
        """Neither fresh nor parked; or leased: by a process that was killed, or for a reply that may be withheld."""
        live, store = self.fake.is_live, self.scene.store
        assert isinstance(store, OpenPostgres)
        found = await store.verbs.write(None, partial(_fetched, _LEASED.format(schema=store.schema)))
        return {login_id for (login_id,) in found} | {
            login_id
            for login_id, account in await self.scene.accounts()
            if account.state is AccountState.ACTIVE
            and not (account.unknown_since is None and live(account.tokens.refresh_token))
        }


async def _fetched(sql: str, connection: Any) -> Any:
    return await connection.fetch(sql)


async def run(folder: Path, *, seconds: float, seed: int) -> ChaosBook:
    """The book of so many seconds; raises `AssertionError` where anything is not as it was promised."""
    with own_server() as server:
        return await _run(server, folder, seconds, seed)


async def _run(server: Server, folder: Path, seconds: float, seed: int) -> ChaosBook:
    chance, schema = random.Random(seed), new_schema()
    mesh = WatchedMesh(seed=seed, lifetime=LIFETIME)
    async with (
        Proxy(server.port) as proxy,
        open_scene(folder, where=server.url(schema), mesh=mesh, policy=POLICY, deadline=DEADLINE) as scene,
    ):
        logins = {login.id: login for login in fleet(mesh)}
        await scene.add(logins.values())
        # Without these the time between a rotation and its reply is too short to be hit.
        mesh.fail(Fault.delay(0.02, after_rotation=True), broker="coinbase", times=None)
        ways = [server.tcp_url(schema, proxy.port), server.tcp_url(schema), server.url(schema), server.url(schema)]
        seats = [Seat(way, folder / f"spool {number}") for number, way in enumerate(ways)]
        book = ChaosBook(mesh, traffic=mesh.watched)
        blows = Blows(mesh, server, proxy, chance, book, seats)
        await Chaos(scene, mesh, blows, chance, logins, book, seats).run(seconds)
        return book


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.getLogger("mesh_refresh").addHandler(logging.NullHandler())  # this process has a store too, which complains
    with tempfile.TemporaryDirectory() as folder:
        book = asyncio.run(run(Path(folder), seconds=asked.seconds, seed=asked.seed))
    sys.stdout.write(f"seed {asked.seed}, {asked.seconds:g} s, {KEEPERS} keepers\n{book.figures()}\n")


if __name__ == "__main__":
    main()

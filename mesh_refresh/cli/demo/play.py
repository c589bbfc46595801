"""What happens, scene by scene. What the demo knows, it knows from the store, from events and from the fake Mesh."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from attrs import define, field

from mesh_refresh import Tokens
from mesh_refresh.cli.demo.fleet import DemoFleet, Member
from mesh_refresh.cli.demo.pace import Pace
from mesh_refresh.cli.demo.process import Worker
from mesh_refresh.cli.demo.rows import Board, Mood, Scene
from mesh_refresh.keeper import Keeper, NotReadyInTime
from mesh_refresh.testing import FakeMesh, Fault, Gate

_LOOK = 0.05
"""Seconds between two looks at something that is waited for."""
_AT_ONCE = 3
"""Requests that are throttled together, or more."""
_OUT = 4
"""Requests that are out when the worker is killed, or more."""


def requests(number: int) -> str:
    """So many, in words."""
    return f"{number} request{'' if number == 1 else 's'}"


@define(eq=False)
class Play:
    """One run. `keeper` is this process's own: it refreshes on demand only, and shares the file with the worker."""

    fake: FakeMesh
    fleet: DemoFleet
    pace: Pace
    board: Board
    keeper: Keeper
    worker: Worker
    show: Callable[[Scene], None]
    opened: int = 0
    """Times that the worker told of a fault that is nobody's."""
    asked: int = 0
    codes: int = 0
    kills: int = 0
    orphaned: int = 0
    """Logins whose requests were out at the kill."""
    reconnected: int = 0
    recovered: bool = False
    """The login whose connection was cut has been refreshed."""
    fresh: int = 0
    """Accounts with tokens that the fake takes, at the end."""
    held: list[Tokens] = field(factory=list, repr=False)
    """What the store holds in the end."""
    _held_back: set[str | None] = field(factory=set)
    """Brokers; None: all of them."""
    _calm: asyncio.Lock = field(factory=asyncio.Lock)
    """The code must not be sent into the throttling."""
    _scenes: asyncio.TaskGroup = field(factory=asyncio.TaskGroup)

    # What the worker tells.

    def hear(self, event: Mapping[str, Any]) -> None:
        """An event of the worker."""
        name, login_id = event["event"], event.get("login_id")
        if name == "MfaNeeded":
            self._begin(self._type_code(str(login_id), event["pending_id"]))
        elif name == "ReconnectRequired":
            self._begin(self._log_in_again(self.fleet.by_id[str(login_id)]))
        elif name == "AttemptFailed" and login_id == self.fleet.cut.login_id and not self.recovered:
            self._begin(self._recover(self.fleet.cut))
        elif name == "BreakerOpened":
            self._hold_back(event["broker"], event["fault"])
        elif name == "BreakerClosed":
            self._held_back.discard(event["broker"])
            if self.board.held_back and not self._held_back:
                self.board.held_back = False
                self.say("probes went through: all goes on", Mood.GOOD)

    def _hold_back(self, broker: str | None, fault: str) -> None:
        self.opened += 1
        if broker is None:
            self.say(f"a second broker says the same: all is held back ({fault})", Mood.WARNING)
        elif not self._held_back:
            self.say(f"one event: {broker} is held back ({fault}), and no login is blamed", Mood.WARNING)
        self._held_back.add(broker)
        self.board.held_back = True

    def say(self, text: str, mood: Mood = Mood.DIM) -> None:
        """A scene."""
        scene = Scene(time.monotonic() - self.board.began, text, mood)
        self.board.scenes.append(scene)
        self.show(scene)

    # The story.

    async def run(self) -> None:
        """All of it. Raises `Failure` where a worker does."""
        await self.keeper.add_many((member.login_id, member.login.tokens) for member in self.fleet.members)
        await self._read(self.fleet.members)
        async with self._scenes as group:
            aside = [group.create_task(it) for it in (self.worker.watch(), self._look(), self._callers())]
            await self._first_round()
            await self._throttle()
            await self._until(lambda: self.codes and self.reconnected and self.recovered)
            await self._crash()
            await self._all_fresh()
            for task in aside:
                task.cancel()
        await self.worker.drained()
        self.board.pid, self.board.over = None, True
        self.say("SIGTERM: the worker finished what was under way, and ended", Mood.GOOD)
        await self._read(self.fleet.members)
        self.held = list(self._stored())

    async def _first_round(self) -> None:
        cut = self.fleet.cut
        self.fake.fail(Fault.cut(), login=cut.login)
        self._as_usual()
        self.board.pid = await self.worker.start(self.hear)
        self.say(f"a keeper starts in process {self.board.pid}: it has a sealed file, and a key")
        await self._until(lambda: self.board.refreshes >= _AT_ONCE and self._came(cut))

    def _as_usual(self) -> None:
        """Brokers take their time to answer."""
        for member in self.fleet.members:
            if member.delay:
                self.fake.fail(Fault.delay(member.delay), times=None, login=member.login)

    async def _gathered(self, fault: Fault, count: int) -> Gate:
        """A gate at which everything waits for `fault`; about so many requests do, and nothing else is under way."""
        self.fake.heal()
        gate = self.fake.hold(fault, times=None)
        await gate.entered.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(gate.arrivals(count), self.pace.gather)
        # What brokers have rotated before must have been answered and written: a kill would lose it for good.
        while await self._missing() or self.fake.in_flight != gate.waiting:  # noqa: ASYNC110 - as in `_until`
            await asyncio.sleep(_LOOK / 5)
        return gate

    async def _throttle(self) -> None:
        async with self._calm:
            gate, opened = await self._gathered(Fault.throttle(self.pace.throttled), _AT_ONCE), self.opened
            self.say(f"Mesh throttles: {requests(gate.waiting)} told to slow down", Mood.WARNING)
            gate.release()
            await self._until(lambda: self.opened > opened)
            self.fake.heal()
            self._as_usual()
            await self._until(lambda: not self.board.held_back)

    async def _crash(self) -> None:
        """Kill the worker while its requests are out, and no broker has rotated for any of them yet."""
        gate = await self._gathered(Fault.cut(), _OUT)
        out = [self.fleet.by_fake[str(it.login)] for it in self.fake.requests if not it.done]
        seen = len(self.fake.requests)
        self.kills += await self.worker.killed()
        self.orphaned, self.board.pid = len(out), None
        self.board.orphans = {it.login_id: self.board.logins[it.login_id].revision for it in out}
        self.say(f"kill -9 of the worker with {requests(len(out))} out, before brokers rotated", Mood.BAD)
        gate.release()
        served = self.board.served
        await asyncio.sleep(max(0.2, self.pace.eye * 5))  # the fake has seen by then that nobody listens
        self.say(f"nobody refreshes; callers get good tokens from the file: {self.board.served - served} so far")
        self.fake.heal()
        self._as_usual()
        self.board.pid = await self.worker.start(self.hear)
        self.say(f"a new worker, process {self.board.pid}: the old one's leases run out first")
        await self._until(lambda: all(self._refreshed(member, seen) for member in out))
        self.say(f"what the killed worker had out is refreshed, {len(out)} of {len(out)}", Mood.GOOD)

    async def _all_fresh(self) -> None:
        """Until every account has tokens that the fake takes."""
        while True:
            await self._read(self.fleet.members)
            self.fresh = sum(self.fake.is_live(it.access_token or it.token_id) for it in self._stored())
            if self.fresh == self.fleet.accounts:
                return
            await asyncio.sleep(_LOOK)

    # People.

    async def _type_code(self, login_id: str, pending_id: str) -> None:
        """The person reads the code on a phone, and types it into a page of another process."""
        self.say(f"{login_id}: {self.fleet.vanguard.broker} wants a code: parked, and the person is asked")
        code = self.fleet.by_id[login_id].login.code
        await asyncio.sleep(self.pace.eye * 3)
        for typed in range(1, len(code) + 1):
            self.board.typed = "*" * typed
            await asyncio.sleep(self.pace.eye * 0.5)
        async with self._calm:
            await self._submit(login_id, code, pending_id)
        self.codes, self.board.typed = self.codes + 1, ""
        self.say(f"{login_id}: code typed, and exchanged by a process other than the worker", Mood.GOOD)

    async def _submit(self, login_id: str, code: str, pending_id: str) -> None:
        while True:
            try:
                await self.keeper.submit_mfa(login_id, code, pending_id=pending_id)
            except NotReadyInTime:  # nothing was sent: a lease of seconds is short for a busy machine
                await asyncio.sleep(_LOOK)
            else:
                return

    async def _recover(self, member: Member) -> None:
        self.say(f"{member.login_id}: connection cut, nobody knows what came of it: settles", Mood.WARNING)
        await self._until(lambda: self._refreshed(member, 0))
        self.recovered = True
        self.say(f"{member.login_id}: asked once more, and refreshed: nothing was spent", Mood.GOOD)

    async def _log_in_again(self, member: Member) -> None:
        self.say(f"{member.login_id}: refused twice: the person must log in again", Mood.BAD)
        await asyncio.sleep(self.pace.eye * 5)
        await self.keeper.add(member.login_id, member.login.again())
        self.reconnected += 1
        self.say(f"{member.login_id}: the person has, and the new tokens were added", Mood.GOOD)

    async def _callers(self) -> None:
        """Other parts of a service, which want good tokens now."""
        random = Random(0)  # noqa: S311 - any of them will do
        while True:
            await asyncio.sleep(self.pace.asks)
            member = random.choice(self.fleet.plain)
            with suppress(NotReadyInTime):
                tokens = await self.keeper.tokens(member.login_id)
                self.board.served += self.fake.is_live(tokens.auth_token)
            self.asked += 1

    # Looking, and waiting.

    async def _look(self) -> None:
        """Follow the store, for whoever watches."""
        while True:
            await self._read(self.fleet.members[:60])
            await asyncio.sleep(0.15)

    async def _read(self, members: list[Member]) -> None:
        for member in members:
            self.board.logins[member.login_id] = await self.keeper.login(member.login_id)

    def _stored(self) -> Iterator[Tokens]:
        return (account.tokens for login in self.board.logins.values() for account in login.accounts)

    async def _missing(self) -> bool:
        """Whether the store lacks anything that the brokers take."""
        await self._read(self.fleet.members)
        return bool(self.fake.lost(self._stored()))

    def _came(self, member: Member) -> bool:
        """Whether there was a request of `member`."""
        return any(it.login == member.login.id for it in self.fake.requests)

    def _refreshed(self, member: Member, seen: int) -> bool:
        """Whether a request of `member` succeeded that came in after `seen` others."""
        return any(it.login == member.login.id and it.outcome == "succeeded" for it in self.fake.requests[seen:])

    async def _until(self, met: Callable[[], object]) -> None:
        while not met():  # noqa: ASYNC110 - two processes, a file and a fake Mesh: nobody tells of all of them
            await asyncio.sleep(_LOOK)

    def _begin(self, scene: Coroutine[Any, Any, None]) -> None:
        self._scenes.create_task(scene)

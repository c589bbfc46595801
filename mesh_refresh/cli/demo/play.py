"""The story of the demo, scene by scene. It learns from the store, from events and from the fake Mesh."""

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
from mesh_refresh.cli.terminal.messages import format_count
from mesh_refresh.keeper import Keeper, NotReadyInTime
from mesh_refresh.testing import FakeMesh, Fault, Gate

_LOOK = 0.05
"""Seconds between two checks of a condition."""
_AT_ONCE = 3
"""At least this many requests are throttled together, if they come in time."""
_OUT = 4
"""At least this many requests are under way when the worker is killed, if they come in time."""


@define(eq=False)
class Play:
    """One run. `keeper` is that of the demo: it refreshes on demand only, and shares the store with the worker."""

    fake: FakeMesh
    fleet: DemoFleet
    pace: Pace
    board: Board
    keeper: Keeper
    worker: Worker
    show: Callable[[Scene], None]
    opened: list[str | None] = field(factory=list)
    """The brokers whose breaker the worker opened, in order; None: all brokers."""
    asked: int = 0
    codes: int = 0
    kills: int = 0
    orphaned: int = 0
    """Logins with a request under way at the kill."""
    reconnected: int = 0
    recovered: bool = False
    """Whether the login whose connection was cut has been refreshed."""
    fresh: int = 0
    """Accounts whose tokens the fake Mesh accepts at the end."""
    held: list[Tokens] = field(factory=list, repr=False)
    """The tokens in the store at the end."""
    _calm: asyncio.Lock = field(factory=asyncio.Lock)
    """Held by a scene that the submission of the code must not meet."""
    _scenes: asyncio.TaskGroup = field(factory=asyncio.TaskGroup)

    # Events of the worker.

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take an event of the worker, and begin what a person does about it."""
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
            self.board.held_back.discard(event["broker"])
            if not self.board.held_back:
                self.say("a probe succeeded: exchanges go on", Mood.GOOD)

    def _hold_back(self, broker: str | None, fault: str) -> None:
        self.opened.append(broker)
        if broker is None:
            self.say(f"a second broker is {fault} too: the worker holds back all brokers", Mood.WARNING)
        elif not self.board.held_back:
            self.say(f"the worker holds back {broker} ({fault}); no login counts a failure", Mood.WARNING)
        self.board.held_back.add(broker)

    def say(self, text: str, mood: Mood = Mood.DIM) -> None:
        """Add a line to the story."""
        scene = Scene(time.monotonic() - self.board.began, text, mood)
        self.board.scenes.append(scene)
        self.show(scene)

    # The story.

    async def run(self) -> None:
        """Play the whole story. Raises `Failure` if a worker fails."""
        await self.keeper.add_many((member.login_id, member.login.tokens) for member in self.fleet.members)
        await self._read(self.fleet.members)
        async with self._scenes as group:
            aside = [group.create_task(task) for task in (self._follow(), self._callers())]
            await self._first_round()
            await self._throttle()
            await self._until(lambda: self.codes and self.reconnected and self.recovered)
            await self._crash()
            await self._all_fresh()
            for task in aside:
                task.cancel()
            await self.worker.stop()
        self.board.pid, self.board.over = None, True
        self.say("SIGTERM: the worker finished its exchanges, and stopped", Mood.GOOD)
        await self._read(self.fleet.members)
        self.held = list(self._stored())

    async def _first_round(self) -> None:
        cut = self.fleet.cut
        self.fake.fail(Fault.cut(), login=cut.login)
        self._delay_replies()
        self.board.pid = await self.worker.start(self.hear, self._scenes)
        self.say(f"a worker starts, process {self.board.pid}: a keeper with a sealed file and its key")
        await self._until(lambda: self.board.refreshes >= _AT_ONCE and self._was_sent(cut))

    def _delay_replies(self) -> None:
        """Let each broker take some time to answer."""
        for member in self.fleet.members:
            if member.delay:
                self.fake.fail(Fault.delay(member.delay), times=None, login=member.login)

    async def _gather(self, fault: Fault, count: int) -> Gate:
        """A gate at which requests wait for `fault`: about `count` of them, and no other is under way."""
        self.fake.heal()
        gate = self.fake.hold(fault, times=None)
        await gate.entered.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(gate.arrivals(count), self.pace.gather)
        # Replies with rotated tokens must have arrived and been written: a kill would lose them for good.
        while await self._missing() or self.fake.in_flight != gate.waiting:  # noqa: ASYNC110 - as in `_until`
            await asyncio.sleep(_LOOK / 5)
        return gate

    async def _throttle(self) -> None:
        async with self._calm:
            opened = len(self.opened)
            gate = await self._gather(Fault.throttle(self.pace.throttled), _AT_ONCE)
            self.say(f"Mesh throttles {format_count(gate.waiting, 'request')}", Mood.WARNING)
            gate.release()
            await self._until(lambda: len(self.opened) > opened)
            self.fake.heal()
            self._delay_replies()
            await self._until(lambda: not self.board.held_back)

    async def _crash(self) -> None:
        """Kill the worker while requests are under way, before brokers rotate any of their tokens."""
        gate = await self._gather(Fault.cut(), _OUT)
        out = [self.fleet.by_fake[str(request.login)] for request in self.fake.requests if not request.done]
        seen = len(self.fake.requests)
        self.kills += await self.worker.kill_and_wait()
        self.orphaned, self.board.pid = len(out), None
        self.board.orphans = {member.login_id: self.board.logins[member.login_id].revision for member in out}
        self.say(f"kill -9 of the worker, with {format_count(len(out), 'request')} under way", Mood.BAD)
        gate.release()
        served = self.board.served
        await asyncio.sleep(max(0.2, self.pace.eye * 5))  # the fake has noticed by then that the client is gone
        self.say(f"no worker runs; callers still get valid tokens from the file: {self.board.served - served} so far")
        self.fake.heal()
        self._delay_replies()
        self.board.pid = await self.worker.start(self.hear, self._scenes)
        self.say(f"a new worker, process {self.board.pid}, waits until the leases of the old one run out")
        await self._until(lambda: all(self._refreshed(member, seen) for member in out))
        self.say(f"the logins of the killed worker are refreshed, {len(out)} of {len(out)}", Mood.GOOD)

    async def _all_fresh(self) -> None:
        """Wait until the fake Mesh accepts the tokens of every account."""
        while True:
            await self._read(self.fleet.members)
            # A delayed login has no more than a refresh token until its day is over.
            self.fresh = sum(self.fake.is_live(it.auth_token or it.refresh_token) for it in self._stored())
            if self.fresh == self.fleet.accounts:
                return
            await asyncio.sleep(_LOOK)

    # People.

    async def _type_code(self, login_id: str, pending_id: str) -> None:
        """The person types the code into a page of another process."""
        self.say(f"{login_id}: {self.fleet.vanguard.broker} wants an MFA code; the account is parked")
        code = self.fleet.by_id[login_id].login.code
        await asyncio.sleep(self.pace.eye * 3)
        for typed in range(1, len(code) + 1):
            self.board.typed = "*" * typed
            await asyncio.sleep(self.pace.eye * 0.5)
        async with self._calm:
            await self._submit(login_id, code, pending_id)
        self.codes, self.board.typed = self.codes + 1, ""
        self.say(f"{login_id}: the person typed the code, and another process submitted it", Mood.GOOD)

    async def _submit(self, login_id: str, code: str, pending_id: str) -> None:
        while True:
            try:
                await self.keeper.submit_mfa(login_id, code, pending_id=pending_id)
            except NotReadyInTime:  # nothing was sent: a lease of seconds is short on a busy machine
                await asyncio.sleep(_LOOK)
            else:
                return

    async def _recover(self, member: Member) -> None:
        self.say(f"{member.login_id}: connection cut, outcome unknown; its tokens are not sent again yet", Mood.WARNING)
        await self._until(lambda: self._refreshed(member, 0))
        self.recovered = True
        self.say(f"{member.login_id}: sent once more, and refreshed: the token was not spent", Mood.GOOD)

    async def _log_in_again(self, member: Member) -> None:
        self.say(f"{member.login_id}: refused twice; the person must log in again", Mood.BAD)
        await asyncio.sleep(self.pace.eye * 5)
        await self.keeper.add(member.login_id, member.login.again())
        self.reconnected += 1
        self.say(f"{member.login_id}: the person logged in again, and the new tokens were added", Mood.GOOD)

    async def _callers(self) -> None:
        """Other parts of a service ask the keeper for valid tokens."""
        random = Random(0)  # noqa: S311 - any of them will do
        while True:
            await asyncio.sleep(self.pace.asks)
            member = random.choice(self.fleet.plain)
            with suppress(NotReadyInTime):
                tokens = await self.keeper.tokens(member.login_id)
                self.board.served += self.fake.is_live(tokens.auth_token)
            self.asked += 1

    # Observing and waiting.

    async def _follow(self) -> None:
        """Read the store again and again, for the view."""
        while True:
            await self._read(self.fleet.members[:60])
            await asyncio.sleep(0.15)

    async def _read(self, members: list[Member]) -> None:
        for member in members:
            self.board.logins[member.login_id] = await self.keeper.login(member.login_id)

    def _stored(self) -> Iterator[Tokens]:
        return (account.tokens for login in self.board.logins.values() for account in login.accounts)

    async def _missing(self) -> bool:
        """Whether the store lacks live tokens."""
        await self._read(self.fleet.members)
        return bool(self.fake.lost(self._stored()))

    def _was_sent(self, member: Member) -> bool:
        """Whether the fake Mesh got a request for `member`."""
        return any(request.login == member.login.id for request in self.fake.requests)

    def _refreshed(self, member: Member, seen: int) -> bool:
        """Whether a request for `member` succeeded, after the first `seen` requests."""
        new = self.fake.requests[seen:]
        return any(request.login == member.login.id and request.outcome == "succeeded" for request in new)

    async def _until(self, met: Callable[[], object]) -> None:
        while not met():  # noqa: ASYNC110 - no single event covers two processes, a file and a fake Mesh
            await asyncio.sleep(_LOOK)

    def _begin(self, scene: Coroutine[Any, Any, None]) -> None:
        self._scenes.create_task(scene)

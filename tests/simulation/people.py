"""Who uses the keepers: applications that want tokens, and persons who log in, type codes and go away."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mesh_refresh import CodeRefused, InvalidRequest, MeshRefreshError, MfaPending, Tokens
from mesh_refresh.keeper import KeeperClosed, NotReadyInTime, ReconnectNeeded
from mesh_refresh.logins import AmbiguousAccount, UnknownLogin
from mesh_refresh.logins.errors import UnknownAccount
from mesh_refresh.stores import StoreError
from mesh_refresh.testing import FakeLogin
from mesh_refresh.testing.fake.upstream import end_of
from tests.belonging import give_own_ids
from tests.simulation.choices import BROKEN_EDGES, MIXED_FLEETS, MIXED_UP, MOVING, login_choices, seconds
from tests.simulation.process import Process
from tests.simulation.strategies import opened

if TYPE_CHECKING:
    from tests.simulation.world import World

_ANSWERS = (UnknownLogin, AmbiguousAccount, UnknownAccount, MfaPending, ReconnectNeeded, NotReadyInTime, KeeperClosed)
"""What `tokens` and `refresh` raise, and nothing else."""
_MOST_OF_A_DAY = timedelta(hours=23, minutes=36)
_FOR_THE_STORE = 5.0
"""Seconds: a keeper gives a store one for each verb, whatever its caller waits."""


def linked(world: "World", login: FakeLogin, process: Process) -> tuple[Tokens, ...]:
    """What Link hands over now, or has handed over at another time, where that is known."""
    record = world.fake.ledger.tokens.get(login.token.refresh_token or "")
    age = world.fake.clock.now() - record.issued_at if record is not None and _is_old(world, login) else timedelta()
    return Tokens.from_link(login.link_payload(), obtained_at=process.clock.now() - age)


def _is_old(world: "World", login: FakeLogin) -> bool:
    """A delayed login of a mixed fleet is added when most of its day is over, so that its exchanges are seen."""
    return world.kind == MIXED_FLEETS and login.options.delayed


class People:
    """Everybody outside, with one chance for all of them."""

    def __init__(self, world: "World", chance: Random) -> None:
        self.world, self.chance = world, chance
        self.members: dict[str, FakeLogin] = {}
        self.codes: list[tuple[str, str]] = []
        """Old questions, and codes of that time."""

    # Logging in.

    async def join(self) -> None:
        """A new person."""
        world = self.world
        broker, choices = login_choices(world.choices.deadline, self.chance, world.kind, len(world.fake.logins))
        login = world.fake.login(broker, **choices)
        if world.kind in (MIXED_UP, BROKEN_EDGES):
            give_own_ids(world.fake, login)
        self._let_wait(login)
        process = await world.some_process()
        if await self._added(process, login, linked(world, login, process)):
            self.members[login.id] = login
            world.judge.covered["logins"] += 1

    def _let_wait(self, login: FakeLogin) -> None:
        if _is_old(self.world, login):
            self.world.fake.ledger.tokens[login.token.refresh_token or ""].issued_at -= _MOST_OF_A_DAY

    async def log_in_again(self, login: FakeLogin) -> None:
        world = self.world
        moved = world.kind in MOVING and self.chance.random() < 0.5
        process = await world.some_process(login, moved=moved)
        if world.judge.excuses.changing.get(login.id):
            return  # the person is at it: an application that adds two logins in the wrong order keeps the older one
        with world.judge.changing(login.id):
            login.again()
            self._let_wait(login)
            await self._added(process, login, linked(world, login, process))
            # The application does not know yet that the login has moved, or moves: the next copy takes over what came.
            for source in world.memories:
                if world.judge.has_moved_with(source, login):
                    await world.copy(source, next(it for it in world.memories if it is not source), wait=True)
        world.judge.covered["logins anew"] += 1

    async def reconnect(self) -> None:
        """Persons who are told that only they can help, and who do so after a while."""
        world, unit = self.world, self.world.choices.deadline
        while True:
            await asyncio.sleep(unit * self.chance.uniform(1, 8))
            for name, login in list(self.members.items()):
                kept = world.judge.kept(name)
                states = frozenset[str]() if kept is None else kept.row.states
                if states & {"reconnect_required", "unreadable"} and self.chance.random() < 0.5:
                    await self.log_in_again(login)
                    world.judge.covered["logins anew, because they had to"] += 1

    async def bring_access_token(self, login: FakeLogin, *, parked: bool) -> None:
        """An application that has a new access token from elsewhere: with no refresh token, or the one of the login
        (which is news where the account is parked). What is under way brings the next pair all the same.
        """
        world, options = self.world, login.options
        if options.delayed or options.spends_access_token:
            return  # what is spent is that token
        process = await world.some_process(login)
        now = world.fake.clock.now()
        login.seats.renew_access(login.seats.all, now, end_of(options.access_lifetime, now))
        now = process.clock.now()
        ends = end_of(options.access_lifetime, now)
        tokens = tuple(
            evolve(
                fresh,
                refresh_token=first.refresh_token if parked else None,
                refresh_token_expires_at=None,
                obtained_at=now,
                expires_at=ends,
            )
            for fresh, first in zip(login.live, login.tokens, strict=True)
        )
        world.judge.touched[login.id] = 1e12  # until it is in the store
        await self._added(process, login, tokens)
        world.judge.touched[login.id] = world.loop.now
        world.judge.covered["access tokens from elsewhere"] += 1

    async def repeat(self, login: FakeLogin) -> None:
        """A webhook that is delivered twice: the payload of the first day."""
        process = await self.world.some_process(login)
        await self._added(process, login, linked(self.world, login, process))
        self.world.judge.covered["repeated adds"] += 1

    async def leave(self, login: FakeLogin) -> None:
        world = self.world
        self.members.pop(login.id)
        with world.judge.changing(login.id):
            while True:
                process = await world.some_process(login)
                try:
                    await world.within(process, process.keeper.remove(login.id))  # type: ignore[union-attr]
                except (StoreError, KeeperClosed, Gone):
                    await asyncio.sleep(world.choices.deadline)
                else:
                    break
        world.judge.covered["removed"] += 1

    # Operators.

    async def pause(self, span: timedelta) -> None:
        """Somebody holds a broker back, or all of them, for that long."""
        world = self.world
        broker = self.chance.choice(["*", *sorted({login.broker for login in self.members.values()})])
        await self._tell_stores(lambda keeper: keeper.pause(broker))
        world.judge.covered["pauses"] += 1
        await asyncio.sleep(span.total_seconds())
        await self._tell_stores(lambda keeper: keeper.resume(broker))

    async def resume(self) -> None:
        """Somebody who is told that a breaker has opened lets a probe through at once."""
        world, unit = self.world, self.world.choices.deadline
        for _ in range(100):
            found = [(it, it.core.limiter.breakers.open) for it in world.processes if it.usable]
            held_back = [(process, scope) for process, breakers in found for scope in breakers]
            if held_back:
                process, scope = self.chance.choice(held_back)
                with suppress(StoreError, KeeperClosed, Gone):
                    await world.within(process, process.keeper.resume(scope or "*"))  # type: ignore[union-attr]
                    world.judge.covered["resumes while a breaker was open"] += 1
                return
            await asyncio.sleep(unit / 5)

    async def ask_anew(self) -> None:
        """Somebody whose code did not arrive asks for another one."""
        world, unit = self.world, self.world.choices.deadline
        for _ in range(100):
            for name, login in list(self.members.items()):
                kept = world.judge.kept(name)
                if kept is None or "mfa_required" not in kept.row.states:
                    continue
                accounts = opened(world.memories[0].cipher, kept.row).accounts
                account = next((it for it in accounts if it.pending is not None), None)
                if account is None:
                    continue
                process = await world.some_process(login)
                world.judge.pace.wanted[login.id].append(world.loop.now)
                wait, keeper = seconds(unit * 3), process.keeper
                _ = process.call(_tried(keeper.restart_mfa(login.id, account.tokens.account_id, max_wait=wait)))  # type: ignore[union-attr]
                world.judge.covered["questions asked anew"] += 1
                return
            await asyncio.sleep(unit / 5)

    async def _tell_stores(self, verb: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """A keeper on each store does it, for as long as it takes."""
        world = self.world
        for memory in world.memories:
            done = False
            while not done:
                process = next((it for it in world.processes if it.usable and it.store.memory is memory), None)
                with suppress(StoreError, KeeperClosed, Gone):
                    if process is not None:
                        await world.within(process, verb(process.keeper))
                        done = True
                if not done:
                    await asyncio.sleep(world.choices.deadline / 4)

    async def _added(self, process: Process, login: FakeLogin, tokens: tuple[Tokens, ...]) -> bool:
        world = self.world
        world.judge.pace.given.update(it.obtained_at for it in tokens)
        for _ in range(100):
            try:
                await world.within(process, process.keeper.add(login.id, tokens))  # type: ignore[union-attr]
            except (StoreError, KeeperClosed, Gone):
                await asyncio.sleep(world.choices.deadline / 2)
                process = await world.some_process(login)
            else:
                return True
        world.judge.violated(f"{login.id} could not be added in a hundred attempts")
        return False

    # Codes.

    async def answer_questions(self) -> None:
        """A person who reads the questions out of the store, late and not always rightly."""
        world, unit = self.world, self.world.choices.deadline
        while True:
            await asyncio.sleep(unit * self.chance.uniform(0.5, 6))
            for name, login in list(self.members.items()):
                kept = world.judge.kept(name)
                if kept is None or "mfa_required" not in kept.row.states:
                    continue
                stored = opened(world.memories[0].cipher, kept.row)
                for account in stored.accounts:
                    if account.pending is not None and self.chance.random() < 0.6:
                        await self._answer(login, account.tokens.account_id, account.pending.id)

    async def _answer(self, login: FakeLogin, account_id: str | None, pending_id: str) -> None:
        world, chance = self.world, self.chance
        process, draw = await world.some_process(login), chance.random()
        keeper: Any = process.keeper
        code = login.code
        self.codes.append((pending_id, code))
        if draw < 0.15:
            world.judge.covered["wrong codes"] += 1
            call = keeper.submit_mfa(login.id, "000000", pending_id=pending_id)
        elif draw < 0.25:
            world.judge.covered["late codes"] += 1
            old, code = chance.choice(self.codes)
            call = keeper.submit_mfa(login.id, code, pending_id=old)
        elif draw < 0.4:
            world.judge.covered["questions asked anew"] += 1
            call = keeper.restart_mfa(login.id, account_id, max_wait=seconds(world.choices.deadline * 3))
        else:
            world.judge.covered["codes"] += 1
            call = keeper.submit_mfa(login.id, code, pending_id=pending_id)
        world.judge.pace.wanted[login.id].append(world.loop.now)
        task = process.call(_tried(call))
        if chance.random() < 0.2:
            await asyncio.sleep(world.choices.deadline * chance.random() / 4)
            task.cancel()
            world.judge.covered["cancelled callers"] += 1

    # Applications.

    async def want_tokens(self) -> None:
        """A caller after the other; some of them are cancelled on the way."""
        world, chance, unit = self.world, self.chance, self.world.choices.deadline
        while True:
            await asyncio.sleep(unit * chance.uniform(0.05, 2))
            if not self.members:
                continue
            login = chance.choice(list(self.members.values()))
            process = await world.some_process(login)
            for _ in range(chance.choice((1, 1, 1, 5))):
                task = process.call(self.wanted(process, login, chance.random()))
                if chance.random() < 0.25:
                    world.loop.after_steps(chance.randrange(200), _canceller(task))
                    world.judge.covered["cancelled callers"] += 1

    async def wanted(self, process: Process, login: FakeLogin, draw: float) -> None:
        world, keeper = self.world, process.keeper
        assert keeper is not None
        account = self.chance.choice(login.account_ids) if login.options.named else None
        wait = seconds(world.choices.deadline * self.chance.choice((0, 1, 3)))
        began = world.loop.now
        world.judge.pace.wanted[login.id].append(began)
        try:
            if draw < 0.6:
                found = await keeper.tokens(login.id, account, max_wait=wait)
                if draw < 0.25:
                    found = await keeper.tokens(login.id, account, rejected=found, max_wait=wait)
            else:
                found = await keeper.refresh(login.id, account, max_wait=wait)
        except _ANSWERS as error:
            world.judge.covered[f"answer: {type(error).__name__}"] += 1
        except Exception as error:  # noqa: BLE001 - anything else is what is looked for
            world.judge.violated(f"a caller of {login.id} was given {type(error).__name__}: {error}")
        else:
            world.judge.covered["answer: tokens"] += 1
            world.was_answered(login, found)
        calls = 2 if draw < 0.25 else 1
        self._answered_in_time(process, login, calls * (wait.total_seconds() + _FOR_THE_STORE), began)

    def _answered_in_time(self, process: Process, login: FakeLogin, most: float, began: float) -> None:
        """A caller waits as long as it said, and for the store, but for a process that stands still meanwhile."""
        world = self.world
        waited = world.loop.now - began
        if waited > most and not world.judge.hindrances.stood_still(process.name, began):
            world.judge.violated(f"a caller of {login.id} waited for {waited:.1f} s, and {most:.1f} would do")


class Gone(Exception):
    """The process died while somebody waited for it."""


async def _tried(call: Any) -> None:
    with suppress(CodeRefused, InvalidRequest, MeshRefreshError):
        await call


def _canceller(task: "asyncio.Task[Any]") -> Any:
    def cancel() -> None:
        task.cancel()

    return cancel

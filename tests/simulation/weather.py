"""What goes wrong in a world, and when: faults, crashes, outages, jumping clocks, pauses, and people who change their
minds."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation.choices import fault
from tests.simulation.loop import SERVER

if TYPE_CHECKING:
    from tests.simulation.world import World


class Weather:
    """Everything here happens at moments drawn before, until the span is over."""

    def __init__(self, world: "World", chance: Random) -> None:
        self.world, self.chance = world, chance
        self._tasks: set[asyncio.Task[None]] = set()
        self._storm_until = 0.0

    async def passes(self) -> None:
        """Until it is over, and everything it broke is whole again."""
        world, chance, choices = self.world, self.chance, self.world.choices
        calm = world.kind == "calm"
        planned: list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]] = []
        for expected, happening in (
            (choices.faults, self._fault),
            (choices.crashes, self._crash),
            (choices.outages, self._outage),
            (4.0 * choices.jumps, self._jump),
            (2.0, self._join),
            (2.0, self._log_in_again),
            (2.0, self._repeat),
            (1.0, self._leave),
            (1.0, self._pause),
            (0.0 if calm else 0.7, self._server_gone),
            (0.0 if calm else 0.7, self._stand_still),
            (0.7, self._restart),
        ):
            count = int(expected) + (chance.random() < expected % 1)
            planned += [(chance.uniform(0, choices.span), happening) for _ in range(count)]
        for moment, happening in sorted(planned, key=lambda item: item[0]):
            await asyncio.sleep(max(0.0, moment - (world.loop._now - 0.0)))
            task = asyncio.ensure_future(happening())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(max(0.0, choices.span - world.loop._now))
        await asyncio.gather(*list(self._tasks))

    async def _fault(self) -> None:
        world, chance, unit = self.world, self.chance, self.world.choices.deadline
        most = unit + world.choices.policy.settle.total_seconds() * 0.6
        found = fault(unit, chance, most, jumps=world.choices.jumps)
        draw, members = chance.random(), list(world.people.members.values())
        times = chance.choice((1, 1, 1, 2, 3, 8))
        if draw < 0.6 and members:
            world.fake.fail(found, times=times, login=chance.choice(members))
        elif draw < 0.8 and members:
            world.fake.fail(found, times=times, broker=chance.choice(members).broker)
        else:
            world.fake.fail(found, times=times)

    async def _crash(self) -> None:
        world, chance = self.world, self.chance
        number = chance.randrange(len(world.processes))
        process, silent = world.processes[number], chance.random() < 0.5
        # Between any two steps, more often where something is under way.
        for _ in range(50):
            if process.core is not None and process.core.units:
                break
            await asyncio.sleep(world.choices.deadline / 10)
        died = asyncio.Event()

        def die() -> None:
            process.die(silent=silent)
            died.set()

        world.loop.after_steps(chance.randrange(400), die)
        await died.wait()
        await self._reborn(number)

    async def _reborn(self, number: int) -> None:
        world, chance, settle = self.world, self.chance, self.world.choices.policy.settle.total_seconds()
        if world.choices.spool[number] and not world.judge.lenient:
            # What is in the spool must be in the store before others may think it dead.
            await asyncio.sleep(settle * 0.3 * chance.random())
        else:
            await asyncio.sleep(chance.choice((0.0, settle, 5 * settle)) * chance.random())
        if not world.processes[number].alive:
            world.processes[number] = world.born(number)

    async def _outage(self) -> None:
        world, chance, settle = self.world, self.chance, self.world.choices.policy.settle.total_seconds()
        longest = 6 * settle if world.judge.lenient else 0.3 * settle
        if not world.judge.lenient and world.loop._now < self._storm_until:
            return  # two in a row are one long one
        self._storm_until = world.loop._now + 6 * settle
        share, after = chance.choice((0.3, 1.0)), chance.choice((0.0, 0.5, 1.0))
        only_swaps = chance.random() < 0.5
        one = chance.randrange(len(world.processes)) if chance.random() < 0.5 else None
        until = world.loop._now + longest * chance.random()
        world.judge.covered["outages of the store"] += 1
        while world.loop._now < until:
            for number, process in enumerate(world.processes):
                if one is None or number == one:
                    process.store.gone, process.store.gone_after = share, after
                    process.store.only_swaps = only_swaps
            if one is not None:
                self._callers_go_elsewhere(one)
            await asyncio.sleep(min(settle / 20, max(0.001, until - world.loop._now)))
        for process in world.processes:
            process.store.gone = 0.0

    def _callers_go_elsewhere(self, sick: int) -> None:
        """Whoever waits for a process without a store asks another one for the same login."""
        world = self.world
        core = world.processes[sick].core
        others = [it for number, it in enumerate(world.processes) if number != sick and it.usable]
        if core is None or not others:
            return
        for login_id in sorted(core.unsaved):
            login = world.people.members.get(login_id)
            if login is not None:
                process = self.chance.choice(others)
                _ = process.call(world.people.wanted(process, login, self.chance.random()))

    async def _jump(self) -> None:
        chance, unit = self.chance, self.world.choices.deadline
        far = chance.choice((unit / 2, 3600.0, 86_400.0))
        self.world.machine.jump(far if chance.random() < 0.5 else -far)
        self.world.judge.covered["jumps of the clock"] += 1

    async def _join(self) -> None:
        await self.world.people.join()

    async def _log_in_again(self) -> None:
        if self.world.people.members:
            await self.world.people.log_in_again(self.chance.choice(list(self.world.people.members.values())))

    async def _repeat(self) -> None:
        if self.world.people.members:
            await self.world.people.repeat(self.chance.choice(list(self.world.people.members.values())))

    async def _leave(self) -> None:
        if len(self.world.people.members) > 2:
            await self.world.people.leave(self.chance.choice(list(self.world.people.members.values())))

    async def _pause(self) -> None:
        world, chance = self.world, self.chance
        broker = chance.choice(["*", *sorted({login.broker for login in world.people.members.values()})])
        world.judge.covered["pauses"] += 1
        await world.memory.pause(broker)
        await asyncio.sleep(world.choices.deadline * chance.uniform(0, 10))
        await world.memory.pause(broker, paused=False)

    async def _server_gone(self) -> None:
        world = self.world
        world.judge.covered["outages of Mesh"] += 1
        if world.fake.server._runner is None:
            return
        await world.loop.start(SERVER, world.fake.stop())
        await asyncio.sleep(world.choices.deadline * self.chance.uniform(0, 3))
        await world.loop.start(SERVER, world.fake.start())

    async def _stand_still(self) -> None:
        """As a machine that is suspended, or a process that is stopped."""
        world, chance, policy = self.world, self.chance, self.world.choices.policy
        process = chance.choice(world.processes)
        if not process.usable:
            return
        process.stopped = True
        world.judge.covered["processes that stood still"] += 1
        world.loop.stop_process(process.name)
        world.judge.slowed.append((process.name, 1e12))
        await asyncio.sleep(policy.lease.total_seconds() * chance.uniform(0.1, 3))
        world.judge.slowed.append((process.name, world.loop._now))
        world.judge.slowed.remove((process.name, 1e12))
        process.stopped = False
        world.loop.continue_process(process.name)

    async def _restart(self) -> None:
        """Left as a service is: with a drain."""
        world = self.world
        number = self.chance.randrange(len(world.processes))
        process = world.processes[number]
        if not process.usable:
            return
        process.leave.set()
        await process.ended.wait()
        world.judge.covered["restarts"] += 1
        await self._reborn(number)

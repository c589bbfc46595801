"""What goes wrong in a world, and when: faults, crashes, outages, jumping clocks, pauses, and people who change their
minds."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mesh_refresh.testing import Delivery, Fault
from mesh_refresh.testing.fake.wire import JSON_TYPE, Sent, Wire, faultless
from mesh_refresh.testing.model.contract import Answer, envelope
from tests.simulation.choices import AGES, MIXED_FLEETS, MIXED_UP, MOVING, NEIGHBOURS, NOTICES, RESTARTS, fault, seconds
from tests.simulation.loop import SERVER
from tests.simulation.sent import keeper_of

if TYPE_CHECKING:
    from mesh_refresh.testing.fake.traffic import SentRequest
    from tests.simulation.process import Process
    from tests.simulation.world import World


_OF_A_LOGIN = (
    *(Fault.status(code, envelope("badRequest", f"Code {code}")) for code in (403, 404, 451)),
    Fault.problem(400),
    Fault.refuse(),
)
"""What may be wrong with one login alone."""
_OF_A_BROKER = (Fault.throttle(), Fault.unavailable(None), Fault.server_error())


class Weather:
    """Everything here happens at moments drawn before, until the span is over."""

    def __init__(self, world: "World", chance: Random) -> None:
        self.world, self.chance = world, chance
        self._tasks: set[asyncio.Task[None]] = set()
        self._storm_until = 0.0
        self._server_is_gone = False
        self._answers: dict[str, bytes] = {}

    async def passes(self) -> None:
        """Until it is over, and everything it broke is whole again."""
        world, chance, choices = self.world, self.chance, self.world.choices
        calm = world.kind in ("calm", NEIGHBOURS, MIXED_FLEETS)
        planned: list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]] = []
        for expected, happening in (
            (choices.faults, self._fault),
            (choices.crashes, self._crash),
            (choices.outages, self._outage),
            (4.0 * (world.kind == "outages"), self._stuck),
            (4.0 * choices.jumps, self._jump),
            (30.0 * (world.kind == MIXED_UP), self._mix_up),
            (2.0, self._join),
            (2.0, self._log_in_again),
            (2.0, self._repeat),
            (3.0, self._new_access_token),
            (0.0 if calm else 0.5, self._revoke),
            (choices.operators, self._leave),
            (choices.operators, self._pause),
            (choices.operators - 1.0, self._resume),
            (choices.operators - 1.0, self._ask_anew),
            (choices.operators - 1.0, self._join),
            (0.0 if calm else 0.7, self._server_gone),
            (0.0 if calm else 0.7, self._stand_still),
            (choices.restarts, self._restart),
            *self._of_kind(),
        ):
            count = int(max(0.0, expected)) + (chance.random() < expected % 1)
            planned += [(chance.uniform(0, choices.span), happening) for _ in range(count)]
        for moment, happening in sorted(planned, key=lambda item: item[0]):
            await asyncio.sleep(max(0.0, moment - (world.loop.now - 0.0)))
            task = asyncio.ensure_future(happening())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(max(0.0, choices.span - world.loop.now))
        world.look_at_neighbours()
        await asyncio.gather(*list(self._tasks))

    def _of_kind(self) -> list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]]:
        """What happens in worlds of one kind only."""
        if self.world.kind in (AGES, RESTARTS):
            return [(8.0, self._only_another)]
        if self.world.kind == NEIGHBOURS:
            beside = self._sick_broker if self.chance.random() < 0.5 else self._shaky
            return [(1.5, self._sick), (1.0, beside)]
        parking = [(4.0, self._revoke)] if self.world.kind == NOTICES else []
        return [(self.world.choices.copies, self._copy), *parking] if self.world.kind in MOVING else []

    async def _fault(self) -> None:
        world, chance, unit = self.world, self.chance, self.world.choices.deadline
        most = unit + world.choices.policy.resend_after.total_seconds() * 0.6
        found = self._seen(fault(unit, chance, most, jumps=world.choices.jumps))
        draw, members = chance.random(), list(world.people.members.values())
        times = chance.choice((1, 1, 1, 2, 3, 8))
        if draw < 0.6 and members:
            world.fake.fail(found, times=times, login=chance.choice(members))
        elif draw < 0.8 and members:
            world.fake.fail(found, times=times, broker=chance.choice(members).broker)
        else:
            world.fake.fail(found, times=times)

    async def _mix_up(self) -> None:
        """A proxy answers the next request of a login with what another one was answered, and Mesh never sees it.

        Both have ids of their own: without any, nobody could tell.
        """
        world, chance = self.world, self.chance
        members = [it for it in world.people.members.values() if it.options.named]
        if not members:
            return
        login = chance.choice(members)

        def shape(_: Answer, sent: Sent) -> Wire:
            others = [body for name, body in sorted(self._answers.items()) if name != login.id]
            if not others:
                return Wire(502)
            wire = Wire(200, chance.choice(others), {"Content-Type": JSON_TYPE})
            world.judge.parking.unreadable.setdefault(str(sent.body.get("refreshToken")), []).append(wire.sent)
            world.judge.covered["replies to somebody else"] += 1
            return wire

        world.fake.fail(Fault("a reply to somebody else", Delivery.UNTOUCHED, shape), login=login)

    async def _only_another(self) -> None:
        """For a while, replies to a login without rotation leave out the account that was asked for."""
        members = [it for it in self.world.people.members.values() if it.options.accounts > 1]
        members = [it for it in members if it.options.named and not it.options.rotates and not it.options.mfa]
        if not members:
            return
        login = self.chance.choice(members)

        def shape(answer: Answer, sent: Sent) -> Wire:
            wire = faultless(answer)
            body = json.loads(wire.body)
            entries = (body.get("content") or {}).get("brokerAccountTokens") or []
            token = str(sent.body.get("refreshToken"))
            asked = [seat.account_id for seat in login.seats.with_refresh(token)]
            others = [entry for entry in entries if entry["account"]["accountId"] not in asked[:1]]
            if not others:
                return wire
            if len(asked) > 1:  # the token of all, which stays
                others = [{"refreshToken": token, **entry} for entry in others]
            body["content"]["brokerAccountTokens"] = others
            self.world.judge.covered["replies that name another account only"] += 1
            return evolve(wire, body=json.dumps(body).encode())

        fault = Fault("a reply that names another account only", Delivery.WHOLE, shape)
        self.world.fake.fail(fault, login=login, times=self.chance.choice((3, 30)))

    async def _copy(self) -> None:
        """The fleet moves to the other store, while keepers run on both; some copies are cut off."""
        world, chance = self.world, self.chance
        source, target = chance.sample(world.memories, 2)
        world.judge.covered["copies"] += 1
        copying = asyncio.ensure_future(world.copy(source, target))
        if chance.random() < 0.3:
            await asyncio.sleep(world.choices.deadline * chance.random())
            copying.cancel()
            world.judge.covered["copies that were cut off"] += 1
        await asyncio.wait((copying,))

    def answered(self, request: "SentRequest", answer: Any) -> None:
        """Keep the last reply to each login that names accounts only, for `_mix_up`."""
        body = getattr(answer, "body", None)
        succeeded = request.outcome == "succeeded" and request.fault is None and request.login is not None
        if self.world.kind == MIXED_UP and succeeded and isinstance(body, bytes):
            content = json.loads(body)["content"]
            entries = content.get("brokerAccountTokens") or [content]
            if all(entry.get("account") for entry in entries):
                self._answers[str(request.login)] = body

    def _seen(self, found: Fault) -> Fault:
        """The same, and the judge is shown what goes out in place of a reply that was to bring a new pair."""
        if found.delivery not in (Delivery.BURIED, Delivery.WITHHELD):
            return found

        def shape(answer: Answer, sent: Sent) -> Wire:
            wire = found.shape(answer, sent)
            self.world.judge.parking.unreadable.setdefault(str(sent.body.get("refreshToken")), []).append(wire.sent)
            return wire

        return evolve(found, shape=shape)

    async def _crash(self) -> None:
        world, chance = self.world, self.chance
        number = chance.randrange(len(world.processes))
        process, silent = world.processes[number], chance.random() < 0.5
        # Between any two steps, more often where something is under way.
        for _ in range(50):
            if process.core is not None and process.core.inflight.exchanges:
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
        world, chance, settle = self.world, self.chance, self.world.choices.policy.resend_after.total_seconds()
        if world.choices.spool[number] and world.kind != "long outages":
            # What is in the spool must be in the store before others may think it dead.
            await asyncio.sleep(settle * 0.3 * chance.random())
        else:
            await asyncio.sleep(chance.choice((0.0, settle, 5 * settle)) * chance.random())
        if not world.processes[number].alive:
            world.processes[number] = world.born(number)

    async def _outage(self) -> None:
        world, chance, policy = self.world, self.chance, self.world.choices.policy
        settle, long = policy.resend_after.total_seconds(), world.kind == "long outages"
        # Others wait for the end of a lease, and then for the settling time.
        lease, short = policy.lease.total_seconds(), chance.random() < 0.4
        longest = 6 * settle if long else 0.3 * settle if short else lease + max(0.3 * settle, settle - 6)
        if not long and world.loop.now < self._storm_until:
            return  # two in a row are one long one
        self._storm_until = world.loop.now + longest + 5 * settle
        if chance.random() < 0.8:
            # Replies that come while the store is gone.
            slow = seconds(world.choices.deadline / 4)
            world.fake.fail(evolve(Fault.none(), name="slow, none").waiting(after=slow), times=8)
            await self._something_under_way()
            await asyncio.sleep(world.choices.deadline * chance.uniform(0, 0.2))
        until = world.loop.now + (longest * chance.random() if long or short else chance.uniform(0.6 * lease, longest))
        share, after = chance.choice((0.3, 0.7, 0.7, 1.0)), chance.choice((0.0, 0.5, 1.0))
        only_swaps = chance.random() < 0.3
        numbers = range(len(world.processes))
        one = chance.choice(numbers) if chance.random() < 0.4 else None
        judge = world.judge
        judge.covered["outages of the store"] += 1
        spans = [judge.hindrances.begin(f"keeper-{it}", world.loop.now) for it in numbers if one in (None, it)]
        while world.loop.now < until:
            for number, process in enumerate(world.processes):
                if one is None or number == one:
                    process.store.gone, process.store.gone_after = share, after
                    process.store.only_swaps = only_swaps
            if one is not None:
                self._callers_go_elsewhere(one)
            await asyncio.sleep(min(settle / 20, max(0.001, until - world.loop.now)))
        for process in world.processes:
            process.store.gone = 0.0
        for span in spans:
            span.end = world.loop.now
        # Who could not be answered asks again, now and then, while the keepers still write what they hold.
        for _ in range(chance.choice((0, 0, 8))):
            await asyncio.sleep(policy.poll.total_seconds() + chance.random())
            for number in numbers:
                self._callers_go_elsewhere(number)

    async def _stuck(self) -> None:
        """Everything works, but for a few writes of one process, which take longer than its lease, or fail then."""
        world, chance, policy = self.world, self.chance, self.world.choices.policy
        lease, settle = policy.lease.total_seconds(), policy.resend_after.total_seconds()
        number = chance.randrange(len(world.processes))
        store = world.processes[number].store
        if world.loop.now < self._storm_until:
            return
        await self._something_under_way()
        store.stuck, store.stuck_until = chance.randint(1, 3), world.loop.now + lease + 0.8 * settle * chance.random()
        self._storm_until = store.stuck_until + 5 * settle
        world.judge.covered["writes that were stuck"] += 1
        span = world.judge.hindrances.begin(f"keeper-{number}", world.loop.now)
        await asyncio.sleep(store.stuck_until - world.loop.now)
        span.end, store.stuck = world.loop.now, 0

    async def _something_under_way(self) -> None:
        for _ in range(50):
            if any(it.core is not None and it.core.inflight.exchanges for it in self.world.processes):
                return
            await asyncio.sleep(self.world.choices.deadline / 10)

    def _callers_go_elsewhere(self, sick: int) -> None:
        """Whoever waits for a process without a store asks another one for the same login."""
        world = self.world
        core = world.processes[sick].core
        others = [it for number, it in enumerate(world.processes) if number != sick and it.usable]
        if core is None or not others:
            return
        for login_id in sorted(core.inflight.unsaved_logins):
            login = world.people.members.get(login_id)
            if login is not None:
                process = self.chance.choice(others)
                _ = process.call(world.people.wanted(process, login, self.chance.random()))

    async def _jump(self) -> None:
        chance, unit = self.chance, self.world.choices.deadline
        if self.world.kind == AGES:
            await self._jump_and_back()
            return
        far = chance.choice((unit / 2, 3600.0, 86_400.0))
        self._set_clock(far if chance.random() < 0.5 else -far)
        self.world.judge.covered["jumps of the clock"] += 1

    def _set_clock(self, by: float) -> None:
        self.world.machine.jump(by)
        self.world.judge.pace.jumped = self.world.loop.now

    async def _jump_and_back(self) -> None:
        """Somebody sets the clock wrongly, and rightly again a while later."""
        chance, unit = self.chance, self.world.choices.deadline
        far = chance.choice((unit / 2, 3600.0, 86_400.0, 366 * 86_400.0, 3650 * 86_400.0))
        far = far if chance.random() < 0.7 else -far
        self._set_clock(far)
        self.world.judge.covered["jumps of the clock"] += 1
        # Often for a moment only: then accounts of a login are renewed partly before, and partly after.
        await asyncio.sleep(unit * chance.choice((chance.uniform(0.1, 1), chance.uniform(0.1, 10))))
        self._set_clock(-far)
        self.world.judge.covered["clocks that were put right"] += 1

    async def _join(self) -> None:
        await self.world.people.join()

    async def _log_in_again(self) -> None:
        if self.world.people.members:
            await self.world.people.log_in_again(self.chance.choice(list(self.world.people.members.values())))

    async def _repeat(self) -> None:
        if self.world.people.members:
            await self.world.people.repeat(self.chance.choice(list(self.world.people.members.values())))

    async def _new_access_token(self) -> None:
        """Rather while the login is exchanged."""
        world, unit = self.world, self.world.choices.deadline
        for _ in range(50):
            cores = [it.core for it in world.processes if it.core is not None]
            names = sorted({name for core in cores for name in core.inflight.exchanges if name in world.people.members})
            if names:
                login = world.people.members[self.chance.choice(names)]
                await world.people.bring_access_token(login, parked=self.chance.random() < 0.3)
                return
            await asyncio.sleep(unit / 10)

    async def _revoke(self) -> None:
        """The person disconnects the application at the broker."""
        if self.world.people.members:
            self.chance.choice(list(self.world.people.members.values())).revoke()
            self.world.judge.covered["revoked at the broker"] += 1

    async def _leave(self) -> None:
        if len(self.world.people.members) > 2:
            await self.world.people.leave(self.chance.choice(list(self.world.people.members.values())))

    async def _pause(self) -> None:
        await self.world.people.pause(seconds(self.world.choices.deadline * self.chance.uniform(0, 10)))

    async def _resume(self) -> None:
        await self.world.people.resume()

    async def _ask_anew(self) -> None:
        await self.world.people.ask_anew()

    async def _sick(self) -> None:
        """Until the weather is over, a login is not served, in one of the ways that may be its own fault."""
        self._fail_one(_OF_A_LOGIN)

    async def _shaky(self) -> None:
        """The same, in one of the ways in which a broker fails."""
        self._fail_one(_OF_A_BROKER)

    def _fail_one(self, faults: Sequence[Fault]) -> None:
        world, chance = self.world, self.chance
        members = [it for it in world.people.members.values() if world.judge.pace.is_healthy(it)]
        if members:
            login = chance.choice(members)
            world.judge.pace.sick.add(login.id)
            world.fake.fail(chance.choice(faults), times=None, login=login)

    async def _sick_broker(self) -> None:
        """The same for a whole broker, which asks for much patience at times."""
        world, chance, unit = self.world, self.chance, self.world.choices.deadline
        broker = chance.choice(sorted({login.broker for login in world.people.members.values()}))
        world.judge.pace.sick.add(broker)
        patience = chance.choice((None, unit * 20))
        faults = (Fault.throttle(patience), Fault.unavailable(patience), *_OF_A_BROKER)
        world.fake.fail(chance.choice(faults), times=None, broker=broker)

    async def _server_gone(self) -> None:
        world = self.world
        world.judge.covered["outages of Mesh"] += 1
        if self._server_is_gone:
            return
        self._server_is_gone = True
        await world.loop.start(SERVER, world.fake.stop())
        await asyncio.sleep(world.choices.deadline * self.chance.uniform(0, 3))
        await world.loop.start(SERVER, world.fake.start())
        self._server_is_gone = False

    async def _stand_still(self) -> None:
        """As a machine that is suspended, or a process that is stopped."""
        world, chance, policy = self.world, self.chance, self.world.choices.policy
        process = chance.choice(world.processes)
        if not process.usable:
            return
        process.stopped = True
        judge = world.judge
        judge.covered["processes that stood still"] += 1
        judge.stops(process.name)
        if world.telling is not None:
            world.telling.interrupted(process.name)
        span = judge.hindrances.begin(keeper_of(process.name), world.loop.now)
        world.loop.stop_process(process.name)
        await asyncio.sleep(policy.lease.total_seconds() * chance.uniform(0.1, 3))
        span.end = world.loop.now
        process.stopped = False
        judge.hindrances.continued[process.name] = world.loop.now
        world.loop.continue_process(process.name)

    async def _at_any_step(self, process: "Process") -> None:
        """Rather while something is under way: replies are late, and the store may hang from some step on."""
        world, chance, unit = self.world, self.chance, self.world.choices.deadline
        late = seconds(unit * chance.uniform(0.1, 1.2))
        world.fake.fail(evolve(Fault.none(), name="slow, none").waiting(after=late), times=chance.randint(1, 8))
        await self._something_under_way()
        there = asyncio.Event()
        world.loop.after_steps(chance.randrange(400), there.set)
        await there.wait()
        if chance.random() < 0.5:
            span = world.judge.hindrances.begin(keeper_of(process.name), world.loop.now)
            span.end = process.store.hangs_until = world.loop.now + unit * chance.choice((0.1, 1.0, 6.0))
            world.judge.covered["stores that hung"] += 1
            await asyncio.sleep(unit * chance.choice((0.0, 0.2)))

    async def _restart(self) -> None:
        """Left as a service is: with a drain."""
        world = self.world
        number = self.chance.randrange(len(world.processes))
        process = world.processes[number]
        if not process.usable:
            return
        if world.kind == RESTARTS:
            await self._at_any_step(process)
        process.leave.set()
        await process.ended.wait()
        world.judge.covered["restarts"] += 1
        await self._reborn(number)

"""What takes minutes and hours, on a clock that leaps: a keeper's own loop, with its own pauses, all the way."""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import MeshClient, MeshRefreshError, NotSaved, RetryPolicy
from mesh_refresh.keeper import AccountRefreshed, Keeper, LeftInSpool, NotReadyInTime, Policy
from mesh_refresh.stores import Count, Row
from mesh_refresh.stores.sealing import open_row
from mesh_refresh.testing import FakeMesh
from tests.keeper.leaping import Scene, Wire, always_fresh, leaping, model_of
from tests.keeper.stage import HOUR, MINUTE, FaultyStore, SharedStore

pytestmark = pytest.mark.once  # a loop of its own: what is proved are rates, leases and due times

FLEET = 60
RATE, AT_ONCE = 4.0, 4
LIFETIME = timedelta(minutes=10)


def most_within(times: Sequence[float], seconds: float) -> int:
    """How many of the (ascending) times lie within any span of so many seconds."""
    return max(bisect_left(times, begin + seconds) - index for index, begin in enumerate(times))


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
@pytest.mark.parametrize("latency", [0.25, 2.0], ids=["the rate binds", "the concurrency binds"])
def test_a_jump_of_an_hour_stays_within_the_bounds_and_goes_on_within_a_second(jump: timedelta, latency: float) -> None:
    """Everything is due at once then: no more in flight, and no more in any span of time, than the policy says."""

    async def story() -> None:
        loop, scene = asyncio.get_running_loop(), Scene(Wire(always_fresh(LIFETIME), latency))
        wire, begun = scene.wire, scene.wire.begun
        async with scene.process(rate=RATE, concurrency=AT_ONCE) as keeper:
            await keeper.add_many(scene.pairs(FLEET, LIFETIME))
            await asyncio.sleep(LIFETIME.total_seconds())
            assert len(begun) >= FLEET
            jumped_at, before = loop.time(), len(begun)
            scene.clock.jump(jump)
            await asyncio.sleep(1 + max(FLEET / RATE, FLEET * latency / AT_ONCE) + 3 * latency)  # 1: until it goes on
            after = begun[before:]
            assert after[0] - jumped_at <= 1.0
            assert FLEET <= len(after) <= FLEET + AT_ONCE, "what was under way may come once more"
            for number in range(FLEET):
                refreshed_at = (await keeper.login(f"u{number}")).account().refreshed_at
                assert refreshed_at is not None
                assert timedelta() <= scene.clock.now() - refreshed_at < 2 * MINUTE
        # Where the rate binds, one ends at the very moment at which the next begins: which is first is up to the loop.
        assert wire.most == AT_ONCE if latency > 1 else wire.most <= 2
        for seconds in (0.5, 1, 2, 10, 60):
            assert most_within(begun, seconds) <= RATE * seconds + 1
        assert len(set(wire.tokens)) == len(wire.tokens)

    leaping(story())


@pytest.mark.parametrize(("bound", "latency"), [("rate", 0.2), ("rate", 0.3), ("rate_each", 0.2)])
def test_the_rate_is_reached_whatever_replies_take(bound: str, latency: float) -> None:
    """The next exchange begins when the rate allows it, not a whole interval after something has happened."""

    async def story() -> None:
        scene = Scene(Wire(always_fresh(HOUR), latency))
        policy: Any = {bound: RATE}
        async with scene.process(**policy, spread=0.0) as keeper:
            await keeper.add_many(scene.pairs(FLEET, HOUR))
            await asyncio.sleep(HOUR.total_seconds())
        begun = scene.wire.begun
        assert len(begun) == FLEET
        crowd = begun[20:]
        assert (crowd[-1] - crowd[0]) / (len(crowd) - 1) == pytest.approx(1 / RATE, rel=0.03)

    leaping(story())


def test_the_rate_is_nearly_reached_by_refresh_due_where_counting_takes_longer_than_its_spacing() -> None:
    """The rate allows one more while the store counts what is due: that one begins then, not at the next poll."""

    class SlowToCount(SharedStore):
        async def counts(self, now: datetime) -> Sequence[Count]:
            await asyncio.sleep(1.2 / RATE)
            return await super().counts(now)

    async def story() -> None:
        scene = Scene(Wire(always_fresh(HOUR), 0.0))
        async with MeshClient("fake-client-id", "fake-client-secret", transport=scene.wire, clock=scene.clock) as mesh:
            policy = Policy(rate=RATE, poll=MINUTE)
            async with Keeper(mesh, SlowToCount(scene.store), policy=policy, background=False) as keeper:
                await keeper.add_many(scene.pairs(8, HOUR), at_once=True)
                assert await keeper.refresh_due() == 8
        begun = scene.wire.begun
        assert begun[-1] - begun[0] < 7 * 1.3 / RATE

    leaping(story())


def test_thousands_of_logins_of_one_second_are_not_refreshed_in_one() -> None:
    """Each falls due at a chance of its own, and is exchanged then: requests come evenly over the whole span."""
    count = 3_000

    async def story() -> None:
        scene = Scene(Wire(always_fresh(HOUR)))
        begun = scene.wire.begun
        async with scene.process(poll=timedelta(seconds=30), concurrency=500) as keeper:
            await keeper.add_many(scene.pairs(count, HOUR))
            added_at = asyncio.get_running_loop().time()
            await asyncio.sleep((48 * MINUTE).total_seconds() + 30)
        assert len(begun) == len(set(scene.wire.tokens)) == count
        # Due from the 36th minute to the 48th, so that a look finds the 24th part; and none is sooner, or later.
        looks = Counter(round((at - added_at) / 30) for at in begun)
        assert set(looks) <= set(range(2 * 36, 2 * 48 + 2))
        assert max(looks.values()) <= 1.45 * count / 24
        assert min(looks[look] for look in range(2 * 36 + 1, 2 * 48)) >= 0.55 * count / 24

    leaping(story())


def test_from_a_pairs_arrival_to_its_write_it_is_a_few_turns_of_the_loop() -> None:
    """However much else is under way, and however slow whoever is told of it: the new tokens are written first."""

    async def story() -> list[int]:
        loop: Any = asyncio.get_running_loop()
        arrived: dict[str, int] = {}
        windows: list[int] = []

        class Watched(FaultyStore):
            async def swap(self, row: Row, **options: Any) -> bool:
                token = open_row(self.cipher, row).account().tokens.refresh_token
                if token in arrived:
                    windows.append(loop.turns - arrived.pop(token))
                return await super().swap(row, **options)

        class Noting(Wire):
            async def send(self, request: Any) -> Any:
                reply = await super().send(request)
                token = reply.body.decode().partition('"refreshToken": "')[2].partition('"')[0]
                arrived[token] = loop.turns
                return reply

        async def slow(_: Any) -> None:
            await asyncio.sleep(60)

        scene = Scene(Noting(always_fresh(LIFETIME), latency=1.0))
        async with scene.process(store=Watched(scene.store), on_event=slow) as keeper:
            await keeper.add_many(scene.pairs(100, LIFETIME))
            await asyncio.sleep(LIFETIME.total_seconds() * 0.85)
            assert keeper.health().ok
        assert not arrived
        return windows

    windows = leaping(story())
    assert len(windows) >= 100
    assert max(windows) <= 5


LOGINS = 8
GONE = 60.0


class Outage:
    """Two keepers over one store, which is gone for a minute when requests are out; and all that asks meanwhile."""

    def __init__(self, lease: float, spool: Path) -> None:
        self.clocked = Scene(Wire(lambda _: b"", latency=2.0))
        self.fake = FakeMesh(clock=self.clocked.clock)
        self.clocked.wire.answer = model_of(self.fake)
        self.store = FaultyStore(self.clocked.store)
        self.refreshed = 0
        self._lease, self._spool = timedelta(seconds=lease), spool

    def process(self, name: str, **policy: Any) -> Any:
        return self.clocked.process(
            store=self.store, lease=self._lease, retry=RetryPolicy(deadline=timedelta(seconds=10)),
            spool=self._spool / name, on_event=self._told, drain=timedelta(seconds=10), **policy,
        )  # fmt: skip

    def _told(self, event: object) -> None:
        self.refreshed += isinstance(event, AccountRefreshed)

    async def begin(self, keeper: Keeper) -> None:
        """All are due at once, and all are exchanged."""
        for number in range(LOGINS):
            await keeper.add(f"u{number}", self.fake.login("coinbase", revokes_on_reuse=True).token)
        asking = [asyncio.create_task(keeper.refresh(f"u{number}")) for number in range(LOGINS)]
        await asyncio.sleep(self.clocked.wire.latency / 2)
        assert len(self.clocked.wire.begun) == LOGINS
        self.store.lose()
        self.back_at = asyncio.get_running_loop().time() + GONE
        for task in asking:
            task.add_done_callback(lambda it: it.exception())

    async def until_it_is_back(self, *keepers: Keeper, share: float = 1.0) -> None:
        """The loops look, and callers ask, all the time; nobody is answered with what is spent."""
        end, loop = self.back_at - GONE * (1 - share), asyncio.get_running_loop()
        while loop.time() < end:
            for keeper in keepers:
                for verb in (keeper.tokens, keeper.refresh):
                    with pytest.raises(MeshRefreshError):
                        await verb("u0", max_wait=timedelta())
            await asyncio.sleep(min(2.0, end - loop.time()))
        if share == 1.0:
            self.store.come_back()

    async def assert_whole(self) -> None:
        """Every pair that came is in the store, and no token was sent twice."""
        wire, fake = self.clocked.wire, self.fake
        assert len(set(wire.tokens)) == len(wire.tokens)
        assert not fake.reuses
        held = []
        for number in range(LOGINS):
            row = await self.clocked.store.read(f"u{number}")
            assert row is not None
            held.append(open_row(self.clocked.store.cipher, row).account().tokens)
        assert not fake.lost(held)


LEASES = pytest.mark.parametrize("lease", [180.0, 15.0], ids=["within the lease", "longer than the lease"])


@LEASES
def test_a_store_that_is_gone_for_a_minute_has_every_new_pair_afterwards(lease: float, tmp_path: Path) -> None:
    """The keepers go on: nothing spent is sent by either, and everything is written within seconds."""

    async def story() -> None:
        outage = Outage(lease, tmp_path)
        async with outage.process("one") as one, outage.process("two") as two:
            await outage.begin(one)
            await outage.until_it_is_back(one, two)
            assert len(outage.clocked.wire.begun) == LOGINS
            await asyncio.sleep(6)
            assert outage.refreshed == LOGINS
            assert one.health().ok
            await outage.assert_whole()
            await asyncio.sleep(2 * HOUR.total_seconds())
        assert len(outage.clocked.wire.begun) >= 3 * LOGINS
        await outage.assert_whole()

    leaping(story())


@LEASES
def test_the_same_where_the_process_ends_while_the_store_is_gone(lease: float, tmp_path: Path) -> None:
    """What it could not write is in its spool, and the next one of its name brings it in before anything is sent."""

    async def story() -> None:
        outage = Outage(lease, tmp_path)

        async def first(two: Keeper) -> None:
            async with outage.process("one") as one:
                await outage.begin(one)
                await outage.until_it_is_back(one, two, share=0.3)

        async with outage.process("two") as two:
            with pytest.raises(LeftInSpool) as left:
                await first(two)
            assert isinstance(left.value, NotSaved)
            assert len(list((tmp_path / "one").iterdir())) == LOGINS
            async with outage.process("one") as one:
                await outage.until_it_is_back(one, two)
                assert len(outage.clocked.wire.begun) == LOGINS
                await asyncio.sleep(6)
                assert one.health().ok
                assert not list((tmp_path / "one").iterdir())
                await outage.assert_whole()
                await asyncio.sleep(2 * HOUR.total_seconds())
        assert len(outage.clocked.wire.begun) >= 3 * LOGINS
        await outage.assert_whole()

    leaping(story())


class SlowReads(SharedStore):
    """A store that answers each read after forty seconds."""

    async def read(self, login_id: str) -> Row | None:
        await asyncio.sleep(40)
        return await super().read(login_id)


@pytest.mark.parametrize("verb", ["tokens", "refresh"])
def test_a_caller_waits_for_all_that_a_store_does_as_long_as_it_said(verb: str) -> None:
    """Not as long as that for each read."""

    async def story() -> None:
        loop, scene = asyncio.get_running_loop(), Scene(Wire(always_fresh(LIFETIME)))
        store = SlowReads(scene.store)
        async with scene.process(store=store, min_interval=LIFETIME) as keeper:
            await keeper.add_many(scene.pairs(1, timedelta()))
            began = loop.time()
            with suppress(NotReadyInTime):
                await getattr(keeper, verb)("u0", max_wait=MINUTE)
            assert loop.time() - began <= 60 + 5

    leaping(story())

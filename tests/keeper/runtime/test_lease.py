"""The lease: one exchange at a time for a login, whoever wants it, and nothing sent under one that has run out."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import InvalidRequest, RetryPolicy
from mesh_refresh.keeper import AccountRefreshed, AccountState, NotReadyInTime
from mesh_refresh.keeper.limits.limiter import Limiter
from mesh_refresh.keeper.rules.transition import Transition
from mesh_refresh.keeper.runtime import claimer as reaching
from mesh_refresh.keeper.runtime.writer import swap
from mesh_refresh.stores import Busy, MemoryStore, Row
from tests.keeper.stage import EVER, HOUR, MINUTE, NOTHING, SECOND, FaultyStore, Stage, runtime_of

LEASE = timedelta(minutes=3)
DEADLINE = RetryPolicy().deadline
INSTANT = timedelta(microseconds=1)


def stalled(stage: Stage, what: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[str]]:
    """The client secret, which is asked for between the claim and the bytes; `what` happens there, the first time."""
    waiting = [what]

    async def secret() -> str:
        if waiting:
            await waiting.pop()()
        return stage.fake.client_secret

    return secret


async def test_what_is_left_of_the_lease_must_cover_the_deadline_right_before_the_bytes(stage: Stage) -> None:
    """A process that is stopped between claim and bytes sends nothing when it goes on, and blames nobody."""

    async def stop() -> None:
        stage.clock.advance(LEASE - DEADLINE + INSTANT)

    async with stage.keeper(secret=stalled(stage, stop), lease=LEASE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        before = await stage.account()
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=NOTHING)
        assert not stage.sent()
        assert await stage.account() == before
        await keeper.refresh("a")
    assert stage.sent() == 1
    assert not stage.notes.all or isinstance(stage.notes.all[0], AccountRefreshed)


async def test_a_lease_that_just_covers_the_deadline_is_enough(stage: Stage) -> None:
    """The bound is the deadline, not more."""

    async def pause() -> None:
        stage.clock.advance(LEASE - DEADLINE)

    async with stage.keeper(secret=stalled(stage, pause), lease=LEASE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.refresh("a")
    assert stage.sent() == 1


async def test_a_process_stopped_past_its_lease_sends_nothing_under_it(stage: Stage) -> None:
    """Somebody else has refreshed meanwhile; what the first had planned is dropped."""
    async with stage.keeper() as other:

        async def stop() -> None:
            stage.clock.advance(LEASE)
            assert await other.refresh_due() == 1  # finds it open, and stamps a wait on it
            stage.clock.advance(HOUR)
            assert await other.refresh_due() == 1

        async with stage.keeper(secret=stalled(stage, stop), lease=LEASE) as keeper:
            await keeper.add("a", stage.fake.login("coinbase").token)
            stage.clock.advance(HOUR * 0.9)
            fresh = await keeper.refresh("a")
    assert (await stage.account()).tokens == fresh
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_after_an_open_attempt_the_row_is_read_again_right_before_the_bytes(stage: Stage) -> None:
    """Whoever had it open may have written new tokens since: then nothing is sent."""
    async with stage.keeper() as other:
        login = stage.fake.login("coinbase")

        async def written() -> None:
            await other.add("a", login.again()[0])

        async with stage.keeper(secret=stalled(stage, written)) as keeper:
            await keeper.add("a", login.token)
            stage.clock.advance(HOUR)
            await stage.abandoned()
            await keeper.refresh_due()
            assert (await stage.account()).unknown_since is not None
            stage.clock.advance(HOUR)
            await keeper.refresh_due()
            assert not stage.sent()
    assert (await stage.account()).tokens.refresh_token == login.live[0].refresh_token
    await stage.assert_whole()


async def test_two_keepers_on_one_store_never_refresh_a_login_twice(stage: Stage) -> None:
    """Each of thirty logins is exchanged once a round by one of them; no reuse is detected."""
    async with (
        stage.keeper(background=True, concurrency=7) as keeper,
        stage.keeper(background=True, concurrency=7),
    ):
        for number in range(30):
            await keeper.add(f"u{number}", stage.fake.login("coinbase", revokes_on_reuse=True).token)
        for round_ in range(1, 6):
            stage.clock.advance(HOUR * 0.9)
            await stage.notes.until(AccountRefreshed, 30 * round_)
            assert stage.sent() == 30 * round_
    await stage.assert_whole()


async def test_callers_of_two_keepers_share_an_exchange_through_the_store(stage: Stage) -> None:
    """One sends, the other waits for the lease and finds the fresh tokens."""
    async with stage.keeper() as one, stage.keeper() as other:
        await one.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        found = await asyncio.gather(*(keeper.tokens("a") for keeper in (one, other) * 10))
    assert len({tokens.access_token for tokens in found}) == 1
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_the_exact_second_of_a_lease(stage: Stage) -> None:
    """Until its end nobody else gets the login; from that very moment on, somebody may."""
    async with stage.keeper(lease=LEASE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.store.claim_one("a", "somebody else", LEASE)
        stage.clock.advance(LEASE - INSTANT)
        assert await keeper.refresh_due() == 0
        stage.clock.advance(INSTANT)
        assert await keeper.refresh_due() == 1
    assert (await stage.account()).unknown_since == stage.now
    assert not stage.sent()


async def test_nobody_refreshes_without_the_lease_however_long_they_wait(stage: Stage) -> None:
    """A caller is told when to ask again."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.store.claim_one("a", "somebody else", LEASE)
        for verb in (keeper.tokens, keeper.refresh):
            with pytest.raises(NotReadyInTime) as late:
                await verb("a", max_wait=timedelta(milliseconds=20))
            assert late.value.retry_at == stage.now + LEASE
    assert not stage.sent()


async def test_a_late_settle_leaves_the_lease_of_somebody_else_alone(stage: Stage) -> None:
    """It writes its new pair, whoever has the lease now, and gives back nothing that it does not own."""
    async with stage.keeper(lease=LEASE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        stage.clock.advance(LEASE)
        await stage.store.claim_one("a", "somebody else", LEASE)
        gate.release()
        await caller
        assert await stage.store.claim_one("a", "a third", LEASE) == Busy(LEASE)
    await stage.assert_whole()


async def test_a_claim_takes_no_more_logins_than_there_are_free_slots(stage: Stage) -> None:
    """What is leased and waits for a place would run out of its lease there."""
    async with stage.keeper(background=True, concurrency=3) as keeper:
        for number in range(10):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
        gate = stage.fake.hold(times=None)
        stage.clock.advance(2 * HOUR)
        await gate.arrivals(3)
        summary = await keeper.summary()
        assert (summary.leased, summary.in_flight) == (3, 3)
        gate.release()
        await stage.notes.until(AccountRefreshed, 10)
    assert stage.fake.max_in_flight == 3
    await stage.assert_whole()


async def test_the_claim_is_written_before_the_request(stage: Stage) -> None:
    """A crash with the request out is seen by the next process: the attempt is open."""
    async with stage.keeper(lease=LEASE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        gate = stage.fake.hold()
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        assert isinstance(await stage.store.claim_one("a", "somebody else", LEASE), Busy)
        assert (await stage.login()).attempt == 1
        gate.release()
        await caller
        row = await stage.store.claim_one("a", "somebody else", LEASE)
    assert row is not None
    assert not isinstance(row, Busy)
    assert not row.open_attempt


async def test_a_lease_that_is_no_longer_than_the_deadline_is_refused(stage: Stage) -> None:
    """A login must not be given to somebody else while its exchange may be under way."""
    with pytest.raises(InvalidRequest, match="lease"):
        async with stage.keeper(lease=MINUTE, retry=RetryPolicy(deadline=MINUTE)):
            pass


async def test_a_caller_waits_for_the_lease_of_an_exchange_that_ends_in_time(stage: Stage) -> None:
    """Another process answers its own request first; then the caller has the fresh tokens without one."""
    async with stage.keeper() as one, stage.keeper() as other:
        await one.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        gate = stage.fake.hold()
        first = asyncio.create_task(one.tokens("a"))
        await gate.entered.wait()
        second = asyncio.create_task(other.tokens("a", max_wait=EVER))
        await asyncio.sleep(0)
        gate.release()
        assert await second == await first
    assert (await stage.account()).state is AccountState.ACTIVE
    assert stage.sent() == 1


async def test_a_login_that_the_rate_hid_is_not_left_behind(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate allows none at the look, and one a moment later: what is due at this moment includes that login."""
    right, looks = Limiter.slots, 0

    def places(limiter: Limiter, now: float) -> tuple[int, int, dict[str, int]]:
        nonlocal looks
        found = right(limiter, now)
        if found[0] == 0 and not limiter.in_flight:
            looks += 1
            if looks == 2:  # the first may have begun while the exchange before was under way
                stage.clock.advance(SECOND)
        return found

    async with stage.keeper(rate=1.0) as keeper:
        for login_id in ("first", "second"):
            await keeper.add(login_id, stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        monkeypatch.setattr(Limiter, "slots", places)
        assert await keeper.refresh_due() == 2
    assert looks >= 2
    assert stage.sent() == 2


async def test_who_waits_for_another_processs_lease_takes_no_share_of_the_rate(stage: Stage) -> None:
    """A login that is leased elsewhere, for hours perhaps, does not stop the others."""
    async with stage.keeper(rate=1.0) as keeper:
        for login_id in ("taken", "free"):
            await keeper.add(login_id, stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.store.claim_one("taken", "somebody else", LEASE)
        for _ in range(5):
            with pytest.raises(NotReadyInTime, match="another process"):
                await keeper.tokens("taken", max_wait=NOTHING)
        await keeper.tokens("free", max_wait=HOUR)
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_a_login_that_is_taken_is_claimed_again_once_it_was_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that no claim could get it: whoever waits reads the row, and leaves places and rate to others."""
    monkeypatch.setattr(reaching, "_LOOK_AGAIN", 0.001)
    store = Counting(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        row = await stage.store.claim_one("a", "somebody else", LEASE)
        assert isinstance(row, Row)
        caller = asyncio.create_task(keeper.tokens("a", max_wait=EVER))
        await store.was_asked("read", 9)
        claims = store.asked["claim_one"]
        await store.was_asked("read", 20)
        assert store.asked["claim_one"] == claims == 1
        await stage.store.swap(row, owner="somebody else")
        assert (await caller).access_token
    assert store.asked["claim_one"] == 2
    assert stage.sent() == 1
    await stage.assert_whole()


class Counting(FaultyStore):
    """Counts what it is asked."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__(of)
        self.asked: Counter[str] = Counter()

    def _at_risk(self, name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        call = super()._at_risk(name, verb)

        async def counted(*args: Any, **options: Any) -> Any:
            self.asked[name] += 1
            self._more.set()
            return await call(*args, **options)

        return counted

    async def was_asked(self, name: str, count: int) -> None:
        """Wait until the verb was asked so often."""
        while self.asked[name] < count:
            self._more.clear()
            await self._more.wait()


async def test_a_write_that_is_repeated_gives_back_no_later_lease(stage: Stage) -> None:
    """Nobody saw that it was done, and the same process has claimed the login again since, and may be sending."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        core = runtime_of(keeper)
        row = await stage.store.claim_one("a", core.owner, LEASE)
        assert isinstance(row, Row)
        for number in (1, 2):
            await swap(core, core.open_row(row), lambda login, _: Transition(login), NOTHING, mine=lambda it: it == 1)
            if number == 1:
                assert isinstance(await stage.store.claim_one("a", core.owner, LEASE), Row)
    assert isinstance(await stage.store.claim_one("a", "somebody else", LEASE), Busy)

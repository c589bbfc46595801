"""The wall clock put forward or back: bounds are kept, and everything goes on within a look."""

import asyncio
from datetime import timedelta

import pytest

from mesh_refresh.keeper import AccountRefreshed, AccountState, copy_fleet
from mesh_refresh.stores import MemoryStore
from mesh_refresh.testing import Fault, Replies, Sharing
from tests.keeper.stage import HOUR, MINUTE, NOTHING, SECOND, FaultyStore, Stage

COUNT = 40


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
async def test_a_jump_of_an_hour_keeps_the_bounds_and_goes_on(stage: Stage, jump: timedelta) -> None:
    """Logins that were in balance are all exchanged again, a few at a time; none is forgotten."""
    async with stage.keeper(background=True, concurrency=4) as keeper:
        for number in range(COUNT):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.notes.until(AccountRefreshed, COUNT)
        stage.clock.advance(MINUTE)
        stage.clock.jump(jump)
        await stage.notes.until(AccountRefreshed, 2 * COUNT)
        stage.clock.advance(2 * HOUR)
        await stage.notes.until(AccountRefreshed, 3 * COUNT)
        for number in range(COUNT):
            assert stage.fake.is_live((await keeper.tokens(f"u{number}")).access_token)
    assert stage.fake.max_in_flight <= 4
    assert stage.sent() == 3 * COUNT
    await stage.assert_whole()


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
async def test_a_lease_does_not_move_with_the_wall_clock(stage: Stage, jump: timedelta) -> None:
    """It is told by the store's own clock."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await stage.store.claim_one("a", "somebody else", timedelta(minutes=3))
        stage.clock.jump(jump)
        stage.clock.advance(2 * MINUTE)
        assert await keeper.refresh_due() == 0
        assert not stage.sent()


async def test_a_clock_put_back_does_not_shorten_the_wait_after_an_unknown_outcome(stage: Stage) -> None:
    """The settling time passes once more, at the least."""
    async with stage.keeper(resend_after=2 * MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.cut())
        await keeper.refresh_due()
        stage.clock.jump(-HOUR)
        assert await keeper.refresh_due() == 0
        stage.clock.advance(2 * MINUTE - timedelta(seconds=1))
        await keeper.refresh_due()
        assert stage.sent() == 1
        await stage.pass_by(keeper, 5 * MINUTE)
    assert stage.sent() == 2
    await stage.assert_whole()


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
async def test_failures_are_still_paced_after_a_jump(stage: Stage, jump: timedelta) -> None:
    """A broker that fails is not asked at every look."""
    async with stage.keeper(backoff=MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.status(423, {"status": "locked"}), times=None)
        await keeper.refresh_due()
        stage.clock.jump(jump)
        before = stage.sent()
        await stage.pass_by(keeper, 300 * SECOND, step=SECOND)
        assert 1 <= stage.sent() - before <= 8
        stage.fake.heal()
        await stage.pass_by(keeper, 30 * MINUTE)
    assert (await stage.account()).state is AccountState.ACTIVE
    assert (await stage.account()).failures == 0
    await stage.assert_whole()


async def test_small_steps_of_the_clock_change_nothing(stage: Stage) -> None:
    """NTP puts it back by a second every now and then: nobody is exchanged for that."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(60):
            stage.clock.advance(1)
            stage.clock.jump(-1)
            assert await keeper.refresh_due() == 0


async def test_a_clock_put_right_during_an_exchange_leaves_no_sibling_due_in_years(stage: Stage) -> None:
    """The login was claimed as a clock saw it that was years ahead; what is written counts all times anew."""
    login = stage.fake.login("coinbase", accounts=2, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED)
    years = timedelta(days=3650)
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", login.tokens)
        stage.clock.jump(years)
        await keeper.refresh_due()
        stage.clock.advance(2 * HOUR)
        async with asyncio.TaskGroup() as group:
            gate = stage.fake.hold(after_rotation=True)
            refreshing = group.create_task(keeper.refresh("a", "acc-1"))
            await gate.entered.wait()
            stage.clock.jump(-years)
            gate.release()
        assert stage.fake.is_live(refreshing.result().access_token)
        due = [account.due_at for account in (await stage.login()).accounts]
        assert all(moment is not None and moment <= stage.now + HOUR for moment in due), due
        sent = stage.sent()
        assert await keeper.refresh_due() == 1
        assert stage.sent() == sent + 1
    await stage.assert_whole()


async def test_a_clock_put_right_during_a_copy_leaves_nothing_due_in_years(stage: Stage) -> None:
    """The login is read by a clock that is years ahead, and written into the new store by one that is right."""
    years, target = timedelta(days=3650), MemoryStore(clock=stage.clock)
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.jump(years)
        await keeper.refresh_due()
    source = FaultyStore(stage.store)

    async def put_right() -> None:
        stage.clock.jump(-years)

    source.meanwhile["claim_one"] = put_right
    await copy_fleet(source, target, clock=stage.clock)
    assert not source.meanwhile
    moved = await target.get("a")
    assert moved is not None
    assert all(it.due_at is not None and it.due_at <= stage.now for it in moved.accounts)

"""Order of writes: whatever overtakes whatever, the newest live tokens are in the store at the end."""

import asyncio
from datetime import timedelta

from attrs import evolve

from mesh_refresh.keeper import AccountRefreshed, AccountState, Keeper, ReconnectRequired
from mesh_refresh.testing import Fault, Sharing
from tests.keeper.stage import HOUR, MINUTE, FaultyStore, Stage

LEASE = timedelta(minutes=3)


async def outlives(task: "asyncio.Task[object]") -> None:
    """Wait for the end of a caller whose login was changed meanwhile; it may get tokens, or an error of the keeper."""
    await asyncio.wait((task,))


async def test_a_swap_that_raised_and_landed_is_settled_once(stage: Stage) -> None:
    """The connection to the database broke behind the commit: the second try finds its own work, and tells once."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        store.mute = ["swap"]
        fresh = await keeper.refresh("a")
        await stage.notes.until(AccountRefreshed)
    account = await stage.account()
    assert account.tokens == fresh
    assert account.failures == 0
    assert len(stage.notes.all) == 1
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_a_failure_whose_swap_landed_unseen_counts_once(stage: Stage) -> None:
    """Otherwise one refusal would park the account."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.refuse())
        store.mute = ["swap"]
        await keeper.refresh_due()
    account = await stage.account()
    assert (account.state, account.failures) == (AccountState.ACTIVE, 1)


async def test_nothing_is_told_of_what_was_not_written(stage: Stage) -> None:
    """The person reconnects while the second refusal is being written: nobody asks for that once more."""
    store = FaultyStore(stage.store)
    login = stage.fake.login("coinbase")
    async with stage.keeper(store=store) as keeper, stage.keeper() as other:
        await keeper.add("a", login.token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.refuse(), times=2)
        await keeper.refresh_due()
        stage.clock.advance(2 * MINUTE)
        store.meanwhile["swap"] = lambda: other.add("a", login.again())
        await keeper.refresh_due()
    assert (await stage.account()).state is AccountState.ACTIVE
    assert not stage.notes.of(ReconnectRequired)


async def test_what_is_written_at_the_second_try_is_told(stage: Stage) -> None:
    """Somebody else wrote between, and what was to be told is still so."""
    login = stage.fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH)
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper() as other:
        await keeper.add("a", login.tokens[0])
        store.meanwhile["swap"] = lambda: other.add("a", login.tokens[1])
        await keeper.refresh("a", "acc-1")
        (event,) = await stage.notes.until(AccountRefreshed)
    assert event.account_id == "acc-1"
    assert len(stage.notes.all) == 1


async def test_a_settle_that_meets_another_write_is_merged_with_it(stage: Stage) -> None:
    """An account that was added between the read and the swap stays."""
    login = stage.fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH)
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper() as other:
        await keeper.add("a", login.tokens[0])
        store.meanwhile["swap"] = lambda: other.add("a", evolve(login.tokens[1], account_id="acc-3"))
        fresh = await keeper.refresh("a", "acc-1")
        accounts = (await stage.login()).accounts
    assert {account.tokens.account_id for account in accounts} >= {"acc-1", "acc-3"}
    assert (await stage.account("a", "acc-1")).tokens == fresh


async def test_an_account_added_during_an_exchange_stays(stage: Stage) -> None:
    """And so does what the exchange brings."""
    login = stage.fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens[0])
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a", "acc-1"))
        await gate.entered.wait()
        await keeper.add("a", login.tokens[1])
        gate.release()
        await caller
        await keeper.refresh("a", "acc-1")
        await keeper.refresh("a", "acc-2")
    await stage.assert_whole()


async def test_remove_beats_what_is_in_flight(stage: Stage) -> None:
    """The login does not come back with its reply."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        assert await keeper.remove("a")
        gate.release()
        await outlives(caller)
        assert type(caller.exception()).__name__ == "UnknownLogin"
        assert await stage.store.get("a") is None
        assert not [event for event in stage.notes.all if isinstance(event, AccountRefreshed)]


async def test_a_login_made_anew_takes_nothing_of_the_old_one(stage: Stage) -> None:
    """Another row epoch: removed and added again while the reply was on its way."""
    old, new = stage.fake.login("coinbase"), stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", old.token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        await keeper.remove("a")
        await keeper.add("a", new.token)
        gate.release()
        await outlives(caller)
        assert (await stage.account()).tokens.refresh_token in {new.token.refresh_token, new.live[0].refresh_token}
        assert (await stage.login()).accounts[1:] == ()
        await keeper.refresh("a")
    assert {lost.login for lost in await stage.lost()} == {old.id}


async def test_a_login_made_anew_with_the_same_token_takes_nothing_of_the_old_one(stage: Stage) -> None:
    """The epoch decides, not the string."""
    login = stage.fake.login("tdAmeritrade")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        gate = stage.fake.hold(Fault.refuse())
        caller = asyncio.create_task(keeper.refresh("a", max_wait=timedelta(milliseconds=1)))
        await gate.entered.wait()
        await keeper.remove("a")
        await keeper.add("a", login.token)
        before = await stage.account()
        gate.release()
        await outlives(caller)
    assert await stage.account() == before


async def past_its_lease(stage: Stage, keeper: Keeper, other: Keeper) -> None:
    """`other` finds the attempt of `keeper` open, and waits until it may send."""
    stage.clock.advance(LEASE)
    assert await other.refresh_due() == 1
    stage.clock.advance(HOUR)
    assert await other.refresh_due() == 1


async def test_a_late_success_of_an_earlier_attempt_overwrites_nothing_newer(stage: Stage) -> None:
    """Its pair was the live one when it left, and is spent by now."""
    async with stage.keeper(lease=LEASE) as keeper, stage.keeper() as other:
        await keeper.add("a", stage.fake.login("coinbase", grace=24 * HOUR).token)
        stage.clock.advance(HOUR * 0.9)
        gate = stage.fake.hold(after_rotation=True)
        late = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        await past_its_lease(stage, keeper, other)
        stage.clock.advance(MINUTE)
        newest = await other.refresh("a")
        gate.release()
        await late
    assert (await stage.account()).tokens == newest
    assert not await stage.lost()
    assert not stage.fake.reuses


async def test_a_late_success_counts_where_the_token_that_it_spent_is_still_the_stored_one(stage: Stage) -> None:
    """Somebody else has found the attempt open and waits: these are the only live tokens."""
    async with stage.keeper(lease=LEASE) as keeper, stage.keeper() as other:
        await keeper.add("a", stage.fake.login("coinbase", revokes_on_reuse=True).token)
        stage.clock.advance(HOUR * 0.9)
        gate = stage.fake.hold(after_rotation=True)
        late = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        stage.clock.advance(LEASE)
        assert await other.refresh_due() == 1
        assert (await stage.account()).unknown_since is not None
        gate.release()
        await late
        account = await stage.account()
        assert (account.unknown_since, account.resend_not_before, account.failures) == (None, None, 0)
        assert await other.tokens("a") == account.tokens
    assert stage.sent() == 1
    await stage.assert_whole()


async def test_a_refusal_of_a_token_that_somebody_has_replaced_parks_nobody(stage: Stage) -> None:
    """It counts only while the refused token is the stored one."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        gate = stage.fake.hold(Fault.refuse())
        caller = asyncio.create_task(keeper.refresh("a", max_wait=timedelta(milliseconds=1)))
        await gate.entered.wait()
        await keeper.add("a", login.again()[0])
        before = await stage.account()
        gate.release()
        await outlives(caller)
    assert await stage.account() == before
    await stage.assert_whole()


async def test_a_late_refusal_of_a_token_that_another_process_has_rotated_parks_nobody(stage: Stage) -> None:
    """The account's epoch is the same: it is the token that tells."""
    async with stage.keeper(lease=LEASE) as keeper, stage.keeper() as other:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(HOUR * 0.9)
        gate = stage.fake.hold(Fault.refuse())
        late = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        await past_its_lease(stage, keeper, other)
        before = await stage.account()
        gate.release()
        await outlives(late)
    assert await stage.account() == before
    assert before.failures == 0
    assert not await stage.lost()
    assert not stage.fake.reuses


async def test_an_unknown_outcome_of_a_token_that_somebody_has_replaced_stamps_no_wait(stage: Stage) -> None:
    """Nothing is known to be wrong with the new ones."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        gate = stage.fake.hold(Fault.cut())
        caller = asyncio.create_task(keeper.refresh("a", max_wait=timedelta(milliseconds=1)))
        await gate.entered.wait()
        await keeper.add("a", login.again()[0])
        gate.release()
        await outlives(caller)
    account = await stage.account()
    assert (account.resend_not_before, account.unknown_since, account.failures) == (None, None, 0)

"""Logins that a store has lost: where a copy says so, and how they come home to the store that they were moved from."""

import asyncio
from datetime import timedelta

import pytest
from attrs import evolve

from mesh_refresh import InvalidRequest, MfaPending
from mesh_refresh.keeper import (
    AccountState,
    Copied,
    LoginMoved,
    NotReadyInTime,
    Reason,
    ReconnectNeeded,
    TakenBack,
    Way,
    take_back,
)
from mesh_refresh.stores import Cipher, LoginNames, MemoryStore, Store, StoreUnavailable
from tests.keeper.stage import HOUR, FaultyStore, Once, Stage
from tests.keeper.transfer.test_copy_fleet import Interrupted, Steps, copied


async def taken(stage: Stage, target: Store | None, source: Store | None = None) -> TakenBack:
    return await take_back(source or stage.store, target, clock=stage.clock)


async def moved(stage: Stage, target: MemoryStore, *login_ids: str) -> None:
    async with stage.keeper() as keeper:
        for login_id in login_ids:
            await keeper.add(login_id, stage.fake.login("coinbase", access_lifetime=HOUR).token)
    assert (await copied(stage, target)).moved == len(login_ids)


# What a copy says of logins that the other store does not have.


async def test_what_was_removed_in_the_new_store_is_told_by_name(stage: Stage, target: MemoryStore) -> None:
    """Each run tells it, also of one for which something came; what came is kept where it is."""
    await moved(stage, target, "a", "b", "c")
    async with stage.keeper() as keeper:
        await keeper.add("c", stage.fake.login("coinbase").token)
    news = await stage.login("c")
    for login_id in "bc":
        await target.delete(login_id)
    for _ in range(2):
        assert await copied(stage, target) == Copied(gone=LoginNames(2, ("b", "c")))
    assert await stage.login("c") == news
    assert await target.read("b") is None


async def test_what_went_to_another_store_is_told_by_name(stage: Stage, target: MemoryStore) -> None:
    """A new store in the place of one that was lost has another id."""
    await moved(stage, target, "a", "b")
    new = MemoryStore(clock=stage.clock)
    for _ in range(2):
        assert await copied(stage, new) == Copied(elsewhere=LoginNames(2, ("a", "b")))
    assert not await new.read("a")


async def test_no_more_than_a_hundred_are_named(stage: Stage, target: MemoryStore) -> None:
    names = [f"{number:03}" for number in range(150)]
    await moved(stage, target, *names)
    assert (await copied(stage, MemoryStore(clock=stage.clock))).elsewhere == LoginNames(150, tuple(names[:100]))


async def test_a_login_that_went_on_from_the_new_store_is_found_where_it_is(stage: Stage, target: MemoryStore) -> None:
    """By its name, whatever store it went to at first; what came for it goes there."""
    await moved(stage, target, "a")
    third = MemoryStore(clock=stage.clock)
    assert (await copied(stage, third, target)).moved == 1
    assert await copied(stage, third) == Copied()
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
    assert await copied(stage, third) == Copied(taken_over=1)
    await third.delete("a")
    assert await copied(stage, third) == Copied(gone=LoginNames(1, ("a",)))


async def test_two_handles_of_one_store_are_one_store(stage: Stage) -> None:
    """Also where it has no login."""
    other = FaultyStore(stage.store)
    with pytest.raises(InvalidRequest, match="one store"):
        await copied(stage, other)
    with pytest.raises(InvalidRequest, match="the store itself"):
        await taken(stage, other)


# TakeBack back.


async def test_a_fleet_comes_back_from_a_store_that_is_lost(stage: Stage, target: MemoryStore) -> None:
    """Each account as after an exchange of unknown end: it is waited for, then the tokens are sent again."""
    await moved(stage, target, "a", "b")
    assert await taken(stage, None) == TakenBack(taken=2)
    assert await taken(stage, None) == TakenBack()
    async with stage.keeper() as keeper:
        assert (await keeper.summary()).moving == dict.fromkeys(Way, 0)
        account = await stage.account("a")
        assert account.unknown_since == stage.now
        assert account.resend_not_before is not None
        assert account.last_error == "taken back"
        assert (await keeper.tokens("a")).access_token == account.tokens.access_token, "it is good still"
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=timedelta())
        assert stage.sent() == 0
        stage.clock.advance(account.resend_not_before - stage.now)
        await keeper.refresh("a")
        await keeper.refresh("b")
    await stage.assert_whole()


async def test_every_account_of_a_login_is_marked(stage: Stage, target: MemoryStore) -> None:
    """Parked ones stay parked, one without anything to spend has nothing to be sent, and a question is answered."""
    async with stage.keeper() as keeper:
        login = stage.fake.login("vanguard", accounts=2, mfa=True)
        await keeper.add("a", login.tokens)
        with pytest.raises(MfaPending):
            await keeper.refresh("a", "acc-1")
        await copied(stage, target)
        await taken(stage, None)
        for account in (await stage.login()).accounts:
            assert (account.unknown_since, account.last_error) == (stage.now, "taken back")
        asked = await stage.account("a", "acc-1")
        assert asked.state is AccountState.MFA_REQUIRED
        assert asked.pending is not None
        assert asked.pending.answered, "a code may have been sent from the lost store"


async def test_tokens_that_may_not_be_sent_twice_are_not_sent(stage: Stage, target: MemoryStore) -> None:
    """The account is parked: only a new login of the person tells."""
    await moved(stage, target, "a")
    await take_back(stage.store, None, clock=stage.clock, may_resend=lambda _: False)
    account = await stage.account()
    assert (account.state, account.reason) == (AccountState.RECONNECT_REQUIRED, Reason.UNKNOWN)
    async with stage.keeper(strategies={"coinbase": Once()}) as keeper:
        stage.clock.advance(10 * HOUR)
        with pytest.raises(ReconnectNeeded):
            await keeper.refresh("a")
    assert stage.sent() == 0


async def test_what_the_other_store_holds_stays_there(stage: Stage, target: MemoryStore) -> None:
    """It is sent from there; what it lacks is taken, also where it is another store than the one that they went to."""
    await moved(stage, target, "a", "b")
    await target.delete("b")
    assert await taken(stage, target) == TakenBack(taken=1, held=LoginNames(1, ("a",)))
    assert (await stage.login("b")).moving is None
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        with pytest.raises(LoginMoved):
            await keeper.refresh("a")
        await other.refresh("a")
    assert await taken(stage, MemoryStore(clock=stage.clock)) == TakenBack(taken=1)


async def test_what_was_on_its_way_out_of_a_lost_store_comes_home_too(stage: Stage, target: MemoryStore) -> None:
    """The copy was killed in the midst, and the store that it came from is gone."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
    with pytest.raises(Interrupted):
        await copied(stage, target, Steps(4).of(stage.store))
    moving = await target.get("a")
    assert moving is not None
    assert moving.moving is not None
    assert await taken(stage, stage.store, target) == TakenBack(held=LoginNames(1, ("a",)))
    assert await taken(stage, None, target) == TakenBack(taken=1)
    stage.clock.advance(2 * HOUR)
    async with stage.keeper(store=target) as other:
        await other.refresh("a")


async def test_a_lost_store_that_comes_back_is_older_only_where_it_is(stage: Stage, target: MemoryStore) -> None:
    """It had gone on: its pair wins when the fleet is copied back; where the old store went on, that one's does."""
    await moved(stage, target, "a", "b")
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        fresh = await other.refresh("a")
        await taken(stage, None)
        stage.clock.advance(2 * HOUR)
        newer = await keeper.refresh("b")
        assert (await copied(stage, stage.store, target)).moved == 2
        assert (await stage.account("a")).tokens.refresh_token == fresh.refresh_token
        assert (await stage.account("b")).tokens == newer
        stage.clock.advance(2 * HOUR)
        await keeper.refresh("a")
    await stage.assert_whole()


async def test_what_cannot_be_read_is_named_and_left(stage: Stage, target: MemoryStore) -> None:
    """The others are taken."""
    await moved(stage, target, "a", "b")
    row = await stage.store.read("a")
    assert row is not None
    assert await stage.store.swap(evolve(row, sealed=Cipher([Cipher.generate_key()]).seal("text")))
    assert await taken(stage, None) == TakenBack(taken=1, unreadable=LoginNames(1, ("a",)))


async def test_a_login_that_is_written_meanwhile_is_read_again(stage: Stage, target: MemoryStore) -> None:
    """What came for it late is in it, marked as the rest."""
    await moved(stage, target, "a")
    store = FaultyStore(stage.store)
    async with stage.keeper() as keeper:
        added = stage.fake.login("coinbase").token
        store.meanwhile["swap"] = lambda: keeper.add("a", added)
        assert await taken(stage, None, store) == TakenBack(taken=1)
        assert (await stage.account()).tokens.refresh_token == added.refresh_token


async def test_a_login_that_is_copied_on_meanwhile_has_one_home(stage: Stage, target: MemoryStore) -> None:
    """Another run takes it back and moves it on, between this run's look at the other store and its write."""
    await moved(stage, target, "a")
    source, new = FaultyStore(stage.store), MemoryStore(clock=stage.clock)

    async def other_runs() -> None:
        assert await taken(stage, new) == TakenBack(1)
        stage.clock.advance(24 * HOUR)
        assert (await copied(stage, new)).moved == 1

    source.meanwhile["swap"] = other_runs
    assert await taken(stage, new, source) == TakenBack(held=LoginNames(1, ("a",)))
    homes = [login.moving is None for store in (stage.store, new) if (login := await store.get("a")) is not None]
    assert homes == [False, True]


@pytest.mark.parametrize("verb", ["rows", "read", "swap"])
async def test_a_store_that_fails_ends_it_and_it_begins_again(stage: Stage, target: MemoryStore, verb: str) -> None:
    """What was taken is taken, and nothing runs on."""
    await moved(stage, target, "a", "b")
    await target.delete("a")
    store, there = FaultyStore(stage.store), FaultyStore(target)
    (there if verb == "read" else store).lose(verb)
    before = asyncio.all_tasks()
    with pytest.raises(StoreUnavailable):
        await taken(stage, there, store)
    assert asyncio.all_tasks() == before
    assert await taken(stage, target) == TakenBack(taken=1, held=LoginNames(1, ("b",)))

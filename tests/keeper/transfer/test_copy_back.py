"""A fleet goes back to the store from which it came, and logins are made anew in the midst of a copy."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import Tokens
from mesh_refresh.keeper import Copied, Keeper, LoginMoved, Way, copy_fleet
from mesh_refresh.stores import Busy, MemoryStore, Row, Store
from mesh_refresh.testing import Sharing
from tests.keeper.stage import HOUR, MINUTE, FaultyStore, Stage
from tests.keeper.transfer.test_copy_fleet import LEASE, Interrupted, Steps, assert_whole
from tests.stores.open_memory import OpenMemory


async def copied(stage: Stage, source: Store, target: Store) -> Copied:
    return await copy_fleet(source, target, clock=stage.clock, wait=False)


async def test_a_fleet_that_comes_back_is_at_home_again(stage: Stage, target: MemoryStore) -> None:
    """With what the other store has made of it, and as often as somebody likes."""
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await keeper.add("b", stage.fake.login("etoro", accounts=3, access_lifetime=HOUR).tokens)
        stage.clock.advance(2 * HOUR)
        assert await keeper.refresh_due() == 2
        for here, there, works, waits in [
            (stage.store, target, other, keeper),
            (target, stage.store, keeper, other),
        ] * 3:
            assert (await copied(stage, here, there)).moved == 2
            assert await copied(stage, here, there) == Copied()
            assert (await works.summary()).moving == dict.fromkeys(Way, 0)
            for _ in range(2):
                stage.clock.advance(2 * HOUR)
                assert await waits.refresh_due() == 0
                assert await works.refresh_due() == 2
            with pytest.raises(LoginMoved):
                await waits.tokens("a")
    await assert_whole(stage, stage.store)


async def late(stage: Stage, keeper: Keeper, store: FaultyStore) -> "asyncio.Task[Tokens]":
    """A refresh whose keeper has lost the store, and then its lease; it can be moved afterwards."""
    store.lose("swap")
    caller = asyncio.create_task(keeper.refresh("a"))
    await store.has_failed("swap")
    stage.clock.advance(LEASE)
    return caller


@pytest.mark.parametrize("refreshed", [False, True])
async def test_a_late_reply_does_not_stand_in_the_way(stage: Stage, target: MemoryStore, *, refreshed: bool) -> None:
    """It is of an exchange before the first move: it counts where nothing has come of any since, and else no more."""
    store, home = FaultyStore(stage.store), stage.store
    async with stage.keeper(store=store) as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR, grace=10 * HOUR).token)
        for _ in range(3):  # so that its attempts have high numbers
            stage.clock.advance(HOUR)
            await keeper.refresh("a")
        caller = await late(stage, keeper, store)
        await copied(stage, home, target)
        stage.clock.advance(HOUR)
        assert (await copied(stage, home, target)).moved == 1
        if refreshed:
            await other.refresh("a")
        assert (await copied(stage, target, home)).moved == 1
        before = (await stage.account()).tokens
        store.come_back()
        caller.cancel()
    # Whoever leaves the keeper waits until the late pair is written.
    after = (await stage.account()).tokens
    assert (after == before) is refreshed
    assert stage.fake.is_live(after.refresh_token)
    stage.clock.advance(HOUR)
    async with stage.keeper() as keeper:
        await keeper.refresh("a")
    assert not stage.fake.reuses


async def test_what_came_while_it_was_away_comes_back_with_it(stage: Stage, target: MemoryStore) -> None:
    """It was added where the login was no more, and no run has taken it over before the way back."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.token)
        await copied(stage, stage.store, target)
        await other.refresh("a")
        login.again()
        await keeper.add("a", login.token)
        assert (await copied(stage, target, stage.store)).moved == 1
        assert (await stage.account()).tokens.refresh_token == login.token.refresh_token
        await keeper.refresh("a")
    await assert_whole(stage, stage.store)


async def test_what_is_no_news_does_not_come_back_as_such(stage: Stage, target: MemoryStore) -> None:
    """It was added to both stores, and the person has logged in once more since at the one where the login is."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.token)
        await copied(stage, stage.store, target)
        login.again()
        for each in (other, keeper):
            await each.add("a", login.token)
        login.again()
        await other.add("a", login.token)
        assert (await copied(stage, target, stage.store)).moved == 1
        assert (await stage.account()).tokens.refresh_token == login.token.refresh_token
    await assert_whole(stage, stage.store)


@pytest.mark.parametrize("at", range(1, 16))
async def test_the_way_back_can_be_interrupted_too(stage: Stage, target: MemoryStore, at: int) -> None:
    """After any step; then one store at the most exchanges, and a second run ends it."""
    steps = Steps(at)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await keeper.refresh("a")
        await copied(stage, stage.store, target)
        await other.refresh("a")
        try:
            await copied(stage, steps.of(target), steps.of(stage.store))
        except Interrupted:
            stage.clock.advance(LEASE)
        sent = stage.sent()
        stage.clock.advance(2 * HOUR)
        assert await keeper.refresh_due() + await other.refresh_due() <= 1
        assert stage.sent() <= sent + 1
        await copied(stage, target, stage.store)
        stage.clock.advance(2 * HOUR)
        assert await other.refresh_due() == 0
        assert await keeper.refresh_due() == 1
    await assert_whole(stage, stage.store)


async def test_a_copy_that_was_given_up_does_not_hold_up_the_way_back(stage: Stage, target: MemoryStore) -> None:
    """A login that never left is no matter of the copy from where it was to go."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await interrupted_before_the_mark(stage, target)
        assert await copied(stage, target, stage.store) == Copied()
        await keeper.refresh("a")
    await assert_whole(stage, stage.store)


async def test_a_login_that_is_removed_in_the_midst_of_a_copy_is_not_waited_for(
    stage: Stage, target: MemoryStore
) -> None:
    """What arrived of it comes from the very store to which it is to go, and that has it no more."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await interrupted_before_the_mark(stage, target)
        await keeper.remove("a")
    done = await copied(stage, target, stage.store)
    assert (done.left, done.gone.first) == (0, ("a",))
    third = MemoryStore(clock=stage.clock, cipher=stage.store.cipher)
    assert (await copied(stage, target, third)).left == 1, "that store may have it yet"


@pytest.mark.parametrize("at", range(1, 12))
async def test_the_way_back_ends_a_copy_that_was_killed_after_any_step(
    stage: Stage, target: MemoryStore, at: int
) -> None:
    steps = Steps(at)
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        with suppress(Interrupted):
            await copied(stage, steps.of(stage.store), steps.of(target))
        stage.clock.advance(LEASE)
        assert (await copied(stage, target, stage.store)).left == 0
        stage.clock.advance(2 * HOUR)
        assert await keeper.refresh_due() == 1
    await assert_whole(stage, stage.store)


# Logins that are made anew.


async def interrupted_before_the_mark(stage: Stage, target: MemoryStore) -> None:
    """The login is on its way, and still at home in the old store."""
    with pytest.raises(Interrupted):
        await copied(stage, stage.store, Steps(1).of(target))
    row = await target.read("a")
    assert row is not None
    assert row.states == {Way.ARRIVING}
    stage.clock.advance(LEASE)


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("accounts", [1, 3])
async def test_who_logs_in_anew_in_the_midst_of_a_copy_is_what_is_moved(
    stage: Stage, target: MemoryStore, accounts: int, *, removed: bool
) -> None:
    """What a copy had written before is of the old login, and goes."""
    login = stage.fake.login("etoro", accounts=accounts, access_lifetime=HOUR, sharing=Sharing.PAIR_EACH)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.tokens)
        await interrupted_before_the_mark(stage, target)
        login.again()
        if removed:
            await keeper.remove("a")
        await keeper.add("a", login.tokens)
        assert (await copied(stage, stage.store, target)).moved == 1
        assert len((await other.login("a")).accounts) == accounts
        stage.clock.advance(2 * HOUR)
        assert await other.refresh_due() == 1
    await assert_whole(stage, target)


async def test_who_has_logged_in_at_the_new_store_already_is_one_account(stage: Stage, target: MemoryStore) -> None:
    """Neither has an id: as where both are added to one store, the later login stands in the place of the other."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", Tokens("coinbase", login.token.refresh_token, access_token=login.token.access_token))
        login.again()
        newer = Tokens("coinbase", login.token.refresh_token, access_token=login.token.access_token)
        await other.add("a", newer)
        assert (await copied(stage, stage.store, target)).moved == 1
        assert (await other.login("a")).account().tokens.refresh_token == newer.refresh_token
        await other.refresh("a")
    await assert_whole(stage, target)


async def test_what_was_added_to_both_stores_is_what_one_has_made_of_it(stage: Stage, target: MemoryStore) -> None:
    """One import into both: the old store has spent its token since, and has the only live one."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    token = login.token
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", token)
        await keeper.refresh("a")
        await other.add("a", token)
        assert (await copied(stage, stage.store, target)).moved == 1
        await other.refresh("a")
    await assert_whole(stage, target)


async def test_siblings_with_one_token_are_not_one_account(stage: Stage, target: MemoryStore) -> None:
    """Of which the new store has been given one already."""
    login = stage.fake.login("etoro", accounts=3, sharing=Sharing.ONE_PAIR)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.tokens)
        await other.add("a", login.tokens[0])
        assert (await copied(stage, stage.store, target)).moved == 1
        ids = [it.tokens.account_id for it in (await other.login("a")).accounts]
        assert sorted(map(str, ids)) == sorted(str(it.account_id) for it in login.tokens)


async def test_a_copy_that_sleeps_on_the_way_back_undoes_nothing(stage: Stage, target: MemoryStore) -> None:
    """It makes room for its numbers when another one has brought the login home, and a keeper has refreshed it."""
    home = FaultyStore(stage.store)

    async def meanwhile() -> None:
        stage.clock.advance(LEASE + MINUTE)
        assert (await copied(stage, target, stage.store)).moved == 1
        await keeper.refresh("a")

    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await keeper.refresh("a")
        await copied(stage, stage.store, target)
        await other.refresh("a")
        home.meanwhile["claim_one"] = meanwhile
        await copied(stage, target, home)
        assert (await stage.login()).moving is None
        await keeper.refresh("a")
    await assert_whole(stage, stage.store)


async def test_a_copy_that_slept_longer_than_its_lease_changes_nothing(stage: Stage, target: MemoryStore) -> None:
    """Another one has moved the login meanwhile, and it was refreshed: what the first one has is spent."""

    async def meanwhile() -> None:
        stage.clock.advance(LEASE + MINUTE)
        assert (await copied(stage, stage.store, target)).moved == 1
        await other.refresh("a")

    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", Tokens("coinbase", stage.fake.login("coinbase").token.refresh_token))
        await copied(stage, Watched(stage.store, meanwhile), target)
        assert len((await other.login("a")).accounts) == 1
        await other.refresh("a")
    await assert_whole(stage, target)


async def test_nor_does_it_bring_back_what_was_removed_since(stage: Stage, target: MemoryStore) -> None:
    """Its own lease is over: what it knows may be out of date."""

    async def meanwhile() -> None:
        stage.clock.advance(LEASE + MINUTE)
        await copied(stage, stage.store, target)
        await other.remove("a")

    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await copied(stage, Watched(stage.store, meanwhile), target)
        await copied(stage, stage.store, target)
    assert await target.read("a") is None


class Watched(FaultyStore):
    """Does something once it has given its first lease."""

    def __init__(self, of: MemoryStore, after: Callable[[], Any]) -> None:
        super().__init__(of)
        self._after: Callable[[], Any] | None = after

    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        claimed = await super().claim_one(login_id, owner, lease, sends=sends)
        if (after := self._after) is not None:
            self._after = None
            await after()
        return claimed


async def test_pauses_are_told_and_are_not_made_again(stage: Stage, target: MemoryStore) -> None:
    """Somebody who resumes the new fleet, and runs a copy once more for what came late, does not pause it by that."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await stage.store.pause("*")
        await stage.store.pause("coinbase", note="an outage", by="ann", at=stage.clock.now())
        await stage.store.pause("kraken")
        await target.pause("*")
        assert (await copied(stage, stage.store, target)).paused == ("coinbase", "kraken")
        assert set(await target.paused()) == {"*", "coinbase", "kraken"}
        assert (await target.paused())["coinbase"] == (await stage.store.paused())["coinbase"]
        for broker in await target.paused():
            await target.pause(broker, paused=False)
        assert await copied(stage, stage.store, target) == Copied()
        assert not await target.paused()


async def test_what_is_resumed_while_a_copy_waits_stays_resumed(
    stage: Stage, target: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at what is left again and again."""
    monkeypatch.setattr("mesh_refresh.keeper.transfer.copy_fleet._LONGEST_PAUSE", timedelta(milliseconds=1))

    def heard(done: Copied) -> None:
        if done.waits:
            target.resume_all()
            stage.clock.advance(HOUR)

    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await stage.store.pause("coinbase")
        await stage.store.claim_one("a", "somebody", LEASE)
        done = await copy_fleet(stage.store, target, clock=stage.clock, on_progress=heard)
    assert (done.moved, done.paused) == (1, ("coinbase",))
    assert not await target.paused()


async def test_a_lease_of_somebody_in_the_new_store_is_waited_for(stage: Stage, target: MemoryStore) -> None:
    """On the way back its numbers need room there; the lease in the old store is given back meanwhile."""
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await keeper.refresh("a")
        await copied(stage, stage.store, target)
        await stage.store.claim_one("a", "somebody", LEASE)
        assert (await copied(stage, target, stage.store)).left == 1
        assert not isinstance(await target.claim_one("a", "look", timedelta(), sends=False), Busy)
        await other.refresh("a")
        stage.clock.advance(LEASE)
        assert (await copied(stage, target, stage.store)).moved == 1
        await keeper.refresh("a")
    await assert_whole(stage, stage.store)

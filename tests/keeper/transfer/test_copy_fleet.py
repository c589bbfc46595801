"""Copying a fleet while keepers run on both stores: each login is exchanged in one of them, and none is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from attrs import evolve

from mesh_refresh import MfaPending, Tokens
from mesh_refresh.keeper import (
    AccountRefreshed,
    AccountState,
    Copied,
    Keeper,
    LoginMoved,
    MfaNeeded,
    NotReadyInTime,
    Reason,
    Way,
    copy_fleet,
)
from mesh_refresh.stores import Busy, Cipher, MemoryStore, Page, Row, Store
from mesh_refresh.stores.sealing import context_of_notice
from mesh_refresh.testing import Sharing
from mesh_refresh.testing.conformance.store_outbox import a_notice, claim, notify, outbox_of
from tests.keeper.stage import HOUR, FaultyStore, Once, Stage

LEASE = timedelta(minutes=3)


async def copied(stage: Stage, target: Store, source: Store | None = None) -> Copied:
    return await copy_fleet(source or stage.store, target, clock=stage.clock, wait=False)


async def assert_whole(stage: Stage, target: MemoryStore) -> None:
    """What is lost, if the new store is all that is held, and what was sent twice."""
    logins = [await target.get(row.login_id) for row in await target.rows(Page(1_000))]
    held = [account.tokens for login in logins if login is not None for account in login.accounts]
    assert not stage.fake.lost(held)
    assert not stage.fake.reuses
    assert not stage.fake.sent_twice()


async def test_a_fleet_goes_over_and_is_kept_fresh_there(stage: Stage, target: MemoryStore) -> None:
    """Every login, with all of its accounts and what is known of them, once; a second run finds nothing to do."""
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        for number in range(150):
            await keeper.add(f"{number:03}", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await keeper.refresh("007")
        before = await stage.account("007")
        assert await copied(stage, target) == Copied(moved=150)
        assert await copied(stage, target) == Copied()
        after = (await other.login("007")).account()
        assert (after.tokens, after.epoch, after.refreshed_at) == (before.tokens, before.epoch, before.refreshed_at)
        summary = await keeper.summary()
        assert (summary.moving[Way.MOVED], summary.due, summary.states) == (150, 0, {})
        stage.clock.advance(HOUR)
        assert await keeper.refresh_due() == 0
        assert await other.refresh_due() == 150
        assert (await other.summary()).moving == dict.fromkeys(Way, 0)
    await assert_whole(stage, target)


async def test_nobody_exchanges_a_moved_login_in_its_old_store(stage: Stage, target: MemoryStore) -> None:
    """Callers are told where to ask; nothing is sent."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await copied(stage, target)
        for call in (keeper.tokens, keeper.refresh, keeper.restart_mfa, lambda it: keeper.submit_mfa(it, "424242")):
            with pytest.raises(LoginMoved):
                await call("a")
    assert stage.sent() == 0


async def test_a_login_that_is_moved_between_a_look_and_a_claim_is_not_sent(stage: Stage, target: MemoryStore) -> None:
    """The caller had found it at home; the row that was claimed says otherwise."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        store.meanwhile["claim_one"] = lambda: copied(stage, target)
        with pytest.raises(LoginMoved):
            await keeper.refresh("a")
    assert stage.sent() == 0


async def test_a_login_at_work_is_left_for_later(stage: Stage, target: MemoryStore) -> None:
    """It is moved when the lease is back, with what the exchange brought."""
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase").token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        done = await copied(stage, target)
        assert (done.moved, done.left) == (0, 1)
        assert done.until is not None
        assert done.until <= stage.now + LEASE
        gate.release()
        fresh = await caller
        assert (await copied(stage, target)).moved == 1
        assert await other.tokens("a") == fresh
    await assert_whole(stage, target)


async def test_it_is_told_when_a_copy_only_waits(
    stage: Stage, target: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while there are others to move; and it goes on once the login is free."""
    monkeypatch.setattr("mesh_refresh.keeper.transfer.copy_fleet._LONGEST_PAUSE", timedelta(milliseconds=1))
    found: list[Copied] = []

    def heard(done: Copied) -> None:
        found.append(done)
        if done.waits:
            stage.clock.advance(HOUR)

    async with stage.keeper() as keeper:
        for name in "ab":
            await keeper.add(name, stage.fake.login("coinbase").token)
        assert isinstance(await stage.store.claim_one("a", "somebody", LEASE), Row)
        done = await copy_fleet(stage.store, target, clock=stage.clock, on_progress=heard)
    first = next(it for it in found if it.waits)
    assert (first.moved, first.left) == (1, 1)
    assert not found[0].waits
    assert done == Copied(moved=2)


async def test_what_nobody_knows_is_waited_for_first(stage: Stage, target: MemoryStore) -> None:
    """After an open attempt the login stays until it is settled, and keepers on the old store go on with it."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.token)
        await stage.abandoned()
        assert (await copied(stage, target)).left == 1
        account = await stage.account()
        assert account.unknown_since is not None
        assert account.resend_not_before is not None
        assert (await copied(stage, target)).left == 1
        stage.clock.advance(account.resend_not_before - stage.now)
        assert (await copied(stage, target)).moved == 1
        await other.refresh("a")
    await assert_whole(stage, target)


async def moved_without_its_reply(
    stage: Stage, target: MemoryStore, keeper: Keeper, store: FaultyStore
) -> "asyncio.Task[Tokens]":
    """A refresh whose keeper has lost the store, and then its lease; the login is moved, and the new pair is not."""
    store.lose("swap")
    caller = asyncio.create_task(keeper.refresh("a"))
    await store.has_failed("swap")
    stage.clock.advance(LEASE)
    await copied(stage, target)
    stage.clock.advance(HOUR)
    assert (await copied(stage, target)).moved == 1
    return caller


async def test_a_late_reply_is_taken_over_by_the_next_run(stage: Stage, target: MemoryStore) -> None:
    """Its keeper had lost the store and then its lease: the pair is kept in the old store, until it is taken over."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        caller = await moved_without_its_reply(stage, target, keeper, store)
        store.come_back()
        with pytest.raises(LoginMoved):
            await caller
        fresh = (await stage.account()).tokens
        assert (await other.login("a")).account().tokens != fresh
        assert await copied(stage, target) == Copied(taken_over=1)
        assert (await other.login("a")).account().tokens == fresh
        assert await copied(stage, target) == Copied()
        await other.refresh("a")
    await assert_whole(stage, target)


async def test_a_late_reply_brings_an_account_back_that_was_refused_since(stage: Stage, target: MemoryStore) -> None:
    """The spent token was sent from the new store, and refused."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR, revokes_on_reuse=False).token)
        caller = await moved_without_its_reply(stage, target, keeper, store)
        await other.refresh_due()
        stage.clock.advance(HOUR)
        await other.refresh_due()
        parked = (await other.login("a")).account()
        assert (parked.state, parked.reason) == (AccountState.RECONNECT_REQUIRED, Reason.REFUSED_AFTER_UNKNOWN)
        store.come_back()
        await asyncio.wait((caller,))
        assert (await copied(stage, target)).taken_over == 1
        await other.refresh("a")
        assert (await other.login("a")).account().state is AccountState.ACTIVE
        logins = [await target.get("a")]
        assert not stage.fake.lost([account.tokens for login in logins if login for account in login.accounts])


async def test_a_late_reply_is_no_news_where_the_new_store_went_on(stage: Stage, target: MemoryStore) -> None:
    """What has been rotated there since is not taken back."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("tdAmeritrade", access_lifetime=HOUR).token)
        caller = await moved_without_its_reply(stage, target, keeper, store)
        fresh = await other.refresh("a")
        store.come_back()
        await asyncio.wait((caller,))
        await copied(stage, target)
        assert (await other.login("a")).account().tokens == fresh


async def test_tokens_added_to_the_old_store_are_taken_over(stage: Stage, target: MemoryStore) -> None:
    """The person logged in anew, and the service still told the old keeper."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.token)
        await copied(stage, target)
        assert (await keeper.add("a", login.again())).changed
        with pytest.raises(LoginMoved):
            await keeper.tokens("a")
        assert await copied(stage, target) == Copied(taken_over=1)
        await other.refresh("a")
    await assert_whole(stage, target)


@pytest.mark.parametrize("accounts", [2, 3, 5])
async def test_several_accounts_added_to_the_old_store_are_taken_over_apart(
    stage: Stage, target: MemoryStore, accounts: int
) -> None:
    """Each has an epoch of its own: what a later exchange brings for one of them overwrites none of the others."""
    login = stage.fake.login("etoro", accounts=accounts, sharing=Sharing.PAIR_EACH)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.tokens[0])
        await copied(stage, target)
        assert (await keeper.add("a", login.again())).changed
        assert (await copied(stage, target)).taken_over == 1
        for number in range(1, accounts + 1):
            await other.refresh("a", f"acc-{number}")
    await assert_whole(stage, target)


async def test_a_login_of_the_new_store_counts_more(stage: Stage, target: MemoryStore) -> None:
    """The person logged in there already; accounts that only the old one has go over."""
    login = stage.fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.tokens)
        newer = evolve(login.tokens[0], refresh_token="newer-refresh-token", access_token="newer-access-token")
        await other.add("a", newer)
        assert (await copied(stage, target)).moved == 1
        accounts = {it.tokens.account_id: it.tokens for it in (await other.login("a")).accounts}
        assert accounts["acc-1"].refresh_token == "newer-refresh-token"
        assert accounts["acc-2"].refresh_token == login.tokens[1].refresh_token


async def test_a_question_goes_over_and_is_answered_there(stage: Stage, target: MemoryStore) -> None:
    """With its id."""
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        login = stage.fake.login("vanguard", mfa=True)
        await keeper.add("a", login.token)
        with pytest.raises(MfaPending):
            await keeper.refresh("a")
        (asked,) = await stage.notes.until(MfaNeeded)
        await copied(stage, target)
        await other.submit_mfa("a", login.code, pending_id=asked.pending_id)
    await assert_whole(stage, target)


async def test_a_login_that_another_copy_moves_meanwhile_is_moved_once(stage: Stage, target: MemoryStore) -> None:
    """The claim finds it moved, and leaves both stores as they are."""
    store = FaultyStore(stage.store)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase").token)
        store.meanwhile["claim_one"] = lambda: copied(stage, target)
        assert (await copied(stage, target, store)).moved == 0
        fresh = await other.refresh("a")
        await copied(stage, target)
        assert (await other.login("a")).account().tokens == fresh
    await assert_whole(stage, target)


async def test_pauses_go_over(stage: Stage, target: MemoryStore) -> None:
    """Nothing that was paused begins to be refreshed by the move."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", login.token)
        await stage.store.pause("coinbase")
        await copied(stage, target)
        stage.clock.advance(2 * HOUR)
        assert await other.refresh_due() == 0


async def test_notices_go_with_their_login(stage: Stage) -> None:
    """Sealed for the new store, dead ones too, in their order; one that no key opens stays, and holds up no login."""
    here, there = Cipher([Cipher.generate_key()]), Cipher([Cipher.generate_key()])
    source, target = MemoryStore(cipher=here, clock=stage.clock), MemoryStore(cipher=there, clock=stage.clock)
    async with stage.keeper(store=source) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
    blank = [a_notice(str(number)) for number in (3, 1, 2)]
    notices = [evolve(it, sealed=here.seal(f"text {it.id}", context_of_notice(it))) for it in blank]
    for it in (*notices, a_notice("forged")):
        await notify(source, it)
    assert await claim(source) == ["3"]
    assert await outbox_of(source).bury("3", "me")
    assert await claim(source) == ["1"]
    expected = await outbox_of(source).of("a")
    for moved in (1, 0):
        assert (await copied(stage, target, source)).moved == moved
        found = await outbox_of(target).of("a")
        assert [evolve(it, sealed=b"") for it in found] == [evolve(it, sealed=b"") for it in expected[:3]]
        assert [there.open(it.sealed, context_of_notice(it)) for it in found] == ["text 3", "text 1", "text 2"]
        assert [it.id for it in await outbox_of(source).of("a")] == ["forged"]


@pytest.mark.parametrize("fails", ["put", "drop"])
async def test_notices_are_moved_by_the_next_run_where_one_is_killed(
    stage: Stage, target: MemoryStore, fails: str
) -> None:
    """Where one is killed after the old store was marked, or between the two outboxes: none is lost or doubled."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
    notice = a_notice("1")
    await notify(stage.store, evolve(notice, sealed=stage.store.cipher.seal("text", context_of_notice(notice))))
    outbox = target.outbox if fails == "put" else stage.store.outbox
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outbox, fails, Mock(side_effect=Interrupted))
        with pytest.raises(Interrupted):
            await copied(stage, target)
    await copied(stage, target)
    assert [it.id for it in await outbox_of(target).of("a")] == ["1"]
    assert list(await outbox_of(stage.store).of("a")) == []
    login = await target.get("a")
    assert login is not None
    assert login.moving is None


async def test_notices_stay_where_the_new_store_does_not_have_their_login(stage: Stage, target: MemoryStore) -> None:
    """A run was killed right after the old store was marked, and the login was removed in the new one since."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
    notice = a_notice("1")
    await notify(stage.store, evolve(notice, sealed=stage.store.cipher.seal("text", context_of_notice(notice))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(target.outbox, "put", Mock(side_effect=Interrupted))
        with pytest.raises(Interrupted):
            await copied(stage, target)
    await target.delete("a")
    assert (await copied(stage, target)).gone.number == 1
    assert list(await outbox_of(target).of("a")) == []
    assert [it.id for it in await outbox_of(stage.store).of("a")] == ["1"]


STEPS = ("insert", "swap", "read", "claim_one", "rows", "paused")


@pytest.mark.parametrize("at", range(1, 8))
async def test_it_can_be_interrupted_at_any_point(stage: Stage, target: MemoryStore, at: int) -> None:
    """It is broken off after any step; then one store at the most exchanges, and a second run ends it."""
    steps = Steps(at)
    source, there = steps.of(stage.store), steps.of(target)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        with pytest.raises(Interrupted):
            await copied(stage, there, source)
        stage.clock.advance(LEASE)
        for each in (keeper, other):
            try:
                await each.refresh("a", max_wait=timedelta())
            except LookupError:
                continue
            except NotReadyInTime:
                if each.health().in_flight:  # its caller waits no more
                    await stage.notes.until(AccountRefreshed)
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        done = await copied(stage, target)
        while done.left:
            stage.clock.advance(HOUR)
            await keeper.refresh_due()
            done = await copied(stage, target)
        await other.refresh("a")
        assert (await stage.login()).moving is not None
    await assert_whole(stage, target)


async def test_a_copy_that_is_killed_leaves_no_open_attempt(stage: Stage, target: MemoryStore) -> None:
    """Its login is not held up, nor parked where nothing may be sent twice, once the lease has run out."""
    async with stage.keeper(strategies={"coinbase": Once()}) as keeper:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=HOUR).token)
        with pytest.raises(Interrupted):
            await copied(stage, target, Steps(3).of(stage.store))
        assert isinstance(await stage.store.claim_one("a", "somebody", LEASE), Busy)
        stage.clock.advance(LEASE)
        await keeper.refresh("a")
    assert stage.sent() == 1


async def test_what_is_open_when_a_copy_finds_it_stays_open_if_it_is_killed(stage: Stage, target: MemoryStore) -> None:
    """Whatever step it comes to: the exchange of unknown end is waited for."""
    for at in range(3, 7):
        login_id = str(at)
        async with stage.keeper() as keeper:
            await keeper.add(login_id, stage.fake.login("coinbase", access_lifetime=HOUR).token)
        await stage.store.claim_one(login_id, "killed", LEASE)
        stage.clock.advance(LEASE)
        with suppress(Interrupted):
            await copied(stage, target, Steps(at).of(stage.store))
        stage.clock.advance(LEASE)
        async with stage.keeper() as keeper:
            with pytest.raises(NotReadyInTime):
                await keeper.refresh(login_id, max_wait=timedelta())
    assert stage.sent() == 0


class Interrupted(BaseException):
    """As a Ctrl-C in the middle of it."""


class Steps:
    """Counts the verbs of both stores, and breaks off after the one with that number."""

    def __init__(self, at: int) -> None:
        self.left = at

    def of(self, store: MemoryStore) -> Any:
        return _Stepped(store, self)


class _Stepped:
    def __init__(self, store: MemoryStore, steps: Steps) -> None:
        self._store, self._steps = store, steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._counted(found) if name in STEPS else found

    def _counted(self, verb: Callable[..., Awaitable[Row]]) -> Callable[..., Awaitable[Row]]:
        async def call(*args: Any, **options: Any) -> Any:
            result = await verb(*args, **options)
            self._steps.left -= 1
            if self._steps.left == 0:
                raise Interrupted
            return result

        return call


async def test_a_login_that_is_new_there_takes_four_verbs(stage: Stage, target: MemoryStore) -> None:
    """A lease, an insert, the mark in the old store and the release: it is read in neither store again."""
    taken = []
    async with stage.keeper() as keeper:
        for many in (1, 2):
            for number in range(many):
                await keeper.add(f"{many} {number}", stage.fake.login("coinbase").token)
            steps = Steps(0)
            assert (await copied(stage, steps.of(target), steps.of(stage.store))).moved == many
            taken.append(-steps.left)
    others = 1  # the second time, the login that was moved the first time is looked at
    assert taken[1] - taken[0] == 4 + others


async def test_tokens_that_are_added_while_the_login_arrives_stay(stage: Stage, target: MemoryStore) -> None:
    """Between the insert and the release, in the new store: what is released is the login as it is by then."""
    fresh = stage.fake.login("coinbase").token
    store = FaultyStore(target)
    async with stage.keeper() as keeper, stage.keeper(store=target) as other:
        await keeper.add("a", stage.fake.login("coinbase").token)
        store.meanwhile["swap"] = lambda: other.add("a", fresh)
        assert (await copied(stage, store)).moved == 1
        found = await other.login("a")
        assert found.moving is None
        assert fresh.refresh_token in [account.tokens.refresh_token for account in found.accounts]

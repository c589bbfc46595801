"""Notices are handed to their handler until it has returned once."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import InvalidRequest, MfaPending, RetryPolicy
from mesh_refresh.keeper import (
    Keeper,
    MfaNeeded,
    Notice,
    NoticeKind,
    Policy,
    Reason,
    ReconnectNeeded,
    StopNotices,
    TryNoticeAgain,
)
from mesh_refresh.keeper.writing import rows_of
from mesh_refresh.logins import AccountState
from mesh_refresh.stores import Cipher, MemoryStore, NoticePage, NoticeRow, StoreUnavailable
from tests.keeper.stage import DAY, HOUR, MINUTE, NOTHING, SharedStore, Stage

ALL = NoticePage(1_000)
QUICK: dict[str, Any] = {"retry": RetryPolicy(deadline=timedelta(seconds=0.5)), "lease": timedelta(seconds=0.6)}
"""A lease that ends while a test runs."""


class Taker:
    """A handler that writes down each notice, and then does what it was told to, once for each entry."""

    def __init__(self, *does: Any) -> None:
        self.does = list(does)
        self.tried: list[Notice] = []
        self.taken: list[Notice] = []
        self.at_work: list[str] = []
        self._more = asyncio.Event()

    async def __call__(self, notice: Notice, /) -> None:
        self.tried.append(notice)
        self._more.set()
        assert notice.login_id not in self.at_work, "two notices of a login are out"
        self.at_work.append(notice.login_id)
        try:
            does = self.does.pop(0) if self.does else None
            if isinstance(does, Exception):
                raise does
            if does is not None:
                await does()
        finally:
            self.at_work.remove(notice.login_id)
        self.taken.append(notice)
        self._more.set()

    async def until(self, *, tried: int = 0, taken: int = 0) -> None:
        while len(self.tried) < tried or len(self.taken) < taken:
            self._more.clear()
            await self._more.wait()


async def when(holds: Callable[[], object]) -> None:
    """Wait until it holds: nothing tells."""
    while True:
        if holds():
            return
        await asyncio.sleep(0)


def kept(stage: Stage) -> list[Any]:
    """The notices as MemoryStore keeps them: the contract shows neither a lease nor all of them at once."""
    return list(stage.store.outbox._kept.values())  # noqa: SLF001


def tries(stage: Stage) -> int:
    return sum(it.row.tries for it in kept(stage))


async def given_back(stage: Stage) -> None:
    """Wait until no lease is on any notice."""
    await when(lambda: not any(it.lease.owner for it in kept(stage)))


async def settled(stage: Stage, *, waiting: int, dead: int = 0) -> None:
    """Wait until so many notices are in the outbox, and no more."""
    await when(lambda: sorted(it.row.is_dead for it in kept(stage)) == [False] * waiting + [True] * dead)


async def park(stage: Stage, login_id: str = "a", *, works: bool = False) -> None:
    """Write that the person must log in anew, or that all is well, as a keeper would."""
    login = await stage.login(login_id)
    state, reason = (AccountState.ACTIVE, None) if works else (AccountState.RECONNECT_REQUIRED, Reason.REFUSED)
    parked = tuple(evolve(account, state=state, reason=reason) for account in login.accounts)
    _, row, notices = rows_of(stage.store, login, login.having(parked), stage.now)
    assert len(notices) == 1
    assert await stage.store.swap(row, notices=notices)


async def parked(stage: Stage, *login_ids: str) -> None:
    """Logins with a notice each."""
    async with stage.keeper() as keeper:
        for login_id in login_ids:
            await keeper.add(login_id, stage.fake.login("coinbase").token)
            await park(stage, login_id)


async def test_a_person_is_told_and_all_is_well_again(stage: Stage) -> None:
    """Also by a keeper without a loop, and by an `add` that is news."""
    person, taker = stage.fake.login("coinbase"), Taker()
    async with stage.keeper(on_notice=taker, confirm_after=NOTHING, min_interval=NOTHING) as keeper:
        await keeper.add("a", person.token)
        await keeper.refresh("a")
        person.revoke()
        with pytest.raises(ReconnectNeeded):
            await keeper.refresh("a")
        await keeper.add("a", person.again())
        await keeper.add("a", person.tokens)
        await keeper.refresh("a")
        await taker.until(taken=2)
        await settled(stage, waiting=0)
    assert [notice.kind for notice in taker.taken] == [NoticeKind.RECONNECT_REQUIRED, NoticeKind.RECOVERED]
    assert taker.taken[0].reason is Reason.REFUSED


async def test_a_question_is_told_and_its_end(stage: Stage) -> None:
    """With the id that `submit_mfa` takes."""
    person, taker = stage.fake.login("vanguard", mfa=True), Taker()
    async with stage.keeper(on_notice=taker) as keeper:
        await keeper.add("a", person.tokens)
        with pytest.raises(MfaPending):
            await keeper.refresh("a")
        await taker.until(taken=1)
        (asked,) = await stage.notes.until(MfaNeeded)
        assert taker.taken[0].pending_id == asked.pending_id
        await keeper.submit_mfa("a", person.code, pending_id=asked.pending_id)
        await taker.until(taken=2)
    assert [notice.kind for notice in taker.taken] == ["mfa_needed", "mfa_done"]


async def test_an_ordinary_refresh_writes_no_notice(stage: Stage) -> None:
    """Neither does the first `add`: nothing but the row is written."""
    given: list[Sequence[NoticeRow]] = []

    class Spy(SharedStore):
        async def swap(self, *args: Any, notices: Sequence[NoticeRow] = (), **options: Any) -> bool:
            given.append(notices)
            return await super().swap(*args, notices=notices, **options)

    async with stage.keeper(store=Spy(stage.store), min_interval=NOTHING) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(3):
            await keeper.refresh("a")
        assert given == [(), (), ()]
        assert (await stage.login()).notice_sequence == 0


async def test_a_handler_that_raises_is_called_again(stage: Stage) -> None:
    """After a wait that grows, with the same id; other logins do not wait for that."""
    await parked(stage, "a", "b")
    taker = Taker(OSError("no"), None, OSError("no"))
    async with stage.keeper(on_notice=taker, backoff=timedelta(seconds=10)):
        await taker.until(tried=2)
        for wait in (10, 20):
            await given_back(stage)
            before = len(taker.tried)
            stage.clock.advance(timedelta(seconds=wait))
            await taker.until(tried=before + 1)
        await settled(stage, waiting=0)
    assert [notice.login_id for notice in taker.tried] == ["a", "b", "a", "a"]
    assert len({notice.id for notice in taker.tried}) == 2


async def test_the_notices_of_a_login_come_in_order_and_one_at_a_time(stage: Stage) -> None:
    """The first one is tried until it is taken. Those of others come meanwhile."""
    await parked(stage, "a", "b")
    await park(stage, "a", works=True)
    await park(stage, "a")
    taker = Taker(OSError("no"))
    async with stage.keeper(on_notice=taker):
        await taker.until(tried=2)
        await given_back(stage)
        stage.clock.advance(MINUTE)
        await taker.until(taken=4)
    mine = [notice for notice in taker.taken if notice.login_id == "a"]
    assert [notice.kind for notice in mine] == ["reconnect_required", "recovered", "reconnect_required"]
    assert [notice.sequence for notice in mine] == sorted(notice.sequence for notice in mine)


async def test_a_notice_is_given_up_after_three_days_and_holds_back_none(stage: Stage) -> None:
    """Counted from the first try: it may have waited for a handler for long."""
    await parked(stage, "a")
    await park(stage, "a", works=True)
    stage.clock.advance(9 * DAY)
    taker = Taker(*[OSError("no")] * 2)
    async with stage.keeper(on_notice=taker):
        await taker.until(tried=1)
        await given_back(stage)
        stage.clock.advance(3 * DAY)
        await taker.until(taken=1)
        await settled(stage, waiting=0, dead=1)
    assert [notice.kind for notice in taker.tried] == ["reconnect_required", "reconnect_required", "recovered"]


async def test_a_notice_that_ends_its_process_at_each_try_is_given_up(stage: Stage) -> None:
    """Nothing of such a try is written but the claim."""
    await parked(stage, "a")
    for _ in range(2):
        assert await stage.store.outbox.claim("a process that died", MINUTE, now=stage.now, limit=1)
        stage.clock.advance(7 * DAY)
    taker = Taker()
    async with stage.keeper(on_notice=taker):
        await settled(stage, waiting=0, dead=1)
    assert not taker.tried


async def test_a_handler_says_when_it_is_tried_again(stage: Stage) -> None:
    """Not sooner, and not later."""
    await parked(stage, "a")
    taker = Taker(TryNoticeAgain(HOUR))
    async with stage.keeper(on_notice=taker):
        await taker.until(tried=1)
        await given_back(stage)
        (row,) = await stage.store.outbox.page(ALL)
        assert row.due_at == stage.now + HOUR
        stage.clock.advance(HOUR)
        await taker.until(taken=1)


async def test_a_notice_that_was_written_by_a_wrong_clock_waits_as_its_handler_says(stage: Stage) -> None:
    """It is due at once, because the clock was put back; but only the first time."""
    stage.clock.jump(365 * DAY)
    await parked(stage, "a")
    stage.clock.jump(-365 * DAY)
    taker = Taker(TryNoticeAgain(HOUR), OSError("no"))
    async with stage.keeper(on_notice=taker):
        await taker.until(tried=1)
        await given_back(stage)
        await asyncio.sleep(0.03)
        assert len(taker.tried) == 1
        stage.clock.advance(HOUR)
        await taker.until(tried=2)
        await given_back(stage)
        await asyncio.sleep(0.03)
        assert len(taker.tried) == 2
        stage.clock.advance(MINUTE)
        await taker.until(taken=1)


async def test_a_notice_that_was_refused_under_a_wrong_clock_is_tried_again(stage: Stage) -> None:
    """At once, when the clock is right; else it would hold back those behind it for a year."""
    await parked(stage, "a")
    await park(stage, works=True)

    async def a_year_ahead() -> None:
        await asyncio.sleep(0.03)  # what is old was forgotten by then
        stage.clock.jump(365 * DAY)
        raise OSError("no")

    taker = Taker(a_year_ahead)
    async with stage.keeper(on_notice=taker, notice_give_up=999 * DAY):
        await taker.until(tried=1)
        await given_back(stage)
        stage.clock.jump(-365 * DAY)
        await taker.until(taken=2)
        await settled(stage, waiting=0)


async def test_a_wait_that_is_no_time_counts_as_any_other_error(stage: Stage) -> None:
    """The notice waits for its next try, and not for the end of its lease."""
    await parked(stage, "a")

    async def in_a_minute() -> None:
        raise TryNoticeAgain(60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    taker = Taker(in_a_minute)
    async with stage.keeper(on_notice=taker):
        await taker.until(tried=1)
        await given_back(stage)
        stage.clock.advance(timedelta(seconds=10))
        await taker.until(taken=1)


@pytest.mark.parametrize("is_sync", [False, True])
async def test_a_handler_that_stops_is_called_no_more(stage: Stage, *, is_sync: bool) -> None:
    """The notices wait for another process, or the next start. A sync function cannot be waited for."""
    await parked(stage, "a", "b")
    taker = Taker(StopNotices("the receiver is gone"))
    tried: list[Notice] = []
    async with stage.keeper(on_notice=tried.append if is_sync else taker) as keeper:
        await when(lambda: not keeper.health().ok)
        (problem,) = keeper.health().problems
        assert ("no async function" if is_sync else "the receiver is gone") in problem
        await given_back(stage)
        assert (await stage.store.outbox.counts()).waiting >= 1
    another = Taker()
    async with stage.keeper(on_notice=another):
        await settled(stage, waiting=0)
    assert len(another.taken) == 2 - len(taker.taken)


class Paced(Taker):
    """A handler that takes one at a time, and none at first."""

    places = 0

    def capacity(self) -> int:
        return self.places - len(self.at_work)


async def test_a_handler_is_given_no_more_than_it_takes(stage: Stage) -> None:
    """What it does not take is not claimed: it counts no try."""
    await parked(stage, *"abcdefghijkl")
    go = asyncio.Event()
    paced = Paced(*[go.wait] * 12)
    async with stage.keeper(on_notice=paced):
        await asyncio.sleep(0.05)  # several looks
        assert not paced.tried
        assert not tries(stage)
        for places in (1, 3):
            paced.places = places
            await paced.until(tried=places)
            await asyncio.sleep(0.05)
            assert len(paced.at_work) == places
            assert tries(stage) == places
        go.set()
        await paced.until(taken=12)


async def test_ten_handlers_at_once_at_the_most(stage: Stage) -> None:
    """Of a handler that does not say how many it takes."""
    await parked(stage, *"abcdefghijkl")
    go = asyncio.Event()
    taker = Taker(*[go.wait] * 12)
    async with stage.keeper(on_notice=taker):
        await taker.until(tried=10)
        await asyncio.sleep(0.03)
        assert len(taker.at_work) == 10
        go.set()
        await taker.until(taken=12)


async def test_the_end_of_a_keeper_waits_for_its_handlers(stage: Stage) -> None:
    """And begins no other call."""
    await parked(stage, "a")
    await park(stage, "a", works=True)
    go = asyncio.Event()
    taker = Taker(go.wait)
    async with stage.keeper(on_notice=taker):
        await taker.until(tried=1)
        asyncio.get_running_loop().call_later(0.05, go.set)
    assert len(taker.taken) == 1
    assert (await stage.store.outbox.counts()).waiting == 1


async def test_a_handler_that_hangs_at_the_end_is_cancelled(stage: Stage) -> None:
    """Its notice is given back at once, so that the next process has not to wait for the lease."""
    await parked(stage, "a")
    taker = Taker(asyncio.Event().wait)
    async with stage.keeper(on_notice=taker, drain=timedelta(milliseconds=50)):
        await taker.until(tried=1)
    assert not taker.at_work
    another = Taker()
    async with stage.keeper(on_notice=another):
        await another.until(taken=1)
    assert another.taken == taker.tried


async def test_a_handler_that_takes_too_long_is_ended_before_its_lease_is(stage: Stage) -> None:
    """Another process could take the notice then."""
    await parked(stage, "a")
    taker = Taker(asyncio.Event().wait)
    async with stage.keeper(on_notice=taker, backoff=timedelta(seconds=1), **QUICK):
        await taker.until(tried=1)
        await when(lambda: not taker.at_work)
        await given_back(stage)
        stage.clock.advance(timedelta(seconds=2))
        await taker.until(taken=1)


async def test_a_handler_that_does_not_end_keeps_its_place(stage: Stage) -> None:
    """Its notice comes again when the lease is over, and no sooner."""
    await parked(stage, "a")
    go = asyncio.Event()

    async def stubborn() -> None:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    taker = Taker(stubborn)
    async with stage.keeper(on_notice=taker, **QUICK) as keeper:
        await taker.until(tried=1)
        delivery = keeper._delivery  # noqa: SLF001
        assert delivery is not None
        await when(lambda: not delivery._tasks)  # noqa: SLF001
        assert tries(stage) == 1
        go.set()
        await taker.until(taken=1)
        assert (await stage.store.outbox.counts()).waiting == 1
        stage.clock.advance(MINUTE)
        await settled(stage, waiting=0)
    assert len(taker.taken) == 2


async def test_a_store_that_is_away_is_waited_out(stage: Stage) -> None:
    """At a claim, and when a notice was taken: then it is told once all the same."""
    await parked(stage, "a")
    outbox = stage.store.outbox
    away = {"claim": 3, "take": 2}
    right = {name: getattr(outbox, name) for name in away}

    def at_risk(name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            away[name] -= 1
            if away[name] >= 0:
                raise StoreUnavailable
            return await right[name](*args, **options)

        return call

    taker = Taker()
    for name in away:
        setattr(outbox, name, at_risk(name))
    async with stage.keeper(on_notice=taker, poll=timedelta(milliseconds=1)):
        while away["claim"] >= 0:
            stage.clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0.005)
        await settled(stage, waiting=0)
    assert len(taker.tried) == 1


async def test_notices_that_do_not_open_are_left_to_others(stage: Stage) -> None:
    """A process with other keys tries some of them, and then seldom; none is lost."""
    stage.store = MemoryStore(clock=stage.clock, cipher=Cipher([Cipher.generate_key()]))
    await parked(stage, *"abcdefgh")
    taker, other = Taker(), SharedStore(stage.store, Cipher([Cipher.generate_key()]))
    async with stage.keeper(on_notice=taker, store=other):
        await when(lambda: tries(stage) >= 8)
        await given_back(stage)
        stage.clock.advance(timedelta(seconds=30))
        await asyncio.sleep(0.05)
        assert tries(stage) == 8
        stage.clock.advance(MINUTE)
        await when(lambda: tries(stage) >= 9)
    assert not taker.tried
    stage.clock.advance(MINUTE)
    async with stage.keeper(on_notice=taker):
        await taker.until(taken=8)


async def test_old_notices_are_forgotten_without_a_handler_too(stage: Stage) -> None:
    """By a keeper with a loop: else they would be kept for ever where no process has a handler."""
    await parked(stage, "a")
    stage.clock.advance(29 * DAY)
    async with stage.keeper(background=True):
        await asyncio.sleep(0.03)
        assert (await stage.store.outbox.counts()).waiting == 1
    stage.clock.advance(2 * DAY)
    async with stage.keeper(background=True):
        await settled(stage, waiting=0)


async def test_a_wall_clock_that_leaps_forward_makes_no_notice_old(stage: Stage) -> None:
    """It may be put right within the hour. After that it is believed."""
    await parked(stage, "a")
    await park(stage, works=True)
    gate = asyncio.Event()
    taker = Taker(gate.wait)
    async with stage.keeper(on_notice=taker, lease=DAY):
        await taker.until(tried=1)
        await asyncio.sleep(0.03)
        stage.clock.jump(365 * DAY)
        stage.clock.advance(HOUR)
        await asyncio.sleep(0.05)
        assert (await stage.store.outbox.counts()).waiting == 2
        stage.clock.advance(HOUR)
        await settled(stage, waiting=1)
        gate.set()


async def test_a_removed_login_has_no_notices(stage: Stage) -> None:
    """And one that is added anew goes on counting."""
    await parked(stage, "a")
    first = (await stage.login()).notice_sequence
    stage.clock.advance(MINUTE)
    async with stage.keeper() as keeper:
        await keeper.remove("a")
        assert (await stage.store.outbox.counts()).waiting == 0
        await keeper.add("a", stage.fake.login("coinbase").token)
    await park(stage)
    assert (await stage.login()).notice_sequence > first


class WithoutOutbox(MemoryStore):
    """A store of one's own, with the core of the contract alone."""

    outbox = None  # type: ignore[assignment]


async def test_a_store_without_an_outbox_keeps_without_notices(stage: Stage) -> None:
    """With a handler it is refused; without one a keeper works as ever."""
    store = WithoutOutbox(clock=stage.clock)
    async with stage.keeper(store=store, confirm_after=NOTHING) as keeper, stage.fake.client() as mesh:
        with pytest.raises(InvalidRequest, match="outbox"):
            Keeper(mesh, store, on_notice=Taker())
        person = stage.fake.login("coinbase")
        await keeper.add("a", person.token)
        person.revoke()
        for _ in range(2):
            with pytest.raises(Exception, match=r"log in again|in time"):
                await keeper.refresh("a")
        account = (await keeper.login("a")).account()
        assert (account.state, account.announced) == ("reconnect_required", "")


async def test_a_generator_is_no_handler(stage: Stage) -> None:
    """It would never run."""

    async def handler(notice: Notice) -> Any:
        yield notice

    async with stage.fake.client() as mesh:
        with pytest.raises(InvalidRequest, match="on_notice"):
            Keeper(mesh, stage.store, policy=Policy(), on_notice=handler)

"""The store gone after a success: the new pair is kept until it lands, and the spent token is of no use to anybody."""

import asyncio
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import MeshClient, NotSaved, Tokens
from mesh_refresh.keeper import AccountRefreshed, Keeper, KeeperClosed, NotReadyInTime
from mesh_refresh.stores import Cipher, MemoryStore, NoticeRow, Row, StoreError, StoreUnavailable
from mesh_refresh.stores.sealing import open_row
from mesh_refresh.testing import FakeLogin
from tests.keeper.stage import DAY, HOUR, MINUTE, NOTHING, FaultyStore, HangingStore, Stage

SHORT = timedelta(milliseconds=20)
COUNT = 8
CIPHER = Cipher([Cipher.generate_key()])


def files(spool: Path) -> list[Path]:
    return list(spool.iterdir())


def settlements(spool: Path) -> list[Path]:
    return list(spool.glob("*.settlement"))


async def begin(stage: Stage, keeper: Keeper, store: FaultyStore) -> tuple[list[FakeLogin], "asyncio.Task[int]"]:
    """In the middle of rotations: every login is exchanged, and the store is lost before the replies come."""
    logins = [stage.fake.login("coinbase", revokes_on_reuse=True) for _ in range(COUNT)]
    for number, login in enumerate(logins):
        await keeper.add(f"u{number}", login.token)
    stage.clock.advance(HOUR * 0.9)
    gate = stage.fake.hold(after_rotation=True, times=COUNT)
    run = asyncio.create_task(keeper.refresh_due())
    await gate.arrivals(COUNT)
    store.lose()
    gate.release()
    await store.has_failed("swap", 2 * COUNT)  # the second try comes after the spilling
    return logins, run


async def spilled(stage: Stage, keeper: Keeper, store: FaultyStore, spool: Path) -> None:
    """Likewise, until all of it is in the spool, however slow the disk is: a second try comes after the spilling."""
    await begin(stage, keeper, store)
    failed = COUNT
    while len(settlements(spool)) < COUNT:
        failed += 1
        await store.has_failed("swap", failed)


@asynccontextmanager
async def rotating(stage: Stage, keeper: Keeper, store: FaultyStore) -> AsyncIterator[list[FakeLogin]]:
    """Likewise, and at the end the store is back."""
    logins, run = await begin(stage, keeper, store)
    try:
        yield logins
    finally:
        store.come_back()
        await asyncio.wait((run,))


@pytest.fixture(params=[False, True], ids=["no spool", "spool"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "spool" if request.param else None


async def test_every_new_pair_is_in_the_store_once_it_is_back(stage: Stage, spool: Path | None) -> None:
    """With and without a spool; the event comes after the write, not before."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, spool=spool) as keeper:
        async with rotating(stage, keeper, store):
            await stage.fake.idle()
            assert not stage.notes.all
        await stage.notes.until(AccountRefreshed, COUNT)
        assert keeper.health().ok
    assert stage.sent() == COUNT
    assert spool is None or not files(spool)
    await stage.assert_whole()


async def test_the_spent_token_is_neither_sent_nor_answered_with(stage: Stage, spool: Path | None) -> None:
    """Not even once the store is there for reading again."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, spool=spool) as keeper:
        async with rotating(stage, keeper, store) as logins:
            for gone in (None, ("swap",)):
                store.lose(*(gone or ()))
                for verb in (keeper.tokens, keeper.refresh):
                    with pytest.raises(NotReadyInTime):
                        await verb("u0", max_wait=SHORT)
            assert stage.sent() == COUNT
            health = keeper.health()
            assert not health.ok
            assert 1 <= health.unsaved <= COUNT
        found = await keeper.tokens("u0")
        assert found.access_token == logins[0].live[0].access_token
    await stage.assert_whole()


async def test_what_is_left_at_the_end_is_raised(stage: Stage) -> None:
    """Without a spool, `NotSaved` has the outcomes, and their tokens can be saved by hand."""
    store = FaultyStore(stage.store)
    with pytest.raises(NotSaved) as not_saved:
        async with stage.keeper(store=store, drain=SHORT) as keeper:
            await begin(stage, keeper, store)
    outcomes: Any = not_saved.value.outcomes
    assert len(outcomes) == COUNT
    stage.fake.hold_tokens(tokens for outcome in outcomes for tokens in outcome.all_tokens)
    assert not stage.fake.lost()
    assert "fake-refresh" not in repr(not_saved.value)


async def test_the_next_keeper_reads_the_spool_before_anything_is_sent(stage: Stage, tmp_path: Path) -> None:
    """The process ended meanwhile: nothing is lost, nothing is spent twice."""
    store, spool = FaultyStore(stage.store), tmp_path / "spool"
    with pytest.raises(NotSaved):
        async with stage.keeper(store=store, spool=spool, drain=SHORT) as keeper:
            await spilled(stage, keeper, store, spool)
    assert len(files(spool)) == COUNT
    store.come_back()
    stage.clock.advance(HOUR / 2)
    async with stage.keeper(store=store, spool=spool) as keeper:
        tokens = [await keeper.tokens(f"u{number}") for number in range(COUNT)]
    assert len({it.access_token for it in tokens}) == COUNT
    assert not files(spool)
    await stage.assert_whole()


async def test_a_pair_from_the_spool_is_refreshed_without_a_wait(stage: Stage, tmp_path: Path) -> None:
    """The attempt that brought it is settled, although its lease was never given back."""
    store, spool = FaultyStore(stage.store), tmp_path / "spool"
    with pytest.raises(NotSaved):
        async with stage.keeper(store=store, spool=spool, drain=SHORT) as keeper:
            await spilled(stage, keeper, store, spool)
    store.come_back()
    async with stage.keeper(store=store, spool=spool) as keeper:
        await keeper.tokens("u0")
        stage.clock.advance(2 * HOUR)
        await keeper.tokens("u0", max_wait=timedelta(seconds=1))
        account = await stage.account("u0")
    assert (account.unknown_since, account.failures) == (None, 0)
    await stage.assert_whole()


async def test_with_the_store_still_gone_the_next_keeper_neither_sends_nor_answers(
    stage: Stage, tmp_path: Path
) -> None:
    """What is in the spool stays there, and is raised again at the end."""
    store, spool = FaultyStore(stage.store), tmp_path / "spool"
    with pytest.raises(NotSaved):
        async with stage.keeper(store=store, spool=spool, drain=SHORT) as keeper:
            await spilled(stage, keeper, store, spool)

    said: list[Any] = []  # looked at outside: `NotSaved` would hide what fails inside

    async def with_the_store_gone() -> None:
        async with stage.keeper(store=store, spool=spool, drain=SHORT, background=True) as keeper:
            asking = (verb("u0", max_wait=SHORT) for verb in (keeper.tokens, keeper.refresh))
            said.extend(await asyncio.gather(*asking, return_exceptions=True))
            stage.clock.advance(2 * HOUR)
            await store.has_failed("swap", store.failures["swap"] + 2 * COUNT)

    store.lose("swap")
    with pytest.raises(NotSaved):
        await with_the_store_gone()
    assert [type(error) for error in said] == [NotReadyInTime, NotReadyInTime]
    assert (await stage.login("u0")).attempt == 1
    assert stage.sent() == COUNT
    assert len(files(spool)) == COUNT
    store.come_back()
    async with stage.keeper(store=store, spool=spool):
        pass
    await stage.assert_whole()


async def left_in(spool: Path, stage: Stage) -> FaultyStore:
    """A keeper that could not write what it had, and is gone; the store is back."""
    stage.store = MemoryStore(cipher=CIPHER, clock=stage.clock)
    store = FaultyStore(stage.store)
    with pytest.raises(NotSaved):
        async with stage.keeper(store=store, spool=spool, drain=SHORT) as keeper:
            await spilled(stage, keeper, store, spool)
    store.come_back()
    return store


async def test_a_crash_before_a_file_of_the_spool_had_its_name_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    """It was whole on the disk already. What is not whole yet, or of another key, stays as it is."""
    spool = tmp_path / "spool"
    store = await left_in(spool, stage)
    for file in files(spool):
        file.rename(spool / f".new-{file.stem}")
    rest = {
        spool / ".new-half": b"half a fi",
        spool / ".new-other": Cipher([Cipher.generate_key()]).seal("{}", "spool"),
    }
    for path, content in rest.items():
        path.write_bytes(content)
    async with stage.keeper(store=store, spool=spool):
        pass
    assert {path: path.read_bytes() for path in files(spool)} == rest
    await stage.assert_whole()


async def test_a_keeper_of_another_store_takes_no_file_from_its_owner(stage: Stage, tmp_path: Path) -> None:
    """It finds no such login, or another one of that name; the owner, dead or alive, finds its own again."""
    spool, other = tmp_path / "spool", MemoryStore(cipher=CIPHER, clock=stage.clock)
    stage.store = MemoryStore(cipher=CIPHER, clock=stage.clock)
    store = FaultyStore(stage.store)

    async def with_a_stranger() -> None:
        async with stage.keeper(store=store, spool=spool, drain=SHORT) as keeper:
            await spilled(stage, keeper, store, spool)
            async with stage.keeper(store=other, spool=spool) as stranger:
                await stranger.add("u0", Tokens("kraken", "of somebody else"))

    with pytest.raises(NotSaved):
        await with_a_stranger()
    async with stage.keeper(store=other, spool=spool):
        pass
    assert len(files(spool)) == COUNT
    store.come_back()
    async with stage.keeper(store=store, spool=spool):
        pass
    assert not files(spool)
    await stage.assert_whole()


async def test_nothing_is_answered_before_the_spool_was_read(stage: Stage, tmp_path: Path) -> None:
    """While the worker enters its keeper, somebody asks it already: there may be newer tokens in the spool."""
    spool = tmp_path / "spool"
    store = await left_in(spool, stage)
    stale = (await stage.account("u0")).tokens
    keys = stage.fake.client_id, stage.fake.client_secret
    async with MeshClient(*keys, base_url=stage.fake.base_url, clock=stage.clock) as mesh:
        keeper = Keeper(mesh, store, spool=spool)
        worker = asyncio.create_task(keeper.run())
        await asyncio.sleep(0)
        with pytest.raises(NotReadyInTime, match="spool"):
            await keeper.tokens("u0", max_wait=timedelta())
        assert (await keeper.tokens("u0")).refresh_token != stale.refresh_token
        worker.cancel()
        await asyncio.wait((worker,))
    assert stage.sent() == COUNT
    await stage.assert_whole()


async def test_who_asks_a_keeper_whose_spool_cannot_be_read_is_told_at_once(stage: Stage, tmp_path: Path) -> None:
    """It never comes to run; nobody waits for it."""
    spool = tmp_path / "spool"
    store = await left_in(spool, stage)
    files(spool)[0].write_bytes(Cipher([Cipher.generate_key()]).seal("of another key", "spool"))
    keys = stage.fake.client_id, stage.fake.client_secret
    async with MeshClient(*keys, base_url=stage.fake.base_url, clock=stage.clock) as mesh:
        keeper = Keeper(mesh, store, spool=spool)
        worker = asyncio.create_task(keeper.run())
        await asyncio.sleep(0)
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("u0", max_wait=HOUR)
        with pytest.raises(StoreError):
            await worker
        with pytest.raises(KeeperClosed):
            await keeper.tokens("u0")
    assert len(files(spool)) == COUNT


async def test_files_of_the_spool_are_sealed_and_private(stage: Stage, tmp_path: Path) -> None:
    """Mode 0600 in a folder of mode 0700; with a cipher, no token can be read in them."""
    spool = tmp_path / "spool"
    stage.store = MemoryStore(cipher=Cipher([Cipher.generate_key()]), clock=stage.clock)
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, spool=spool) as keeper, rotating(stage, keeper, store):
        await store.has_failed("swap", 2 * COUNT)  # the second try comes after the spilling
        assert stat.S_IMODE(spool.stat().st_mode) == 0o700
        for file in files(spool):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert b"fake-" not in file.read_bytes()
    await stage.assert_whole()


async def test_a_spool_that_cannot_be_used_keeps_nothing_from_the_store(stage: Stage, tmp_path: Path) -> None:
    """It went bad after the keeper was entered: the pair stays in memory until it lands."""
    spool = tmp_path / "spool"
    stage.store = MemoryStore(cipher=CIPHER, clock=stage.clock)
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, spool=spool) as keeper:
        spool.rmdir()
        spool.write_text("in the way")
        async with rotating(stage, keeper, store):
            pass
        await stage.notes.until(AccountRefreshed, COUNT)
    await stage.assert_whole()


async def test_another_process_waits_while_the_pair_is_still_to_come(stage: Stage) -> None:
    """It finds the lease run out and stamps a wait; the late write ends that."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper() as other:
        async with rotating(stage, keeper, store):
            stage.clock.advance(timedelta(minutes=3))
            assert await other.refresh_due() == COUNT
            with pytest.raises(NotReadyInTime):
                await other.refresh("u0", max_wait=NOTHING)
            assert stage.sent() == COUNT
        await stage.notes.until(AccountRefreshed, COUNT)
        stage.clock.advance(HOUR * 0.9)
        assert await other.refresh_due() == COUNT
    await stage.assert_whole()


class Full(FaultyStore):
    """Takes everything but a new refresh token, until there is room."""

    has_room = False

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = NOTHING,
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        stored = await self.get(row.login_id)
        brings = open_row(self.cipher, row).account().tokens.refresh_token
        if not self.has_room and stored is not None and brings != stored.account().tokens.refresh_token:
            self.failures["new pair"] += 1
            self._more.set()
            raise StoreUnavailable
        return await super().swap(row, owner=owner, hold=hold, notices=notices)


async def test_a_keeper_does_not_close_its_own_attempt_while_the_pair_is_still_to_come(stage: Stage) -> None:
    """It claims the login again when its lease has run out: for the others the attempt stays open all the same."""
    store = Full(stage.store)
    async with stage.keeper(store=store) as keeper, stage.keeper() as other:
        await keeper.add("a", stage.fake.login("coinbase", access_lifetime=DAY, revokes_on_reuse=True).token)
        stage.clock.advance(DAY - HOUR / 2)
        begun = asyncio.create_task(keeper.refresh_due())
        await store.has_failed("new pair")
        stage.clock.advance(timedelta(minutes=3))
        await store.has_failed("new pair", 4)
        assert (await stage.login()).attempt == 2
        for _ in range(20):
            assert await other.refresh_due() <= 1
            stage.clock.advance(timedelta(minutes=1))
        assert stage.sent() == 1
        store.has_room = True
        await begun
    assert stage.sent() == 1
    assert (await stage.account()).unknown_since is None
    await stage.assert_whole()


async def test_what_a_second_claim_found_does_not_hide_what_is_left_at_the_end(stage: Stage) -> None:
    """A store that never answers, and a lease that ran out meanwhile: the new pair is raised all the same."""
    store, claimed = HangingStore(stage.store), asyncio.Event()

    async def claim() -> None:
        claimed.set()

    async def begin_and_claim_again(keeper: Keeper) -> None:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(HOUR * 0.9)
        store.hangs = True
        begun = asyncio.create_task(keeper.refresh_due())
        await store.asked.wait()
        store.meanwhile["claim"] = claim
        stage.clock.advance(timedelta(minutes=3))
        await claimed.wait()
        begun.cancel()

    with pytest.raises(NotSaved) as not_saved:
        async with stage.keeper(store=store, drain=SHORT) as keeper:
            await begin_and_claim_again(keeper)
    outcomes: Any = not_saved.value.outcomes
    stage.fake.hold_tokens(tokens for outcome in outcomes for tokens in outcome.all_tokens)
    assert not stage.fake.lost()


async def test_a_store_that_is_gone_before_the_request_sends_nothing(stage: Stage) -> None:
    """The claim is the attempt; without one there is none."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        store.lose("claim", "claim_one")
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a")
        assert not stage.sent()
        assert not keeper.health().ok
        store.come_back()
        await keeper.tokens("a")
        assert keeper.health().ok
    await stage.assert_whole()


async def test_a_claim_that_landed_unseen_is_found_open_and_settled(stage: Stage) -> None:
    """Nothing was sent under it, but nobody can know that: it is waited for, and then sent."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        store.mute = ["claim_one"]
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a")
        await stage.pass_by(keeper, 10 * MINUTE)
    assert stage.sent() == 1
    await stage.assert_whole()

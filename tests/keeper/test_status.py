"""What a keeper tells of its fleet and of itself: `login`, `logins`, `summary`, `health`."""

import asyncio

import pytest
from attrs import evolve

from mesh_refresh import InvalidRequest, Tokens
from mesh_refresh.keeper import AccountState, BreakerFault, BreakerOpened, Keeper, KeeperClosed, UnknownLogin
from mesh_refresh.stores import Cipher, MemoryStore, WrongKey
from mesh_refresh.testing import Fault as Wrong
from mesh_refresh.testing import Sharing
from tests.keeper.stage import HOUR, MINUTE, FaultyStore, Stage


async def fleet(stage: Stage, keeper: Keeper) -> None:
    """One login in each state, two accounts in one of them, and two well ones."""
    coinbase, etoro = stage.fake.login("coinbase"), stage.fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH)
    await keeper.add("a", coinbase.token)
    await keeper.add("b", stage.fake.login("vanguard", mfa=True).token)
    await keeper.add("c", stage.fake.login("eTrade", access_lifetime=100 * HOUR).token)
    await keeper.add("d", etoro.tokens)
    await keeper.add("e", (broken := stage.fake.login("kraken")).token)
    coinbase.refused = True
    stage.clock.advance(2 * HOUR)
    stage.fake.fail(Wrong.broken_json(), login=broken)
    await keeper.refresh_due()
    stage.clock.advance(2 * MINUTE)
    await keeper.refresh_due()


async def ids(keeper: Keeper, **filters: object) -> list[str]:
    return [login.login_id async for login in keeper.logins(**filters)]  # type: ignore[arg-type]


async def test_logins_are_filtered_by_state_and_broker(stage: Stage) -> None:
    """A login with several accounts is found under each of their states."""
    async with stage.keeper() as keeper:
        await fleet(stage, keeper)
        assert await ids(keeper) == ["a", "b", "c", "d", "e"]
        assert await ids(keeper, state="reconnect_required") == ["a"]
        assert await ids(keeper, state=AccountState.MFA_REQUIRED) == ["b"]
        assert await ids(keeper, state="not_refreshable") == ["c"]
        assert await ids(keeper, state="unreadable") == ["e"]
        assert await ids(keeper, state="active") == ["d"]
        assert await ids(keeper, broker="etoro") == ["d"]
        assert await ids(keeper, broker="etoro", state="unreadable") == []
        with pytest.raises(ValueError, match="state must be"):
            await ids(keeper, state="happy")


async def test_a_login_whose_accounts_differ_is_found_under_both_states(stage: Stage) -> None:
    """Its row shows the set of them."""
    login = stage.fake.login("etoro", accounts=2)
    async with stage.keeper() as keeper:
        await keeper.add("a", [login.tokens[0], evolve(login.tokens[1], refresh_token=None)])
        assert await ids(keeper, state="active") == await ids(keeper, state="not_refreshable") == ["a"]
        assert (await keeper.summary()).states == {AccountState.ACTIVE: 1, AccountState.NOT_REFRESHABLE: 1}


async def test_logins_are_paged_by_key(stage: Stage) -> None:
    """Across pages of the store, behind a key, and no more than were asked for."""
    names = sorted(f"user-{number}" for number in range(1203))
    async with stage.keeper() as keeper:
        await keeper.add_many((name, Tokens("coinbase", f"r-{name}", access_token="a")) for name in names)
        assert await ids(keeper) == names
        assert await ids(keeper, limit=700) == names[:700]
        assert await ids(keeper, after=names[600], limit=10) == names[601:611]
        assert await ids(keeper, after=names[-1]) == []
        assert await ids(keeper, limit=0) == []


async def test_a_login_that_does_not_open_hides_none_of_the_others(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged and left out, also where it stands on the edge of a page; asked for by its id, it says so."""
    mine, theirs = Cipher([Cipher.generate_key()]), Cipher([Cipher.generate_key()])
    store = MemoryStore(cipher=mine, clock=stage.clock)
    async with stage.keeper(store=store) as keeper:
        await keeper.add_many((name, Tokens("coinbase", f"r-{name}", access_token="a")) for name in "abcdef")
        for name in "be":
            row = await store.read(name)
            assert row is not None
            assert await store.swap(evolve(row, sealed=theirs.seal("anything", f"login:{name}")))
        with caplog.at_level("ERROR", "mesh_refresh.keeper"):
            assert await ids(keeper) == ["a", "c", "d", "f"]
        assert [(it.message, it.__dict__["login_id"]) for it in caplog.records] == [
            ("a login cannot be read", "b"),
            ("a login cannot be read", "e"),
        ]
        assert await ids(keeper, limit=2) == ["a", "c"]
        assert await ids(keeper, limit=3, after="a") == ["c", "d", "f"]
        with pytest.raises(WrongKey):
            await keeper.login("b")
        assert (await keeper.summary()).logins == 6
        assert await keeper.remove("b")


async def test_logins_that_changed_since_a_time(stage: Stage) -> None:
    """What an application asks after it was away."""
    async with stage.keeper() as keeper:
        for name in "abc":
            await keeper.add(name, stage.fake.login("coinbase").token)
            stage.clock.advance(MINUTE)
        since = stage.now
        await keeper.refresh("b")
        assert await ids(keeper, changed_since=since) == ["b"]


async def test_the_summary_counts_by_broker_and_state(stage: Stage) -> None:
    """Expired ones apart."""
    async with stage.keeper() as keeper:
        await fleet(stage, keeper)
        await keeper.pause("kraken")
        summary = await keeper.summary()
    assert summary.logins == 5
    assert summary.states == dict.fromkeys(set(AccountState) - {AccountState.MANAGED}, 1)
    assert summary.brokers["etoro"].states == {AccountState.ACTIVE: 1}
    assert summary.expired == 3
    assert (summary.due, summary.late.total_seconds(), summary.in_flight) == (0, 0, 0)
    assert summary.paused == {"kraken"}


async def test_the_summary_tells_how_late_the_latest_is_and_what_is_in_flight(stage: Stage) -> None:
    """Of this process, and of all."""
    async with stage.keeper() as keeper, stage.keeper() as other:
        for name in "abc":
            await keeper.add(name, stage.fake.login("coinbase").token)
        due = (await stage.account()).due_at
        assert due is not None
        gate = stage.fake.hold()
        stage.clock.advance(2 * HOUR)
        caller = asyncio.create_task(keeper.refresh("b"))
        await gate.entered.wait()
        summary = await keeper.summary()
        assert summary.due == 3
        assert summary.late >= stage.now - due
        assert (summary.leased, summary.in_flight) == (1, 1)
        assert (await other.summary()).in_flight == 0
        gate.release()
        await caller


async def test_health_is_for_a_probe(stage: Stage) -> None:
    """It says what is wrong: not entered, a store that fails, a halt; and that all is well again."""
    store = FaultyStore(stage.store)
    manager = stage.keeper(store=store, background=True)
    async with manager as keeper:
        assert keeper.health().ok
        store.lose("claim")
        await store.has_failed("claim")
        await asyncio.sleep(0)
        assert any("store" in problem for problem in keeper.health().problems)
        store.come_back()
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.fake.client_secret = "another"
        stage.clock.advance(2 * HOUR)
        await stage.notes.until(BreakerOpened)
        health = keeper.health()
        assert (health.ok, health.halted) == (False, BreakerFault.CLIENT_REFUSED)
        assert (await keeper.summary()).held_back == {None: BreakerFault.CLIENT_REFUSED}
    assert not keeper.health().ok


async def test_a_keeper_that_was_left_says_so(stage: Stage) -> None:
    """And one that was not entered."""
    async with stage.fake.client() as mesh:
        keeper = Keeper(mesh, MemoryStore())
        for _ in range(2):
            assert not keeper.health().ok
            with pytest.raises(KeeperClosed):
                await keeper.tokens("a")
            if not _:
                async with keeper:
                    with pytest.raises(UnknownLogin):
                        await keeper.login("a")
        with pytest.raises(InvalidRequest):
            await keeper.__aenter__()

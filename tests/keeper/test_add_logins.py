"""Adding: what is news to a keeper, and what is none."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from attrs import evolve

from mesh_refresh import InvalidRequest, MeshRefreshError, MfaPending, Tokens
from mesh_refresh.keeper import AccountState, MfaNeeded, NotReadyInTime, UnknownLogin
from mesh_refresh.stores import MemoryStore, Row
from mesh_refresh.testing import Fault
from tests.keeper.stage import DAY, HOUR, MINUTE, NOTHING, Stage


async def test_what_link_hands_over_becomes_one_login(stage: Stage) -> None:
    """All accounts of a payload are one login."""
    login = stage.fake.login("etoro", accounts=3)
    async with stage.keeper() as keeper:
        added = await keeper.add("a", Tokens.from_link(json.dumps(login.link_payload()), obtained_at=stage.now))
    assert added.new == login.account_ids
    assert [account.tokens.account_id for account in (await stage.login()).accounts] == list(login.account_ids)


async def test_a_payload_that_comes_again_is_no_news(stage: Stage) -> None:
    """A webhook delivered twice changes nothing, the epoch neither."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        before = await stage.login()
        again = await keeper.add("a", login.token)
    assert again.unchanged == (None,)
    assert not again.changed
    after = await stage.login()
    assert after == before
    assert after.revision == before.revision


async def test_a_token_that_was_spent_long_ago_is_no_news(stage: Stage) -> None:
    """A start-up adds the payload it once stored, after twenty rotations."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        for _ in range(20):
            await keeper.refresh("a")
        before = await stage.login()
        assert (await keeper.add("a", login.token)).unchanged
        assert (await keeper.add("a", evolve(login.token, access_token=None))).unchanged
    assert await stage.login() == before
    await stage.assert_whole()


async def test_the_last_few_rotated_tokens_are_no_news_either(stage: Stage) -> None:
    """An application that saves what it was given, and gives it back late, does no harm."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        given = [await keeper.refresh("a") for _ in range(4)]
        before = await stage.login()
        for tokens in given:
            assert (await keeper.add("a", tokens)).unchanged
    assert await stage.login() == before


async def test_the_token_of_an_open_attempt_is_no_news(stage: Stage) -> None:
    """Added in the middle of its own exchange, it fences nothing off."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        assert (await keeper.add("a", login.token)).unchanged
        gate.release()
        fresh = await caller
    assert (await stage.account()).tokens == fresh
    await stage.assert_whole()


async def test_a_new_login_of_the_person_fences_off_what_is_in_flight(stage: Stage) -> None:
    """What was sent for the old tokens does not overwrite the new ones."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        (fresh,) = login.again()
        assert (await keeper.add("a", fresh)).replaced == (None,)
        gate.release()
        await asyncio.wait((caller,))
        assert caller.exception() is None
        await keeper.refresh("a")
    await stage.assert_whole()


async def test_an_access_token_alone_fences_nothing_off(stage: Stage) -> None:
    """The account keeps the refresh token that is being spent: what comes of it is of this account."""
    login = stage.fake.login("coinbase", revokes_on_reuse=True)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        alone = Tokens("coinbase", access_token="another", expires_at=stage.now + HOUR)
        assert (await keeper.add("a", alone)).replaced == (None,)
        gate.release()
        await caller
    await stage.assert_whole()


async def test_an_access_token_alone_does_not_shorten_a_wait(stage: Stage) -> None:
    """Nobody knows whether the refresh token is spent: that is as it was."""
    login = stage.fake.login("coinbase")
    async with stage.keeper(resend_after=MINUTE) as keeper:
        await keeper.add("a", login.token)
        stage.fake.fail(Fault.cut())
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=MINUTE / 2)
        before = await stage.account()
        stage.clock.advance(MINUTE)
        await keeper.add("a", Tokens("coinbase", access_token="another", expires_at=stage.now + 2 * HOUR))
        account = await stage.account()
        assert (account.unknown_since, account.resend_not_before) == (before.unknown_since, before.resend_not_before)
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=NOTHING)
        assert stage.sent() == 1
        stage.clock.advance(HOUR)
        await keeper.refresh("a")
    await stage.assert_whole()


async def test_waking_an_account_in_the_middle_of_its_code_loses_nothing(stage: Stage) -> None:
    """A webhook brings a new access token beside the same refresh token, while the person's code is out."""
    login = stage.fake.login("vanguard", mfa=True, revokes_on_reuse=True)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(2 * HOUR)
        with pytest.raises(MfaPending):
            await keeper.refresh("a")
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.submit_mfa("a", login.code))
        await gate.entered.wait()
        woken = await keeper.add("a", evolve(login.token, access_token="another", obtained_at=stage.now))
        assert woken.woken == (None,)
        gate.release()
        await caller
    await stage.assert_whole()


async def test_a_new_login_replaces_only_the_accounts_that_it_names(stage: Stage) -> None:
    """The others stay as they were."""
    login = stage.fake.login("etoro", accounts=2)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        old = await stage.login()
        added = await keeper.add("a", evolve(login.tokens[1], refresh_token="another", access_token="another"))
    new = await stage.login()
    assert added.replaced == ("acc-2",)
    assert new.accounts[0] == old.accounts[0]
    assert new.accounts[1].epoch != old.accounts[1].epoch


async def test_a_parked_account_is_woken_only_by_an_access_token_that_was_never_seen(stage: Stage) -> None:
    """The same payload again leaves it parked: that is no sign that the person did anything."""
    login = stage.fake.login("tdAmeritrade")
    async with stage.keeper(resend_after=MINUTE) as keeper:
        await keeper.add("a", login.token)
        login.refused = True
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        stage.clock.advance(MINUTE)
        await keeper.refresh_due()
        assert (await stage.account()).state is AccountState.RECONNECT_REQUIRED
        assert (await keeper.add("a", login.token)).unchanged
        assert (await stage.account()).state is AccountState.RECONNECT_REQUIRED
        login.refused = False
        woken = await keeper.add("a", evolve(login.token, access_token="never seen", obtained_at=stage.now))
        assert woken.woken == (None,)
        assert (await keeper.refresh("a")).refresh_token == login.token.refresh_token


async def test_accounts_without_a_refresh_token_go_by_their_access_token(stage: Stage) -> None:
    """eTrade: a second payload with the same access token is no news, another one is."""
    login = stage.fake.login("eTrade")
    async with stage.keeper() as keeper:
        await keeper.add("a", login.token)
        assert (await keeper.add("a", login.token)).unchanged
        stage.clock.advance(2 * HOUR)
        (fresh,) = login.again()
        assert (await keeper.add("a", fresh)).replaced
        assert (await keeper.tokens("a")).access_token == fresh.access_token


@pytest.mark.parametrize("what", ["nothing", "no token", "two brokers", "no ids", "one id twice", "another broker"])
async def test_what_cannot_be_one_login_is_refused(stage: Stage, what: str) -> None:
    """And nothing is written."""
    one = Tokens("coinbase", "r-1", account_id="1")
    wrong = {
        "nothing": [],
        "no token": [Tokens("coinbase", account_id="1")],
        "two brokers": [one, Tokens("kraken", "r-2", account_id="2")],
        "no ids": [Tokens("coinbase", "r-1"), Tokens("coinbase", "r-2")],
        "one id twice": [one, evolve(one, refresh_token="r-2")],
        "another broker": [Tokens("kraken", "r-2", account_id="1")],
    }
    async with stage.keeper() as keeper:
        await keeper.add("known", one)
        with pytest.raises(InvalidRequest) as refused:
            await keeper.add("known" if what == "another broker" else "a", wrong[what])
        assert "r-1" not in str(refused.value)
        assert await stage.store.get("a") is None
        assert (await stage.account("known")).tokens.refresh_token == "r-1"


async def test_one_login_added_by_many_at_once_is_made_once(stage: Stage) -> None:
    """Compare and swap: nobody's insert overwrites another's."""
    login = stage.fake.login("coinbase")
    async with stage.keeper() as keeper, stage.keeper() as other:
        done = await asyncio.gather(*(it.add("a", login.token) for it in (keeper, other) * 20))
    assert sum(len(added.new) for added in done) == 1
    assert (await stage.login()).revision == 1


async def test_many_logins_are_spread_over_a_time(stage: Stage) -> None:
    """An import without times is due at once, but not in one second."""
    logins = [(f"u{n}", Tokens("coinbase", f"r-{n}")) for n in range(600)]
    async with stage.keeper() as keeper:
        assert await keeper.add_many(logins, spread=HOUR) == 600
        assert await keeper.add_many(logins, spread=HOUR) == 0
    due = [account.due_at for account in await stage.accounts()]
    tenths = [sum(at is not None and (at - stage.now) // (HOUR / 10) == n for at in due) for n in range(10)]
    assert sum(tenths) == 600
    assert min(tenths) > 30


async def test_many_logins_can_be_due_at_once_whatever_their_lifetimes_say(stage: Stage) -> None:
    """Nobody knows how old an imported access token is."""
    logins = [(f"u{n}", stage.fake.login("coinbase", access_lifetime=DAY).token) for n in range(20)]
    async with stage.keeper() as keeper:
        await keeper.add_many(logins, at_once=True)
        assert await keeper.refresh_due() == 20


@pytest.mark.parametrize("brokers", [("vanguard",), "Vanguard", ["etoro", "vanguard"], True, "*"])
async def test_moving_in_asks_nobody_for_a_code_by_itself(stage: Stage, brokers: Any) -> None:
    """Logins of brokers that ask are refreshed on demand; once that goes through without a code, by time too."""
    person = stage.fake.login("vanguard", mfa=True, access_lifetime=HOUR)
    async with stage.keeper() as keeper:
        logins = [("v", person.tokens), ("c", stage.fake.login("coinbase", access_lifetime=HOUR).tokens)]
        await keeper.add_many(logins, at_once=True, spread=timedelta(seconds=1), on_demand=brokers)
        stage.clock.advance(2 * HOUR)
        assert await keeper.refresh_due() == (brokers not in (True, "*"))
        assert not stage.notes.of(MfaNeeded)
        assert (await stage.login("v")).state is AccountState.ACTIVE
        with pytest.raises(MfaPending) as asked:
            await keeper.tokens("v")
        await keeper.submit_mfa("v", person.code, pending_id=asked.value.pending_id)
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        assert len(stage.notes.of(MfaNeeded)) == 1
        person.options = evolve(person.options, mfa=False)
        await keeper.tokens("v")
        assert (await stage.account("v")).due_at is not None


async def test_on_demand_holds_for_a_new_login_of_a_known_person(stage: Stage) -> None:
    """Replaced or woken, it is as one that is new; and one that is no news stays as it was."""
    person = stage.fake.login("vanguard", access_lifetime=HOUR)
    async with stage.keeper() as keeper:
        await keeper.add("v", person.tokens)
        await keeper.add_many([("v", person.tokens)], on_demand=True)
        assert (await stage.account("v")).due_at is not None
        person.again()
        await keeper.add_many([("v", person.tokens)], on_demand=True, at_once=True)
        assert (await stage.account("v")).due_at is None


@pytest.mark.parametrize("wrong", [7, None, [7], [""], b"vanguard", {"vanguard": True}])
async def test_what_names_no_broker_is_refused(stage: Stage, wrong: Any) -> None:
    """Before anything is added: else its people would be asked."""
    async with stage.keeper() as keeper:
        with pytest.raises(InvalidRequest, match="on_demand"):
            await keeper.add_many([("v", stage.fake.login("vanguard").tokens)], on_demand=wrong)
        with pytest.raises(UnknownLogin):
            await keeper.login("v")


async def test_a_login_that_was_removed_is_unknown(stage: Stage) -> None:
    """`remove` deletes its tokens, and says whether there were any."""
    async with stage.keeper() as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        assert await keeper.remove("a")
        assert not await keeper.remove("a")
        with pytest.raises(UnknownLogin):
            await keeper.tokens("a")
        stage.clock.advance(timedelta(hours=2))
        assert await keeper.refresh_due() == 0
    assert not stage.fake.requests


class _Counted(MemoryStore):
    """Counts what it is asked for. It is given as the store by which many are added."""

    asked: ClassVar[Counter[str]] = Counter()

    async def insert_many(self, rows: Sequence[Row]) -> Sequence[bool]:
        self.asked["insert_many"] += 1
        self.asked["rows"] += len(rows)
        return await super().insert_many(rows)

    async def read(self, login_id: str) -> Row | None:
        self.asked["read"] += 1
        return await super().read(login_id)


async def test_new_logins_are_written_in_groups(stage: Stage) -> None:
    """Nothing is read before that, and a login of the group that is known is added by itself."""
    store = _Counted(clock=stage.clock)
    logins = [(f"u{n}", Tokens("coinbase", f"r-{n}")) for n in range(600)]
    async with stage.keeper(store=store) as keeper:
        await keeper.add("u7", Tokens("coinbase", "r-7"))
        store.asked.clear()
        again = ("u9", Tokens("coinbase", "r-9-later"))
        assert await keeper.add_many([*logins[:50], again, *logins[50:]]) == 600
        assert store.asked == {"insert_many": 2, "rows": 601, "read": 2}
        assert (await keeper.login("u9")).account().tokens.refresh_token == "r-9-later"


async def test_a_login_that_cannot_be_added_stops_none(stage: Stage) -> None:
    """With `on_error`; else all of its group are added, and its error is raised."""
    good = [(f"u{n}", Tokens("coinbase", f"r-{n}")) for n in range(3)]
    bad = [("known", Tokens("kraken", "r-k")), ("empty", Tokens("coinbase"))]
    async with stage.keeper() as keeper:
        await keeper.add("known", Tokens("coinbase", "r-known"))
        with pytest.raises(InvalidRequest, match="function"):
            await keeper.add_many(good, on_error=7)  # type: ignore[arg-type]
        errors: dict[str, MeshRefreshError] = {}
        assert await keeper.add_many([*bad, *good], on_error=errors.__setitem__) == 3
        assert {name: type(error) for name, error in errors.items()} == dict.fromkeys(
            [it for it, _ in bad], InvalidRequest
        )
        more = ("u4", Tokens("coinbase", "r-4"))
        with pytest.raises(InvalidRequest, match="one broker"):
            await keeper.add_many([bad[0], more])
        assert (await keeper.add(*more)).unchanged

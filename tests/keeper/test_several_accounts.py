"""Several accounts in one login: whatever they share, and whatever a reply lists, nothing is lost."""

import asyncio
import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import HttpRequest, Tokens
from mesh_refresh.keeper import AccountJoined, AccountState, NotReadyInTime, Reason, ReconnectRequired
from mesh_refresh.testing import Fault, Replies, Sharing
from tests.keeper.leaping import Scene, Wire, leaping
from tests.keeper.stage import HOUR, MINUTE, NOTHING, Notes, Stage
from tests.sharing import KNOWABLE

ROUNDS = 4


@pytest.mark.parametrize(("sharing", "replies"), KNOWABLE)
@pytest.mark.parametrize("revokes", [False, True])
async def test_nothing_is_lost_however_accounts_share(
    stage: Stage, sharing: Sharing, replies: Replies, revokes: bool
) -> None:
    """Every account is fresh after every round, and siblings do not renew each other for ever."""
    login = stage.fake.login("etoro", accounts=3, sharing=sharing, replies_with=replies, revokes_on_reuse=revokes)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        for _ in range(ROUNDS):
            await stage.pass_by(keeper, HOUR)
            await stage.assert_fresh(keeper, login)
            await stage.assert_whole()
    assert stage.sent() <= 2 * 3 * ROUNDS
    assert {account.state for account in (await stage.login()).accounts} == {AccountState.ACTIVE}


@pytest.mark.parametrize(("sharing", "replies"), KNOWABLE)
async def test_accounts_refreshed_on_demand_lose_nothing(stage: Stage, sharing: Sharing, replies: Replies) -> None:
    """Each in turn, in any order."""
    login = stage.fake.login("etoro", accounts=3, sharing=sharing, replies_with=replies, revokes_on_reuse=True)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        for account_id in ("acc-2", "acc-1", "acc-3", "acc-3", "acc-1", "acc-2"):
            stage.clock.advance(MINUTE)
            await keeper.refresh("a", account_id)
            await stage.assert_whole()


@pytest.mark.parametrize("revokes", [False, True])
async def test_what_no_client_can_know_ends_with_a_stated_reason_and_no_loop(stage: Stage, revokes: bool) -> None:
    """Different strings over one upstream pair, and replies with only the account asked for."""
    login = stage.fake.login(
        "etoro",
        accounts=3,
        sharing=Sharing.DIFFERENT_STRINGS,
        replies_with=Replies.ASKED,
        revokes_on_reuse=revokes,
    )
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        await stage.pass_by(keeper, 6 * HOUR)
        sent = stage.sent()
        parked = [account for account in (await stage.login()).accounts if account.parked]
        assert len(parked) >= 2
        assert {account.reason for account in parked} <= {Reason.REFUSED_AFTER_SIBLING, Reason.REFUSED}
        assert {account.state for account in parked} == {AccountState.RECONNECT_REQUIRED}
        await stage.pass_by(keeper, 3 * HOUR)
        assert stage.sent() - sent <= 2 * 3
        assert len(stage.notes.of(ReconnectRequired)) == len(parked)


async def test_a_person_who_logs_in_again_brings_all_of_them_back(stage: Stage) -> None:
    """Also those that ended with a reason."""
    login = stage.fake.login("etoro", accounts=3, sharing=Sharing.DIFFERENT_STRINGS, replies_with=Replies.ASKED)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        await stage.pass_by(keeper, 6 * HOUR)
        added = await keeper.add("a", login.again())
        assert set(added.replaced) == set(login.account_ids)
        assert {account.state for account in (await stage.login()).accounts} == {AccountState.ACTIVE}
    assert not await stage.lost()


@pytest.mark.parametrize("when", ["in flight", "afterwards", "long afterwards", "nobody knows", "with another's"])
async def test_an_account_that_is_added_with_a_siblings_token(stage: Stage, when: str) -> None:
    """What was spent, or is being spent, is not sent for it: it takes what came after, and waits too."""
    options: dict[str, Any] = {"sharing": Sharing.ONE_PAIR, "replies_with": Replies.ASKED, "revokes_on_reuse": True}
    login = stage.fake.login("etoro", accounts=2, **options)
    first, second = login.tokens
    async with stage.keeper() as keeper:
        await keeper.add("a", first if when != "with another's" else (first, evolve(second, refresh_token="r-other")))
        gate = stage.fake.hold(after_rotation=True)
        caller = asyncio.create_task(keeper.refresh("a", "acc-1"))
        await gate.entered.wait()
        if when == "in flight":
            await keeper.add("a", (first, second))
        gate.release()
        await caller
        if when == "long afterwards":
            for _ in range(20):
                await keeper.refresh("a", "acc-1")
        if when == "nobody knows":
            stage.fake.fail(Fault.cut())
            with pytest.raises(NotReadyInTime):
                await keeper.refresh("a", "acc-1", max_wait=MINUTE)
        for again in (False, True):
            await keeper.add("a", (first, second))
            assert len({it.tokens.refresh_token for it in (await stage.login()).accounts}) == 1
            if when == "nobody knows" and not again:
                with pytest.raises(NotReadyInTime):
                    await keeper.refresh("a", "acc-2", max_wait=NOTHING)
                stage.clock.advance(HOUR)
            await keeper.refresh("a", "acc-2")
        await stage.pass_by(keeper, 2 * HOUR)
    await stage.assert_whole()


async def test_accounts_that_a_reply_brings_join_the_login(stage: Stage) -> None:
    """In the same transaction, and with an event."""
    login = stage.fake.login("etoro", accounts=3)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens[0])
        await keeper.refresh("a", "acc-1")
        joined = await stage.notes.until(AccountJoined, 2)
        assert {event.account_id for event in joined} == {"acc-2", "acc-3"}
        assert stage.fake.is_live((await keeper.tokens("a", "acc-3")).access_token)
        await keeper.refresh("a", "acc-1")
    assert len(stage.notes.of(AccountJoined)) == 2
    await stage.assert_whole()


async def test_a_login_without_ids_learns_them_from_its_first_reply(stage: Stage) -> None:
    """The account that was added nameless is not kept twice."""
    login = stage.fake.login("etoro", accounts=1, named=True)
    nameless = evolve(login.token, account_id=None, mesh_account_id=None)
    async with stage.keeper() as keeper:
        await keeper.add("a", nameless)
        await keeper.refresh("a")
        assert [account.tokens.account_id for account in (await stage.login()).accounts] == ["acc-1"]
    await stage.assert_whole()


async def test_refs_stay_with_their_accounts(stage: Stage) -> None:
    """The user's own keys are carried to the account they were given with, and to no other."""
    login = stage.fake.login("etoro", accounts=2)
    mine: list[Tokens] = [evolve(tokens, ref=f"user-{n}") for n, tokens in enumerate(login.tokens)]
    async with stage.keeper() as keeper:
        await keeper.add("a", mine)
        await keeper.refresh("a", "acc-2")
        await keeper.refresh("a", "acc-1")
    assert [account.tokens.ref for account in (await stage.login()).accounts] == ["user-0", "user-1"]


@pytest.mark.parametrize("refresh_token", [None, "r-A", "r-another"])
def test_a_caller_whose_account_is_never_in_the_reply_makes_few_requests(refresh_token: str | None) -> None:
    """Each reply renews another account of the login: the caller is told so in time, and the loop is paced as well."""
    issued = itertools.count()

    def answer(_: HttpRequest) -> bytes:
        entry = {"account": {"accountId": "B"}, "accessToken": f"a-{next(issued)}", "refreshToken": refresh_token}
        content = {"status": "succeeded", "expiresInSeconds": 3600, "brokerAccountTokens": [entry]}
        return json.dumps({"status": "ok", "content": content}).encode()

    async def story() -> tuple[int, int]:
        scene, notes = Scene(Wire(answer, latency=0.01)), Notes()
        ended = scene.clock.now() - HOUR
        both = [Tokens("coinbase", f"r-{name}", access_token="a", account_id=name, expires_at=ended) for name in "AB"]
        async with scene.process(on_event=notes) as keeper:
            await keeper.add("a", both)
            for _ in range(3):
                with pytest.raises(NotReadyInTime):
                    await keeper.tokens("a", "A", max_wait=timedelta(seconds=3))
            await asyncio.sleep(600)
        return len(scene.wire.begun), len(notes.all)

    assert max(leaping(story())) <= 15

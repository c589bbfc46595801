"""Sixty logins that are due at once behind a broken edge; ``nox -s edges`` has every fault."""

import asyncio

import pytest

from mesh_refresh import UnreadableReply
from mesh_refresh.keeper import CodeNotWanted
from mesh_refresh.keeper.events import AccountUnreadable, MfaNeeded
from mesh_refresh.logins import AccountState
from mesh_refresh.testing import Edge, EdgeFault, Moment
from tests.keeper.runtime.fleet_behind_edges import due_at_once
from tests.keeper.stage import Stage

WHOLE = (
    "long header of 70000 bytes",
    "chunk size with 0x",
    "last chunk missing, closed",
    "coding gzip over plain",
    "the reply 3 times, at once",
    "garbage, at once",
)
BROKEN = (
    "early 503, at once",
    "304 with a body",
    "cut at -1",
    "cut at 0",
    "early 200, while idle",
    "another login's reply, in the next segment",
)


@pytest.mark.parametrize("name", WHOLE)
async def test_what_comes_whole_is_taken(name: str) -> None:
    """Nobody has to salvage anything, and no breaker opens."""
    fleet = await due_at_once(EdgeFault.named(name))
    assert [*fleet.wrong] == []
    assert (fleet.met, fleet.harmed, fleet.tripped) == (60, 0, False)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_edge_opens_a_breaker(name: str) -> None:
    """Before ten logins beyond those under way were harmed; what came is kept."""
    fleet = await due_at_once(EdgeFault.named(name))
    assert [*fleet.wrong] == []
    assert fleet.tripped
    assert 0 < fleet.harmed <= 20


@pytest.mark.parametrize("when", [Moment.IDLE, Moment.NEXT_REQUEST])
async def test_nobody_gets_what_is_for_somebody_else(when: Moment) -> None:
    """Where all have ids: another login's reply, on the connection that the next login is sent on."""
    fleet = await due_at_once(EdgeFault.repeat(when=when, foreign=True))
    assert [*fleet.wrong] == []
    assert not fleet.strangers


async def test_what_comes_late_is_in_the_row(stage: Stage) -> None:
    """An empty object, and the real reply while the connection is idle: the row of the login has its bytes."""
    async with (
        Edge(stage.fake, EdgeFault.early(200, when=Moment.IDLE)) as edge,
        stage.keeper(base_url=edge.base_url) as keeper,
    ):
        login = stage.fake.login("coinbase")
        await keeper.add("a", login.token)
        stage.clock.advance(login.options.access_lifetime or stage.now - stage.now)
        await keeper.refresh_due()
        await edge.idle()
        await stage.notes.until(AccountUnreadable)
        account = await stage.account()
        assert account.state is AccountState.UNREADABLE
        live = login.live[0].refresh_token
        assert live is not None
        assert live.encode() in (account.body or b"")
        await asyncio.sleep(0)
    assert not await stage.lost()


async def test_what_comes_late_after_a_code_closes_the_question(stage: Stage) -> None:
    """The code is spent and so are the tokens that went with it: a second code is refused, and nothing is sent."""
    async with Edge(stage.fake) as edge, stage.keeper(base_url=edge.base_url) as keeper:
        login = stage.fake.login("vanguard", mfa=True)
        await keeper.add("a", login.tokens)
        stage.clock.advance(login.options.access_lifetime or stage.now - stage.now)
        await keeper.refresh_due()
        await stage.notes.until(MfaNeeded)
        edge.fail(EdgeFault.early(200, when=Moment.IDLE))
        with pytest.raises(UnreadableReply):
            await keeper.submit_mfa("a", login.code)
        await edge.idle()
        await stage.notes.until(AccountUnreadable)
        account = await stage.account()
        assert (account.state, account.pending) == (AccountState.UNREADABLE, None)
        with pytest.raises(CodeNotWanted):
            await keeper.submit_mfa("a", login.code)
    assert stage.sent() == 2
    assert not await stage.lost()

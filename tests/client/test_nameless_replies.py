"""A program that has only the client, accounts that Link has named, and replies that name none."""

import asyncio

import pytest

from mesh_refresh import AccountNotInReply, MeshClient, Refreshed, Tokens
from mesh_refresh.testing import FakeMesh, Replies, Sharing
from tests.sharing import UNCLEAR


class Rows:
    """What the program keeps: a row for each account, and what came without a name."""

    def __init__(self, tokens: tuple[Tokens, ...]) -> None:
        self.named = {it.account_id: it for it in tokens}
        self.unnamed: tuple[Tokens, ...] = ()

    @property
    def all(self) -> list[Tokens]:
        return [*self.named.values(), *self.unnamed]

    async def save(self, outcome: Refreshed) -> None:
        self.named = {name: outcome.onto(stored) for name, stored in self.named.items()}
        if outcome.asked is None:
            self.unnamed = outcome.all_tokens


async def exchanged(mesh: MeshClient, tokens: Tokens) -> Refreshed:
    found = await mesh.refresh(tokens)
    assert isinstance(found, Refreshed)
    return found


@pytest.mark.parametrize("accounts", [1, 2, 3, 5])
@pytest.mark.parametrize("replies", [Replies.ALL, Replies.ASKED])
async def test_one_pair_serves_every_account(accounts: int, replies: Replies) -> None:
    """Whichever account asks, and however often the reply has the pair: each row has it, and no spent token is sent."""
    async with FakeMesh() as fake:
        login = fake.login("etoro", accounts=accounts, named=True, named_replies=False, replies_with=replies)
        rows = Rows(login.tokens)
        async with fake.client(on_outcome=rows.save) as mesh:
            for number in range(3):
                asked = rows.all[number % accounts]
                assert (await exchanged(mesh, asked)).tokens.account_id == asked.account_id
                assert {it.refresh_token for it in rows.all} == {login.live[0].refresh_token}
                if replies is Replies.ALL:
                    assert [it.access_token for it in rows.all] == [it.access_token for it in login.live]
        assert set(rows.named) == set(login.account_ids)
        assert not rows.unnamed
        assert not fake.reuses
        assert not fake.lost(rows.all)


@pytest.mark.parametrize("accounts", [2, 3, 5])
@pytest.mark.parametrize(("sharing", "replies"), UNCLEAR)
async def test_several_pairs_without_a_name(accounts: int, sharing: Sharing, replies: Replies) -> None:
    """The reply does not say whose each is: none of them is given to an account, and all are there to be saved."""
    async with FakeMesh() as fake:
        login = fake.login(
            "etoro", accounts=accounts, named=True, named_replies=False, sharing=sharing, replies_with=replies
        )
        rows = Rows(login.tokens)
        async with fake.client(on_outcome=rows.save) as mesh:
            found = await exchanged(mesh, login.token)
            with pytest.raises(AccountNotInReply):
                _ = found.tokens
            for _ in range(3):
                found = await exchanged(mesh, rows.unnamed[-1])
                assert len(found.all_tokens) == accounts
                assert not fake.lost(rows.all)
        assert [it.access_token for it in rows.named.values()] == [it.access_token for it in login.tokens]
        assert not fake.reuses


async def test_callers_for_accounts_that_share_a_pair_share_an_exchange() -> None:
    """A pair that serves every account answers each caller at once: no second exchange is made for an access token."""
    async with FakeMesh() as fake:
        login = fake.login("etoro", accounts=2, named=True, named_replies=False)
        first, second = login.tokens
        async with fake.client() as mesh:
            found = await asyncio.gather(exchanged(mesh, first), exchanged(mesh, second))
        assert [it.tokens.account_id for it in found] == list(login.account_ids)
        assert [it.tokens.access_token for it in found] == [it.access_token for it in login.live]
        assert len(fake.requests) == 1

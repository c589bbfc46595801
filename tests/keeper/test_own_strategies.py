"""Strategies of the user's that change what a reply brought: the keeper believes them, and loses nothing."""

from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import MfaRequired, Refreshed, RefreshOptions, RefreshRequest, Tokens
from mesh_refresh.keeper import AccountState
from mesh_refresh.strategies import DefaultStrategy
from mesh_refresh.testing import Replies, Sharing
from tests.keeper.stage import HOUR, Stage
from tests.sharing import KNOWABLE
from tests.simulation.strategies import Omits


class Decorates(DefaultStrategy):
    """The broker's API wants access tokens in another form."""

    def interpret(self, *args: Any) -> Refreshed | MfaRequired:
        outcome = super().interpret(*args)
        return evolve(outcome, all_tokens=tuple(self.changed(it) for it in outcome.all_tokens))

    def changed(self, tokens: Tokens) -> Tokens:
        return evolve(tokens, access_token=f"Bearer {tokens.access_token}")


class Wraps(Decorates):
    """Refresh tokens are kept in another form than they are sent in."""

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        return super().build(unwrapped(tokens), options)

    def changed(self, tokens: Tokens) -> Tokens:
        token = tokens.refresh_token
        return tokens if token is None else evolve(tokens, refresh_token=f"v1:{token.removeprefix('v1:')}")


def unwrapped(tokens: Tokens) -> Tokens:
    token, access = tokens.refresh_token, tokens.access_token
    return evolve(
        tokens,
        refresh_token=token and token.removeprefix("v1:"),
        access_token=access and access.removeprefix("Bearer "),
    )


@pytest.mark.parametrize("strategy", [Decorates(), Wraps(), Omits()], ids=lambda it: type(it).__name__)
@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize(("sharing", "replies"), KNOWABLE)
async def test_nothing_is_lost_whatever_a_strategy_makes_of_it(
    stage: Stage, sharing: Sharing, replies: Replies, rotates: bool, strategy: DefaultStrategy
) -> None:
    """Each account keeps its live pair, as the strategy gave it, and nobody is exchanged more often than needed."""
    login = stage.fake.login("etoro", accounts=3, sharing=sharing, replies_with=replies, rotates=rotates)
    async with stage.keeper(strategies={"etoro": strategy}) as keeper:
        await keeper.add("a", login.tokens)
        await stage.pass_by(keeper, 2 * HOUR)
        for account_id in login.account_ids:
            fresh = await keeper.tokens("a", account_id)
            assert fresh.access_token != unwrapped(fresh).access_token or type(strategy) is not Decorates
            assert stage.fake.is_live(unwrapped(fresh).access_token)
    accounts = (await stage.login()).accounts
    assert {account.state for account in accounts} == {AccountState.ACTIVE}
    assert not stage.fake.lost([unwrapped(account.tokens) for account in accounts])
    assert not stage.fake.reuses
    assert stage.sent() <= 2 * 3 * 2

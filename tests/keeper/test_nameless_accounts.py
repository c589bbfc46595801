"""Accounts that Link has named, and replies that name none: nothing is lost, grows, or is asked for ever."""

import pytest
from attrs import evolve

from mesh_refresh.keeper import AccountState, Reason, ReconnectNeeded, ReconnectRequired
from mesh_refresh.testing import FakeLogin, Replies, Sharing
from tests.keeper.stage import HOUR, MINUTE, Stage
from tests.sharing import CLEAR, MODES, UNCLEAR

ROUNDS = 3


def nameless(stage: Stage, accounts: int, sharing: Sharing, replies: Replies, *, rotates: bool = True) -> FakeLogin:
    return stage.fake.login(
        "etoro",
        accounts=accounts,
        named=True,
        named_replies=False,
        sharing=sharing,
        replies_with=replies,
        revokes_on_reuse=True,
        rotates=rotates,
    )


@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize("accounts", [1, 2, 5])
@pytest.mark.parametrize(("sharing", "replies"), CLEAR)
async def test_what_leaves_no_doubt_is_given_to_its_account(
    stage: Stage, accounts: int, sharing: Sharing, replies: Replies, rotates: bool
) -> None:
    """One entry, or several that are equal to the byte: every account is fresh, round after round."""
    login = nameless(stage, accounts, sharing, replies, rotates=rotates)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        for _ in range(ROUNDS):
            await stage.pass_by(keeper, HOUR, step=5 * MINUTE)
            await stage.assert_fresh(keeper, login)
            await stage.assert_whole()
    assert [it.tokens.account_id for it in (await stage.login()).accounts] == list(login.account_ids)
    if (sharing, replies) == (Sharing.ONE_PAIR, Replies.ALL):
        assert stage.sent() <= 2 * ROUNDS, "one exchange serves all accounts"


@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize("accounts", [2, 3, 5])
@pytest.mark.parametrize(("sharing", "replies"), UNCLEAR)
async def test_what_is_unclear_is_kept_once_and_told(
    stage: Stage, accounts: int, sharing: Sharing, replies: Replies, rotates: bool
) -> None:
    """Several pairs without a name: they are kept as one set, which stays fresh, and no account sends a spent token."""
    login = nameless(stage, accounts, sharing, replies, rotates=rotates)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        await stage.pass_by(keeper, HOUR, step=5 * MINUTE)
        after_one = await stage.login()
        await stage.pass_by(keeper, ROUNDS * HOUR, step=5 * MINUTE)
        await stage.assert_whole()
        found = await stage.login()
        named = [it for it in found.accounts if it.tokens.account_id]
        unnamed = [it for it in found.accounts if not it.tokens.account_id]
        assert len(found.accounts) == len(after_one.accounts) == 2 * accounts
        assert [it.tokens.account_id for it in named] == list(login.account_ids)
        assert {(it.state, it.reason) for it in named} == {(AccountState.RECONNECT_REQUIRED, Reason.AMBIGUOUS)}
        if rotates:
            assert all(stage.fake.is_live(it.tokens.access_token) for it in unnamed)
        told = await stage.notes.until(ReconnectRequired, accounts)
        assert [(it.account_id, it.reason) for it in told][:accounts] == [
            (account_id, Reason.AMBIGUOUS) for account_id in login.account_ids
        ]
        for account_id in login.account_ids:
            for ask in (keeper.tokens, keeper.refresh):
                with pytest.raises(ReconnectNeeded) as caught:
                    await ask("a", account_id)
                assert caught.value.reason is Reason.AMBIGUOUS
        assert not stage.fake.reuses


@pytest.mark.parametrize(("sharing", "replies"), UNCLEAR)
async def test_a_new_login_of_the_person_ends_the_doubt(stage: Stage, sharing: Sharing, replies: Replies) -> None:
    """What Link hands over next has names: the accounts take it, and replies with names end the matter."""
    login = nameless(stage, 2, sharing, replies)
    async with stage.keeper() as keeper:
        await keeper.add("a", login.tokens)
        await stage.pass_by(keeper, HOUR, step=5 * MINUTE)
        await keeper.add("a", login.again())
        for account_id in login.account_ids:
            assert (await keeper.tokens("a", account_id)).auth_token
        await stage.pass_by(keeper, 2 * HOUR, step=5 * MINUTE)
        assert len((await stage.login()).accounts) == 4
        assert not await stage.lost()


@pytest.mark.parametrize(("sharing", "replies"), MODES)
async def test_a_set_without_names_does_not_grow(stage: Stage, sharing: Sharing, replies: Replies) -> None:
    """A login that nobody has named: its one account, and what replies add, are one set."""
    login = nameless(stage, 3, sharing, replies)
    async with stage.keeper() as keeper:
        await keeper.add("a", evolve(login.token, account_id=None, mesh_account_id=None))
        await stage.pass_by(keeper, HOUR, step=5 * MINUTE)
        size = len((await stage.login()).accounts)
        assert size <= 3
        await stage.pass_by(keeper, ROUNDS * HOUR, step=5 * MINUTE)
        assert len((await stage.login()).accounts) == size
        assert not stage.fake.reuses
        assert stage.sent() <= 4 * (ROUNDS + 1)

"""The rules of Mesh and its brokers, by raw HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import BrokerType, DefaultStrategy, TokensRefused
from mesh_refresh.testing import End, FakeMesh, LossReason, ManualClock, MfaToken, Replies, Sharing, WrongCode
from mesh_refresh.tokens import Tokens
from tests.testing.conftest import Caller


async def test_a_refresh_rotates_the_pair(fake: FakeMesh, caller: Caller) -> None:
    """A refresh answers with a new pair and its lifetime, and spends the old refresh token."""
    login = fake.login("coinbase")
    got = await caller.refresh(login.token)
    assert got.status == 200
    assert got.content["status"] == "succeeded"
    assert got.content["expiresInSeconds"] == 3600
    assert got.pairs[0]["refreshToken"] == login.live[0].refresh_token != login.token.refresh_token
    assert not fake.is_live(login.token.refresh_token)
    assert fake.is_live(got.pairs[0]["refreshToken"])
    assert fake.is_live(got.pairs[0]["accessToken"])


@pytest.mark.parametrize("revokes", [False, True])
async def test_a_spent_token_is_a_reuse(fake: FakeMesh, caller: Caller, revokes: bool) -> None:
    """A spent token is refused and noted; the broker revokes the family where it does such things."""
    login = fake.login("coinbase", revokes_on_reuse=revokes)
    fresh = (await caller.refresh(login.token)).pairs[0]["refreshToken"]
    fake.hold_tokens(login.live)
    again = await caller.refresh(login.token)
    assert (again.status, again.payload["message"], again.payload["errorType"]) == (
        400,
        "Unauthorized token",
        "badRequest",
    )
    (reuse,) = fake.reuses
    assert (reuse.login, reuse.end, reuse.revoked) == (login.id, End.SPENT, revokes)
    assert fake.is_live(fresh) is not revokes
    assert [item.reason for item in fake.lost()] == ([LossReason.REUSE] if revokes else [])


async def test_within_its_grace_a_spent_token_brings_its_pair_again(
    fake: FakeMesh, caller: Caller, clock: ManualClock
) -> None:
    """A lenient broker answers a repeated request with the same pair, and only for so long."""
    login = fake.login("coinbase", grace=timedelta(seconds=30))
    first = await caller.refresh(login.token)
    assert (await caller.refresh(login.token)).pairs == first.pairs
    assert not fake.reuses
    clock.advance(30)
    assert (await caller.refresh(login.token)).status == 400
    assert fake.reuses


async def test_a_broker_that_does_not_rotate_leaves_the_refresh_token_out(fake: FakeMesh, caller: Caller) -> None:
    """TD Ameritrade answers with an access token alone, unless a new refresh token is asked for."""
    login = fake.login("tdAmeritrade")
    plain = await caller.refresh(login.token)
    assert "refreshToken" not in plain.pairs[0]
    assert "refreshTokenExpiresInSeconds" not in plain.content
    renewed = await caller.refresh(login.token, createNewRefreshToken=True)
    assert renewed.pairs[0]["refreshToken"] != login.token.refresh_token
    assert renewed.content["refreshTokenExpiresInSeconds"] == 90 * 24 * 3600
    assert (await caller.refresh(login.token)).status == 400


@pytest.mark.parametrize("replies", Replies)
@pytest.mark.parametrize("sharing", Sharing)
async def test_accounts_share_tokens_as_the_login_says(
    fake: FakeMesh, caller: Caller, sharing: Sharing, replies: Replies
) -> None:
    """Which accounts a reply lists, and whose old token dies by it, depends on both settings."""
    login = fake.login("coinbase", accounts=3, sharing=sharing, replies_with=replies)
    assert len({tokens.refresh_token for tokens in login.tokens}) == (1 if sharing is Sharing.ONE_PAIR else 3)
    got = await caller.refresh(login.tokens[1])
    listed = [pair.get("account", {}).get("accountId") for pair in got.pairs]
    if replies is Replies.ALL:
        assert listed == ["acc-1", "acc-2", "acc-3"]
    else:
        assert listed == ([None] if sharing is Sharing.ONE_PAIR else ["acc-2"])
    sibling_lives = fake.is_live(login.tokens[0].refresh_token)
    assert sibling_lives is (sharing is Sharing.PAIR_EACH and replies is Replies.ASKED)
    fake.hold_body(got.body)
    stranded = sharing is Sharing.DIFFERENT_STRINGS and replies is Replies.ASKED
    assert [item.reason for item in fake.lost()] == ([LossReason.SIBLING] * 2 if stranded else [])


async def test_a_dead_siblings_token_is_a_reuse(fake: FakeMesh, caller: Caller) -> None:
    """A string that died with its sibling's is refused, and a strict broker revokes the pair for it."""
    login = fake.login(
        "coinbase",
        accounts=2,
        sharing=Sharing.DIFFERENT_STRINGS,
        replies_with=Replies.ASKED,
        revokes_on_reuse=True,
    )
    await caller.refresh(login.tokens[0])
    assert (await caller.refresh(login.tokens[1])).status == 400
    assert [reuse.end for reuse in fake.reuses] == [End.SIBLING]
    assert {item.account: item.reason for item in fake.lost()} == {
        "acc-1": LossReason.REUSE,
        "acc-2": LossReason.SIBLING,
    }


async def test_top_level_replies_fill_only_the_deprecated_fields(fake: FakeMesh, caller: Caller) -> None:
    """Some brokers fill the top level alone."""
    login = fake.login("coinbase", top_level=True, named=True)
    content = (await caller.refresh(login.token)).content
    assert "brokerAccountTokens" not in content
    assert content["refreshToken"] == login.live[0].refresh_token
    assert content["account"]["accountId"] == "acc-1"


async def test_a_token_id_stands_for_the_access_token(fake: FakeMesh, caller: Caller) -> None:
    """Where Mesh manages the token, its id is what WeBull's request carries and what the reply brings."""
    login = fake.login("weBull", token_ids=True)
    assert login.token.access_token is None
    got = await caller.refresh(login.token, accessToken=login.token.token_id)
    assert got.pairs[0]["tokenId"] == login.live[0].token_id
    assert "accessToken" not in got.pairs[0]


async def test_webull_wants_the_access_token_and_remembers_the_trade_token(fake: FakeMesh, caller: Caller) -> None:
    """Without an access token: missingField. The trade token is remembered, and never returned."""
    login = fake.login("weBull")
    refused = await caller.refresh(login.token)
    assert (refused.status, refused.payload["errorType"]) == (400, "missingField")
    assert (await caller.refresh(login.token, accessToken="of somebody else")).status == 400
    assert login.trade_token == login.token.trade_token
    got = await caller.refresh(login.token, accessToken=login.token.access_token, tradeToken="newer")
    assert login.trade_token == "newer"
    assert b"newer" not in got.body


@pytest.mark.parametrize("place", MfaToken)
async def test_vanguard_asks_for_a_code(fake: FakeMesh, caller: Caller, place: MfaToken) -> None:
    """The second request carries the code, the first reply's access token and the refresh token in force."""
    login = fake.login("vanguard", mfa=True, mfa_token=place)
    asked = await caller.refresh(login.token, accessToken=login.token.access_token)
    assert (asked.status, asked.payload["status"], asked.content["status"]) == (200, "ok", "mfaRequired")
    access = login.token.access_token
    if place is not MfaToken.ABSENT:
        access = (asked.pairs[0] if place is MfaToken.ENTRIES else asked.content)["accessToken"]
    assert fake.is_live(login.token.refresh_token)
    if place is not MfaToken.ABSENT:
        stale = await caller.refresh(login.token, accessToken=login.token.access_token, mfaCode=login.code)
        assert stale.status == 400
    done = await caller.refresh(login.token, accessToken=access, mfaCode=login.code)
    assert done.content["status"] == "succeeded"
    assert not fake.is_live(login.token.refresh_token)


@pytest.mark.parametrize("wrong_code", WrongCode)
async def test_a_wrong_code_costs_nothing(fake: FakeMesh, caller: Caller, wrong_code: WrongCode) -> None:
    """After a wrong code, the right one still works; the code must be asked for first."""
    login = fake.login("coinbase", mfa=True, wrong_code=wrong_code)
    early = await caller.refresh(login.token, mfaCode="000000")
    assert early.status == 400
    access = (await caller.refresh(login.token)).pairs[0]["accessToken"]
    wrong = await caller.refresh(login.token, accessToken=access, mfaCode="wrong")
    if wrong_code is WrongCode.REFUSED:
        assert (wrong.status, wrong.payload["status"]) == (400, "badRequest")
    else:
        assert (wrong.status, wrong.content["status"]) == (200, "failed")
    assert fake.is_live(login.token.refresh_token)
    assert (await caller.refresh(login.token, accessToken=access, mfaCode=login.code)).content["status"] == "succeeded"


async def test_several_rounds_of_codes(fake: FakeMesh, caller: Caller) -> None:
    """A broker may ask again, each time for another code and with another access token."""
    login = fake.login("vanguard", mfa=True, mfa_rounds=2)
    first = await caller.refresh(login.token, accessToken=login.token.access_token)
    code = login.code
    second = await caller.refresh(login.token, accessToken=first.pairs[0]["accessToken"], mfaCode=code)
    assert second.content["status"] == "mfaRequired"
    assert login.code != code
    third = await caller.refresh(login.token, accessToken=second.pairs[0]["accessToken"], mfaCode=login.code)
    assert third.content["status"] == "succeeded"


async def test_a_demand_for_a_code_may_rotate(fake: FakeMesh, caller: Caller) -> None:
    """Where the first reply renews the refresh token, the code goes with the new one."""
    login = fake.login("coinbase", mfa=True, mfa_rotates=True)
    pair = (await caller.refresh(login.token)).pairs[0]
    assert fake.lost()
    renewed = Tokens("coinbase", pair["refreshToken"])
    done = await caller.refresh(renewed, accessToken=pair["accessToken"], mfaCode=login.code)
    assert done.content["status"] == "succeeded"


async def test_delayed_authentication_waits_a_day(fake: FakeMesh, caller: Caller, clock: ManualClock) -> None:
    """Interactive Brokers' first refresh token can be exchanged after 24 hours, and is good before and after."""
    login = fake.delayed_login()
    assert login.token.access_token is None
    assert set(login.link_payload()) == {"refreshToken", "brokerType", "brokerName", "brokerBrandInfo"}
    assert (await caller.refresh(login.token)).status == 400
    clock.advance(timedelta(hours=24))
    assert (await caller.refresh(login.token)).status == 200


async def test_link_hands_over_what_the_login_has(fake: FakeMesh, clock: ManualClock) -> None:
    """Link's payload reads as the login's tokens, for each of its forms."""
    for login in (
        fake.login("coinbase", accounts=2, refresh_lifetime=timedelta(days=1)),
        fake.login("coinbase", access_lifetime=None),
        fake.login("eTrade"),
        fake.login("coinbase", token_ids=True),
        fake.delayed_login(),
    ):
        assert Tokens.from_link(login.link_payload(), obtained_at=clock.now()) == login.tokens


async def test_refresh_tokens_run_out(fake: FakeMesh, caller: Caller, clock: ManualClock) -> None:
    """After its lifetime a refresh token is refused; that is nobody's loss."""
    login = fake.login("coinbase", refresh_lifetime=timedelta(days=1))
    clock.advance(timedelta(days=1))
    assert (await caller.refresh(login.token)).status == 400
    assert not fake.lost()


async def test_a_revoked_login_is_refused_until_its_owner_is_back(fake: FakeMesh, caller: Caller) -> None:
    """Revoked tokens are refused and not lost; a new login brings new ones."""
    login = fake.login("coinbase")
    login.revoke()
    assert (await caller.refresh(login.token)).status == 400
    assert not fake.lost()
    assert (await caller.refresh(login.again()[0])).status == 200


async def test_a_token_is_refused_at_another_broker(fake: FakeMesh, caller: Caller) -> None:
    """Tokens of one broker are none of another's, and unknown tokens are nobody's."""
    login = fake.login("coinbase")
    elsewhere = await caller.post({"type": "sandbox", "refreshToken": login.token.refresh_token})
    unknown = await caller.post({"type": "coinbase", "refreshToken": "never-issued"})
    assert [got.payload["message"] for got in (elsewhere, unknown)] == ["Unauthorized token"] * 2
    assert fake.is_live(login.token.refresh_token)


async def test_brokers_of_the_sandbox_and_of_tomorrow(clock: ManualClock) -> None:
    """The sandbox's broker types are known; one that no list has is accepted where the test says so."""
    async with FakeMesh(clock=clock, extra_brokers=["brandNew"]) as fake, fake.client() as mesh:
        for broker in ("sandbox", "sandboxCoinbase", "brandNew"):
            assert (await mesh.refresh(fake.login(broker).token)).unwrap().tokens.broker == broker


class _SpendsAccessTokens(DefaultStrategy):
    def credential(self, tokens: Tokens) -> str | None:
        return tokens.access_token


@pytest.mark.parametrize("replies_with", Replies)
async def test_access_tokens_are_spent(fake: FakeMesh, clock: ManualClock, replies_with: Replies) -> None:
    """As at Bitfinex: no refresh token is told, the access token may have ended, and each is good for one exchange."""
    login = fake.login("bitfinexDirect", accounts=2, spends_access_token=True, replies_with=replies_with)
    assert Tokens.from_link(login.link_payload(), obtained_at=clock.now()) == login.tokens
    first = login.token
    assert (first.refresh_token, first.expires_at) == (None, clock.now() + timedelta(hours=1))
    clock.advance(timedelta(hours=2))
    strategies = {BrokerType.BITFINEX_DIRECT: _SpendsAccessTokens(send_access_token=True)}
    async with fake.client(strategies=strategies) as mesh:
        outcome = await mesh.refresh(first)
        assert outcome.tokens == login.live[0] != first
        assert outcome.tokens.expires_at == clock.now() + timedelta(hours=1)
        assert [fake.is_live(it.access_token) for it in (first, outcome.tokens)] == [False, True]
        assert not fake.lost()
        clock.advance(timedelta(minutes=1))
        with pytest.raises(TokensRefused):
            await mesh.refresh(first)
    assert len(fake.reuses) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"mfa": True}, {"token_ids": True}, {"delayed": True}, {"rotates": False}, {"refreshable": False}],
    ids=str,
)
def test_a_login_that_spends_its_access_token_rotates_and_no_more(fake: FakeMesh, wrong: Any) -> None:
    with pytest.raises(ValueError, match="spends_access_token"):
        fake.login("bitfinexDirect", spends_access_token=True, **wrong)

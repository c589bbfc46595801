"""What each broker wants of a refresh."""

from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import (
    BrokerType,
    DefaultStrategy,
    InvalidRequest,
    MfaRequired,
    RefreshOptions,
    RefreshRequest,
    Strategy,
    StrategyRegistry,
    Tokens,
    VanguardStrategy,
    WeBullStrategy,
)
from tests.replies.wire_replies import OLD, entry, pending

NOTHING = RefreshOptions()
FULL = Tokens(
    "coinbase", "fake-refresh", access_token="fake-access", trade_token="fake-trade", token_id="fake-id",
    metadata={"note": None}, account_id="A",
)  # fmt: skip
ALL = [DefaultStrategy(), DefaultStrategy(send_access_token=True), WeBullStrategy(), VanguardStrategy()]


def asked(tokens: Tokens = OLD, **fields: Any) -> MfaRequired:
    return pending(tokens, **fields)


def test_default() -> None:
    """The default sends the refresh token and the metadata, and the access token only when told to."""
    assert DefaultStrategy().build(FULL, NOTHING) == RefreshRequest("coinbase", "fake-refresh", metadata={"note": None})
    request = DefaultStrategy(send_access_token=True).build(FULL, NOTHING)
    assert request == RefreshRequest("coinbase", "fake-refresh", access_token="fake-access", metadata={"note": None})


def test_send_access_token_where_there_is_none() -> None:
    """To send the access token is no demand for one."""
    request = DefaultStrategy(send_access_token=True).build(Tokens("coinbase", "fake-refresh"), NOTHING)
    assert request == RefreshRequest("coinbase", "fake-refresh")


@pytest.mark.parametrize("wish", [None, True, False])
def test_create_new_refresh_token(wish: bool | None) -> None:
    """The wish for a new refresh token goes along, said or unsaid."""
    for strategy in ALL:
        assert strategy.build(FULL, RefreshOptions(wish)).create_new_refresh_token is wish


def test_webull() -> None:
    """WeBull is sent the access token and the trade token."""
    request = WeBullStrategy().build(evolve(FULL, broker="weBull"), NOTHING)
    assert (request.access_token, request.trade_token) == ("fake-access", "fake-trade")
    assert WeBullStrategy().build(evolve(FULL, trade_token=None), NOTHING).trade_token is None


def test_vanguard() -> None:
    """Vanguard is sent the access token and no trade token."""
    request = VanguardStrategy().build(evolve(FULL, broker="vanguard"), NOTHING)
    assert (request.access_token, request.trade_token) == ("fake-access", None)


@pytest.mark.parametrize("strategy", [WeBullStrategy(), VanguardStrategy()])
def test_a_missing_access_token(strategy: Strategy) -> None:
    """WeBull and Vanguard want an access token, a token id will do, and nothing is sent without one."""
    with pytest.raises(InvalidRequest, match="access token"):
        strategy.build(Tokens("weBull", "fake-refresh"), NOTHING)
    assert strategy.build(Tokens("weBull", "fake-refresh", token_id="fake-id"), NOTHING).access_token == "fake-id"


@pytest.mark.parametrize("strategy", ALL)
def test_a_missing_refresh_token(strategy: Strategy) -> None:
    """Without a refresh token there is nothing to refresh with, and the text says that nothing was sent."""
    tokens = Tokens("eTrade", access_token="fake-access")
    with pytest.raises(InvalidRequest, match=r"no refresh token.*nothing was sent"):
        strategy.build(tokens, NOTHING)
    with pytest.raises(InvalidRequest, match="no refresh token"):
        strategy.build_mfa(evolve(asked(), tokens=tokens), "424242")


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("code", ["", " ", "\t\n"])
def test_an_empty_code(strategy: Strategy, code: str) -> None:
    """An empty code is refused before anything is sent."""
    with pytest.raises(InvalidRequest, match="code is empty"):
        strategy.build_mfa(asked(), code)


@pytest.mark.parametrize("strategy", ALL)
def test_mfa(strategy: Strategy) -> None:
    """The second request has the code, the first reply's access token and the refresh token in force."""
    request = strategy.build_mfa(asked(FULL, accessToken="fake-access-new"), " 424242\n")
    expected = RefreshRequest("coinbase", "fake-refresh", access_token="fake-access-new", mfa_code="424242",
                              metadata={"note": None})  # fmt: skip
    if isinstance(strategy, WeBullStrategy):
        expected = evolve(expected, trade_token="fake-trade")
    assert request == expected


@pytest.mark.parametrize(
    ("fields", "access_token"),
    [
        ({}, "fake-access"),
        ({"brokerAccountTokens": []}, "fake-access"),
        ({"brokerAccountTokens": [entry(accessToken="fake-new")]}, "fake-new"),
        ({"brokerAccountTokens": [entry("A", accessToken="fake-new")]}, "fake-new"),
        ({"brokerAccountTokens": [entry("B", accessToken="fake-b"), entry("A", accessToken="fake-new")]}, "fake-new"),
        ({"brokerAccountTokens": [entry("B", accessToken="fake-b")]}, "fake-b"),
        ({"brokerAccountTokens": [entry("B", refreshToken="fake-b")]}, "fake-access"),
        ({"brokerAccountTokens": [entry(refreshToken="fake-new-refresh")]}, "fake-access"),
        ({"brokerAccountTokens": [entry()], "accessToken": "fake-new"}, "fake-new"),
        ({"accessToken": "fake-new"}, "fake-new"),
        ({"accessToken": "fake-new", "account": {"accountId": "A"}}, "fake-new"),
        ({"accessToken": "fake-b", "account": {"accountId": "B"}}, "fake-b"),
        ({"brokerAccountTokens": [entry("A", refreshToken="fake-r")], "accessToken": "fake-new"}, "fake-new"),
        ({"brokerAccountTokens": [entry("A", accessToken="fake-new")], "accessToken": "fake-top"}, "fake-new"),
    ],
)
def test_the_access_token_of_the_first_reply(fields: dict[str, Any], access_token: str) -> None:
    """The access token of the first reply is carried wherever the reply put it, else the one in force."""
    tokens = evolve(FULL, token_id=None)
    assert VanguardStrategy().build_mfa(asked(tokens, **fields), "424242").access_token == access_token


def test_the_first_replys_access_token_at_the_top_beside_several_accounts() -> None:
    """An access token at the top level is the first reply's, also where its list has only refresh tokens."""
    entries = [entry("A", refreshToken="fake-ra"), entry("B", refreshToken="fake-rb")]
    found = asked(evolve(FULL, token_id=None), brokerAccountTokens=entries, accessToken="fake-top")
    assert VanguardStrategy().build_mfa(found, "424242").access_token == "fake-top"


def test_a_token_id_of_the_first_reply() -> None:
    """A token id of the first reply stands for its access token."""
    tokens = Tokens("vanguard", "fake-refresh", token_id="fake-id")
    found = asked(tokens, brokerAccountTokens=[entry(tokenId="fake-id-new")])
    assert VanguardStrategy().build_mfa(found, "424242").access_token == "fake-id-new"


def test_a_rotated_refresh_token_is_the_one_in_force() -> None:
    """Where the first reply rotated the refresh token, the second request sends the new one."""
    found = asked(brokerAccountTokens=[entry(refreshToken="fake-refresh-new")])
    assert DefaultStrategy().build_mfa(found, "424242").refresh_token == "fake-refresh-new"


@pytest.mark.parametrize("strategy", ALL)
def test_may_resend(strategy: Strategy) -> None:
    """A request may be sent again where its fate is unknown, but never one with a code."""
    assert strategy.may_resend(strategy.build(FULL, NOTHING))
    assert not strategy.may_resend(strategy.build_mfa(asked(), "424242"))


def test_finish_has_the_last_word() -> None:
    """An overridden finish changes every request of the broker, those with a code too, and is told the tokens."""

    class RegionalPaxos(DefaultStrategy):
        def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
            return evolve(request, metadata={**(request.metadata or {}), "region": f"eu-{tokens.account_id}"})

    tokens = evolve(FULL, broker="paxos")
    expected = {"note": None, "region": "eu-A"}
    assert RegionalPaxos().build(tokens, NOTHING).metadata == expected
    assert RegionalPaxos().build_mfa(asked(tokens), "424242").metadata == expected


@pytest.mark.parametrize("strategy", ALL)
def test_pure(strategy: Strategy) -> None:
    """Equal arguments give equal requests."""
    assert strategy.build(FULL, NOTHING) == strategy.build(evolve(FULL), RefreshOptions())
    assert strategy.build_mfa(asked(), "1") == strategy.build_mfa(asked(), "1")


def test_registry() -> None:
    """The registry knows WeBull and Vanguard, by member or by name, and has a default for all others."""
    registry = StrategyRegistry()
    assert isinstance(registry[BrokerType.WE_BULL], WeBullStrategy)
    assert isinstance(registry["vanguard"], VanguardStrategy)
    assert registry["brokerOfTomorrow"] is registry["brokerOfNoOne"] is registry.default


def test_registry_is_a_value() -> None:
    """with_strategy and with_default give new registries and leave the old one as it was."""
    mine, registry = DefaultStrategy(), StrategyRegistry()
    changed = registry.with_strategy("brokerOfTomorrow", mine).with_default(VanguardStrategy())
    assert changed["brokerOfTomorrow"] is mine
    assert isinstance(changed["brokerOfNoOne"], VanguardStrategy)
    assert isinstance(changed["weBull"], WeBullStrategy)
    assert registry["brokerOfTomorrow"] is registry.default
    with pytest.raises(TypeError):
        registry.strategies["brokerOfTomorrow"] = mine  # type: ignore[index]


def test_registry_does_not_see_later_changes_of_its_mapping() -> None:
    """A registry keeps the strategies it was made of."""
    given: dict[str, Strategy] = {"brokerOfTomorrow": VanguardStrategy()}
    registry = StrategyRegistry(given)
    given.clear()
    assert isinstance(registry["brokerOfTomorrow"], VanguardStrategy)

"""A broker that is known but for its case is that broker, wherever somebody names one."""

import pytest

from mesh_refresh import BrokerType, DefaultStrategy, StrategyRegistry, Tokens, WeBullStrategy
from mesh_refresh.enums import named_broker


@pytest.mark.parametrize("name", ["webull", "WEBULL", "WeBull", "weBull", BrokerType.WE_BULL])
def test_known_but_for_its_case(name: str) -> None:
    """In tokens, in what they are read from, and in a registry."""
    tokens = Tokens(name, "fake-refresh")
    assert tokens.broker is BrokerType.WE_BULL
    payload = {"brokerType": str(name), "accountTokens": [{"refreshToken": "fake-refresh"}]}
    assert Tokens.from_link(payload)[0].broker is BrokerType.WE_BULL
    assert Tokens.from_document({**tokens.to_document(), "broker": str(name)}).broker is BrokerType.WE_BULL
    assert isinstance(StrategyRegistry()[name], WeBullStrategy)
    mine = DefaultStrategy()
    assert StrategyRegistry().with_strategy(name, mine)[BrokerType.WE_BULL] is mine
    assert StrategyRegistry({name: mine})[BrokerType.WE_BULL] is mine


@pytest.mark.parametrize("name", ["brokerOfTomorrow", "we bull", "weBull2"])
def test_unknown_stays(name: str) -> None:
    """A name that is none of them stays as it is, its case too."""
    assert named_broker(name) is name
    assert Tokens(name).broker == name


def test_no_two_differ_by_case_alone() -> None:
    """Each member means itself."""
    assert all(named_broker(str(member).upper()) is member for member in BrokerType)

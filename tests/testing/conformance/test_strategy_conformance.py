"""The strategies that we ship pass the suite that we ship, and broken ones do not."""

import pytest

from mesh_refresh import BrokerType, Tokens
from mesh_refresh.strategies import DefaultStrategy, Strategy, VanguardStrategy, WeBullStrategy
from mesh_refresh.testing import StrategyConformance
from tests.access_broker import BROKER, SpendsAccessTokens
from tests.testing.conformance.wrong_strategies import WRONG, Wrong


class TestDefaultStrategy(StrategyConformance):
    def make_strategy(self) -> Strategy:
        return DefaultStrategy()


class TestDefaultStrategyWithAccessToken(StrategyConformance):
    broker = "brandNew"

    def make_strategy(self) -> Strategy:
        return DefaultStrategy(send_access_token=True)


class TestWeBullStrategy(StrategyConformance):
    broker = BrokerType.WE_BULL

    def make_strategy(self) -> Strategy:
        return WeBullStrategy()


class TestVanguardStrategy(StrategyConformance):
    broker = BrokerType.VANGUARD

    def make_strategy(self) -> Strategy:
        return VanguardStrategy()


class TestSpendsAccessTokens(StrategyConformance):
    broker = BROKER

    def make_strategy(self) -> Strategy:
        return SpendsAccessTokens()


class OnlyAccess(DefaultStrategy):
    """All that it takes for a broker without refresh tokens."""

    def credential(self, tokens: Tokens) -> str | None:
        return tokens.access_token


class TestOnlyAccess(StrategyConformance):
    broker = BROKER

    def make_strategy(self) -> Strategy:
        return OnlyAccess(send_access_token=True)


def test_every_sentence_has_a_wrong_strategy() -> None:
    """Each test of the suite is failed by a strategy of the table."""
    tests = {name for name in dir(StrategyConformance) if name.startswith("test_")}
    assert tests == {wrong.check for wrong in WRONG}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.what)
def test_a_wrong_strategy_is_found_out(wrong: Wrong) -> None:
    """By the test of that sentence, and with words of ours: not because the test itself trips."""

    class Suite(StrategyConformance):
        def make_strategy(self) -> Strategy:
            return wrong.strategy()

    with pytest.raises(AssertionError):
        getattr(Suite(), wrong.check)()

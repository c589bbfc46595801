"""The strategies that we ship pass the suite that we ship, and broken ones do not."""

from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import BrokerType, MfaRequired, Refreshed, RefreshRequest, Tokens
from mesh_refresh.strategies import DefaultStrategy, Strategy, VanguardStrategy, WeBullStrategy
from mesh_refresh.testing import StrategyConformance
from tests.access_broker import BROKER, SpendsAccessTokens


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


class Trims(DefaultStrategy):
    """Cleans up a token that is to be kept to the byte."""

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        return evolve(request, refresh_token=request.refresh_token.strip())


class Resends(DefaultStrategy):
    """Sends codes again."""

    def may_resend(self, request: RefreshRequest) -> bool:
        return True


class Forgets(DefaultStrategy):
    """Keeps only the account asked for."""

    def interpret(self, *args: Any, **kwargs: Any) -> Refreshed | MfaRequired:
        outcome = super().interpret(*args, **kwargs)
        return evolve(outcome, all_tokens=outcome.all_tokens[:1]) if isinstance(outcome, Refreshed) else outcome


class Empties(DefaultStrategy):
    """Gives siblings no refresh token, so that theirs is lost."""

    def interpret(self, *args: Any, **kwargs: Any) -> Refreshed | MfaRequired:
        outcome = super().interpret(*args, **kwargs)
        own = outcome.tokens
        return evolve(
            outcome, all_tokens=tuple(it if it == own else evolve(it, refresh_token=None) for it in outcome.all_tokens)
        )


class Spreads(DefaultStrategy):
    """Gives the refresh token of the account asked for to all of them."""

    def interpret(self, *args: Any, **kwargs: Any) -> Refreshed | MfaRequired:
        outcome = super().interpret(*args, **kwargs)
        token = outcome.tokens.refresh_token
        return evolve(outcome, all_tokens=tuple(evolve(it, refresh_token=token) for it in outcome.all_tokens))


class Decorates(DefaultStrategy):
    """Changes every token that came: nothing is wrong with that."""

    def interpret(self, *args: Any, **kwargs: Any) -> Refreshed | MfaRequired:
        outcome = super().interpret(*args, **kwargs)
        changed = tuple(evolve(it, metadata={**(it.metadata or {}), "seen": "yes"}) for it in outcome.all_tokens)
        return evolve(outcome, all_tokens=changed)


class Sends(DefaultStrategy):
    """Says that it spends another token than it sends."""

    def credential(self, tokens: Tokens) -> str | None:
        return tokens.access_token


class Invents(DefaultStrategy):
    """Says the same for all tokens."""

    def credential(self, tokens: Tokens) -> str | None:
        return "everybody's"


class Trips(DefaultStrategy):
    """Counts on a reply to have content."""

    def interpret(self, *args: Any, **kwargs: Any) -> Refreshed | MfaRequired:
        assert args[2].content is not None
        return super().interpret(*args, **kwargs)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Trims, "test_build_keeps_the_refresh_token_to_the_byte"),
        (Resends, "test_a_code_is_never_sent_again"),
        (Forgets, "test_every_entry_is_kept"),
        (Forgets, "test_a_keeper_keeps_every_pair"),
        (Empties, "test_a_keeper_keeps_every_pair"),
        (Sends, "test_build_keeps_the_refresh_token_to_the_byte"),
        (Invents, "test_credential_is_pure"),
        (Invents, "test_a_new_pair_is_another_credential"),
        (Spreads, "test_a_keeper_keeps_what_a_reply_leaves_out"),
        (Trips, "test_odd_replies_raise_nothing_but_our_errors"),
    ],
)
def test_a_broken_strategy_is_found_out(broken: type[DefaultStrategy], check: str) -> None:
    """The suite fails for a strategy that trims, resends, forgets, invents, empties, spreads or trips."""

    class Suite(StrategyConformance):
        def make_strategy(self) -> Strategy:
            return broken()

    with pytest.raises(AssertionError):
        getattr(Suite(), check)()

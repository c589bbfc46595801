"""Which strategy serves which broker, as a value."""

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from mesh_refresh.enums import BrokerType, named_broker
from mesh_refresh.protocols import Strategy
from mesh_refresh.strategies.default import DefaultStrategy
from mesh_refresh.strategies.vanguard import VanguardStrategy
from mesh_refresh.strategies.webull import WeBullStrategy


def _shipped() -> Mapping[str, Strategy]:
    return {BrokerType.WE_BULL: WeBullStrategy(), BrokerType.VANGUARD: VanguardStrategy()}


def _frozen(strategies: Mapping[str, Strategy]) -> Mapping[str, Strategy]:
    return MappingProxyType({named_broker(broker): strategy for broker, strategy in strategies.items()})


@frozen(eq=False)
class StrategyRegistry:
    """The strategies by broker, and a default for all others. It never changes: `with_strategy` gives a new one."""

    strategies: Mapping[str, Strategy] = field(factory=_shipped, converter=_frozen)
    """WeBull's and Vanguard's, unless you say otherwise."""
    default: Strategy = field(factory=DefaultStrategy)

    def __getitem__(self, broker: BrokerType | str) -> Strategy:
        return self.strategies.get(named_broker(broker), self.default)

    def with_strategy(self, broker: BrokerType | str, strategy: Strategy) -> "StrategyRegistry":
        """A registry in which `strategy` serves `broker`. The other brokers keep their strategies."""
        return StrategyRegistry({**self.strategies, named_broker(broker): strategy}, self.default)

    def with_default(self, strategy: Strategy) -> "StrategyRegistry":
        """A registry in which `strategy` serves every broker that has none of its own."""
        return StrategyRegistry(self.strategies, strategy)

"""How tokens of each broker are refreshed: the shipped strategies, and the parts to write your own."""

from mesh_refresh.protocols import RefreshOptions, Strategy
from mesh_refresh.strategies.default import DefaultStrategy
from mesh_refresh.strategies.registry import StrategyRegistry
from mesh_refresh.strategies.vanguard import VanguardStrategy
from mesh_refresh.strategies.webull import WeBullStrategy

__all__ = [
    "DefaultStrategy",
    "RefreshOptions",
    "Strategy",
    "StrategyRegistry",
    "VanguardStrategy",
    "WeBullStrategy",
]

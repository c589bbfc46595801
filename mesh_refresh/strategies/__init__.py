"""What each broker wants of a refresh, and how to say it for one of your own."""

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

"""What `MeshClient` takes besides the keys, and what is wrong with it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict

from mesh_refresh.client.runtime import Hook
from mesh_refresh.clock import Clock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.protocols import Strategy, Transport
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.strategies import StrategyRegistry

_VERBS = ("build", "build_mfa", "interpret", "may_resend")


class ClientOptions(TypedDict, total=False):
    """What `MeshClient` takes besides the keys."""

    base_url: str
    strategies: Mapping[Any, Strategy] | StrategyRegistry | None
    retry: RetryPolicy | None
    transport: Transport | None
    on_outcome: Hook | None
    on_outcome_timeout: timedelta
    clock: Clock | None


def check_options(retry: object, transport: object, on_outcome: object, on_outcome_timeout: object) -> None:
    """Raises `InvalidRequest` for what would only fail later, with a token under way."""
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise InvalidRequest("retry takes a RetryPolicy.")
    if transport is not None and not (hasattr(transport, "send") and hasattr(transport, "aclose")):
        raise InvalidRequest("transport takes an object with `send` and `aclose`, see mesh_refresh.Transport.")
    if on_outcome is not None and not callable(on_outcome):
        raise InvalidRequest("on_outcome takes a function, sync or async, of one outcome.")
    if not isinstance(on_outcome_timeout, timedelta) or on_outcome_timeout <= timedelta():
        raise InvalidRequest("on_outcome_timeout takes a timedelta above zero.")


def registry_of(strategies: Mapping[Any, Strategy] | StrategyRegistry | None) -> StrategyRegistry:
    """The shipped strategies with the user's beside them, or the user's registry."""
    if isinstance(strategies, StrategyRegistry):
        return strategies
    registry = StrategyRegistry()
    if not isinstance(strategies or {}, Mapping):
        raise InvalidRequest("strategies takes a mapping of brokers to strategies, or a StrategyRegistry.")
    for broker, strategy in (strategies or {}).items():
        if isinstance(strategy, type) or not all(hasattr(strategy, verb) for verb in _VERBS):
            raise InvalidRequest(f"The strategy for {broker} is none: an object with {', '.join(_VERBS)} is wanted.")
        registry = registry.with_strategy(broker, strategy)
    return registry

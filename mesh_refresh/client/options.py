"""What `MeshClient` takes besides the keys, and what is wrong with it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypedDict

from mesh_refresh.clock import Clock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.observing import Observer, check_observer
from mesh_refresh.protocols import Strategy, Transport
from mesh_refresh.replies.outcomes import Outcome
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.strategies import StrategyRegistry

Hook = Callable[[Outcome], Awaitable[object] | object]
"""``on_outcome``: takes a `Refreshed`, a `MfaRequired` or an `UnreadableReply` that may hold a token, each of them."""

DEFAULT_HOOK_TIMEOUT = timedelta(seconds=30)

_VERBS = ("build", "build_mfa", "interpret", "may_resend")


class ClientOptions(TypedDict, total=False):
    """The options of `MeshClient`: keywords of the class and of its `from_env`. Each may be left out."""

    base_url: str
    """Where requests go. The default is `PRODUCTION_URL`."""
    strategies: Mapping[Any, Strategy] | StrategyRegistry | None
    """Strategies by broker, beside the shipped ones; or a registry in place of them."""
    retry: RetryPolicy | None
    """How often and how long one `refresh` tries."""
    transport: Transport | None
    """What sends the requests. The client closes it. The default is `AiohttpTransport()`."""
    on_outcome: Hook | None
    """Given every outcome that may hold a live token."""
    on_outcome_timeout: timedelta
    """How long one call of `on_outcome` may take, and a transport of yours to close. The default is 30 seconds."""
    clock: Clock | None
    """What lifetimes of tokens are told in. The default is the machine's clock."""
    observer: Observer | None
    """Told each exchange: see `mesh_refresh.telemetry`."""


def check_options(options: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` for what would only fail later, with a token under way; `TypeError` for a wrong name."""
    unknown = options.keys() - ClientOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"MeshClient got an unexpected keyword argument {min(unknown)!r}")
    retry, transport, on_outcome = (options.get(name) for name in ("retry", "transport", "on_outcome"))
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise InvalidRequest("retry takes a RetryPolicy.")
    if transport is not None and not (hasattr(transport, "send") and hasattr(transport, "aclose")):
        raise InvalidRequest("transport takes an object with `send` and `aclose`, see mesh_refresh.Transport.")
    if on_outcome is not None and not callable(on_outcome):
        raise InvalidRequest("on_outcome takes a function, sync or async, of one outcome.")
    if options.get("observer") is not None:
        check_observer(options["observer"])
    timeout = options.get("on_outcome_timeout", DEFAULT_HOOK_TIMEOUT)
    if not isinstance(timeout, timedelta) or timeout <= timedelta():
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

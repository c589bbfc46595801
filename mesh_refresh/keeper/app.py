"""What a program gives to the command `mesh-refresh`, as a value."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from mesh_refresh.client.options import check_options, registry_of
from mesh_refresh.keeper.arguments import check_hooks
from mesh_refresh.keeper.notices import NoticeHandler
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.runtime.event_queue import Handler
from mesh_refresh.observing import Observer
from mesh_refresh.protocols import Strategy, Transport
from mesh_refresh.strategies import StrategyRegistry


@frozen(kw_only=True)
class App:
    """Parts of your own for the command `mesh-refresh`: a function that returns one is named with ``--app``.

    Each part may be left out. A command uses those that it needs: docs/command-line.md. Raises `InvalidRequest` for a
    part that is not of its kind.
    """

    strategies: Mapping[Any, Strategy] | StrategyRegistry | None = None
    """Strategies by broker, beside the shipped ones; or a registry in place of them."""
    on_event: Handler | None = None
    """A function, sync or async, that is called with each `Event`."""
    on_notice: NoticeHandler | None = None
    """An async function that a worker calls with each `Notice` until it has returned once."""
    transport: Transport | None = None
    """What sends the requests. The command closes it."""
    policy: Policy | None = None
    """When to refresh, and how much at once. An option of the command line counts more than its field here."""
    observer: Observer | None = None
    """Told what client and keeper do: see `mesh_refresh.telemetry`."""

    def __attrs_post_init__(self) -> None:
        registry_of(self.strategies)
        check_options({"transport": self.transport})
        check_hooks(policy=self.policy, on_event=self.on_event, on_notice=self.on_notice, observer=self.observer)

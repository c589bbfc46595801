"""Faults that a test has asked for, and that no request has met: the test has not tried what it says."""

import warnings
from collections.abc import Sequence
from typing import Any

from mesh_refresh.testing.fake.traffic import FaultQueue, Rule


class UnusedFault(UserWarning):
    """A fault met no request. Under ``-W error`` it fails the test."""


def tell_unused(queue: FaultQueue[Any], rules: Sequence[Rule[Any]] | None = None) -> None:
    """Warn of every fault of `queue` that no request has met, or of those among `rules`; each is told once."""
    found = queue.take_unused() if rules is None else tuple(rules)
    queue.unused = []
    for rule in found:
        wanted = [part for part in (rule.login, rule.broker) if part is not None]
        of = f" of {' and '.join(wanted)}" if wanted else ""
        warnings.warn(f"The fault {rule.fault.name!r} met no request{of}.", UnusedFault, stacklevel=3)

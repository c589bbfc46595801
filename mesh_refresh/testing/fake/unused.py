"""Faults that a test has asked for, and that no request has met: the test has not tried what it says."""

import warnings
from typing import Any

from mesh_refresh.testing.fake.traffic import FaultQueue


class UnusedFault(UserWarning):
    """A fault met no request. Under ``-W error`` it fails the test."""


def tell_unused(queue: FaultQueue[Any]) -> None:
    """Warn of every forgotten fault of `queue` that no request has met. Each fault is told once."""
    for rule in queue.take_unused():
        wanted = [part for part in (rule.login, rule.broker) if part is not None]
        of = f" of {' and '.join(wanted)}" if wanted else ""
        warnings.warn(f"The fault {rule.fault.name!r} met no request{of}.", UnusedFault, stacklevel=3)

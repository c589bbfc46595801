"""How much Hypothesis may do here: the same examples on every machine, and no stop-watch."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings


def bounded(examples: int) -> Callable[[Any], Any]:
    """So many examples, the same every time."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )

"""How much Hypothesis may do here: the same examples on every machine, and no stop-watch.

The same examples each time leave the same gaps each time. ``MESH_REFRESH_FRESH_EXAMPLES=20`` gives twenty times
as many, of fresh randomness: `nox -s properties`.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings


_TIMES = int(os.environ.get("MESH_REFRESH_FRESH_EXAMPLES", "0"))


def bounded(examples: int) -> Callable[[Any], Any]:
    """So many examples, the same every time; unless more of fresh randomness are asked for."""
    return settings(
        max_examples=examples * (_TIMES or 1),
        deadline=None,
        derandomize=not _TIMES,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )

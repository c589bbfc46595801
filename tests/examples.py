"""How much Hypothesis may do here: the same examples on every machine, and no stop-watch.

``nox -s fuzz`` sets ``MESH_REFRESH_TIMES``: so many times as many examples, drawn anew.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("MESH_REFRESH_TIMES", "1"))


def bounded(examples: int, **others: Any) -> settings:
    """So many examples, the same every time unless more are asked for; `others` are settings of Hypothesis."""
    return settings(
        max_examples=TIMES * examples,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **others,
    )

"""A world with a bug in it, made in whatever process this is called in."""

from contextlib import nullcontext

from tests.simulation.planted import BUGS
from tests.simulation.planted_mixed import MIXED_BUGS
from tests.simulation.planted_notices import NOTICE_BUGS
from tests.simulation.planted_wide import WIDE_BUGS
from tests.simulation.world import Report, run

ALL_BUGS = {**BUGS, **WIDE_BUGS, **NOTICE_BUGS, **MIXED_BUGS}


def made(seed: int, kind: str | None, bug: str | None, until: str | None = None) -> Report:
    """What `run` gives, with the bug planted in the process that makes the world, which may be one of a pool."""
    with ALL_BUGS[bug]() if bug else nullcontext():
        return run(seed, kind, until)

"""What the demo and its worker must agree on: a file, a key, and times of seconds that are minutes in earnest."""

from datetime import timedelta

from attrs import frozen

from mesh_refresh import RetryPolicy
from mesh_refresh.keeper import Policy

FILE = "fleet.db"
"""In a folder that is made for the run, and removed at its end."""
KEY = "MESH_REFRESH_DEMO_KEY"
"""The environment variable in which the worker finds the key that seals the file."""


@frozen
class Pace:
    """The times of one run. The demo and its worker have the same."""

    policy: Policy
    retry: RetryPolicy
    lifetimes: tuple[int, int]
    """Seconds that access tokens live, from and to."""
    gather: float
    """Seconds in which several requests come together at a gate; less than the deadline of the first of them."""
    throttled: int
    """Seconds of Mesh's Retry-After."""
    asks: float
    """Seconds between two callers."""
    eye: float
    """Seconds of pauses that are there for the eye; 0 for none."""
    limit: float = 120.0
    """Seconds after which the demo must have come to its end."""


def pace_of(*, fast: bool) -> Pace:
    """For somebody who watches, or not."""
    if fast:
        return Pace(_policy(3, 0.5, 0.5), _retry(2.5), (5, 6), gather=0.7, throttled=0, asks=0.1, eye=0)
    return Pace(_policy(5, 1, 2), _retry(4), (10, 15), gather=1.5, throttled=2, asks=0.35, eye=0.5)


def _policy(lease: float, settle: float, cool_down: float) -> Policy:
    seconds = timedelta(seconds=1)
    return Policy(
        # Refreshed when half of its life is over: what is left outlasts a lease and the settling.
        refresh_fraction=0.5,
        spread=0.3,
        min_interval=0.5 * seconds,
        lease=lease * seconds,
        resend_after=settle * seconds,
        confirm_after=settle * seconds,
        backoff=settle * seconds,
        cool_down=cool_down * seconds,
        poll=0.1 * seconds,
        drain=5 * seconds,
        max_wait=20 * seconds,
    )


def _retry(deadline: float) -> RetryPolicy:
    return RetryPolicy(deadline=timedelta(seconds=deadline))

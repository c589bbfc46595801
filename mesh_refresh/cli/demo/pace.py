"""What the demo and its worker have to share: a file, a key, a strategy, and times of seconds in place of minutes."""

from datetime import timedelta

from attrs import frozen

from mesh_refresh import BrokerType, DefaultStrategy, RetryPolicy, Tokens
from mesh_refresh.keeper import Policy

FILE = "fleet.db"
"""The store, in a temporary folder of the run."""
KEY = "MESH_REFRESH_DEMO_KEY"
"""The environment variable with the key of the store, for the worker."""


class SpendsAccessToken(DefaultStrategy):
    """For a broker without refresh tokens: an exchange spends the access token, and brings the next one."""

    def credential(self, tokens: Tokens) -> str | None:
        """The access token."""
        return tokens.access_token


STRATEGIES = {BrokerType.BITFINEX: SpendsAccessToken(send_access_token=True)}


@frozen
class Pace:
    """The times of one run, the same in the demo and in its worker."""

    policy: Policy
    retry: RetryPolicy
    lifetimes: tuple[int, int]
    """The shortest and the longest lifetime of an access token, in seconds."""
    gather: float
    """Seconds for which requests gather at a gate; less than the deadline of the first of them."""
    throttled: int
    """Seconds of the Retry-After header."""
    asks: float
    """Seconds between two callers."""
    eye: float
    """Seconds of the pauses for a person who watches; 0: none."""
    limit: float = 120.0
    """Seconds after which the demo counts as hanging."""


def choose_pace(*, fast: bool) -> Pace:
    """The pace for a person who watches, or a faster one."""
    if fast:
        return Pace(_policy(3, 0.5, 0.5), _retry(2.5), (5, 6), gather=0.7, throttled=0, asks=0.1, eye=0)
    return Pace(_policy(5, 1, 2), _retry(4), (10, 15), gather=1.5, throttled=2, asks=0.35, eye=0.5)


def _policy(lease: float, resend_after: float, cool_down: float) -> Policy:
    seconds = timedelta(seconds=1)
    return Policy(
        # Refreshed after half of its lifetime: the rest outlasts a lease and the wait of an unknown outcome.
        refresh_fraction=0.5,
        spread=0.3,
        min_interval=0.5 * seconds,
        lease=lease * seconds,
        resend_after=resend_after * seconds,
        confirm_after=resend_after * seconds,
        backoff=resend_after * seconds,
        cool_down=cool_down * seconds,
        poll=0.1 * seconds,
        drain=5 * seconds,
        max_wait=20 * seconds,
        report_every=0.5 * seconds,
    )


def _retry(deadline: float) -> RetryPolicy:
    return RetryPolicy(deadline=timedelta(seconds=deadline))

"""Every series that an observer of this package exports: its name, labels and buckets. docs/metrics.md lists them."""

from typing import Literal

from attrs import frozen

from mesh_refresh.enums import BrokerType
from mesh_refresh.stores.store import ALL_BROKERS

OTHER = "other"
"""The label of every broker that is not known: the number of series must not grow with what users type."""

_BROKERS = frozenset((*map(str, BrokerType), ALL_BROKERS))


@frozen(eq=False)
class Series:
    """One of them, as Prometheus names it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


EXCHANGES = Series("mesh_refresh_exchanges_total", "counter", "Exchanges that ended.", ("broker", "outcome"))
EXCHANGE_SECONDS = Series(
    "mesh_refresh_exchange_seconds",
    "histogram",
    "How long exchanges took.",
    ("broker",),
    (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60),
)
LATENESS = Series(
    "mesh_refresh_exchange_lateness_seconds",
    "histogram",
    "How long a login had been due when its exchange began.",
    buckets=(1, 5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400),
)
TOKENS_SECONDS = Series(
    "mesh_refresh_tokens_seconds",
    "histogram",
    "How long callers waited for tokens.",
    ("answer",),
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
IN_FLIGHT = Series("mesh_refresh_in_flight", "gauge", "Exchanges under way.")
UNSAVED = Series("mesh_refresh_unsaved_logins", "gauge", "Logins whose new tokens are not in the store yet.")
SPOOL_FILES = Series("mesh_refresh_spool_files", "gauge", "Files of the spool that are not in the store yet.")
BREAKER_OPEN = Series(
    "mesh_refresh_breaker_open", "gauge", "1: exchanges are held back. Broker * is all brokers.", ("broker", "fault")
)
STORE_FAILURES = Series("mesh_refresh_store_failures_total", "counter", "Verbs of the store that failed.", ("verb",))
EVENTS_DROPPED = Series("mesh_refresh_events_dropped_total", "counter", "Events that a slow handler has lost.")
LAST_ROUND = Series(
    "mesh_refresh_loop_last_round_timestamp_seconds", "gauge", "When the loop looked last for what is due."
)
NOTICES = Series("mesh_refresh_notices", "gauge", "Notices in the outbox.", ("state",))
NOTICE_OLDEST = Series("mesh_refresh_notice_oldest_seconds", "gauge", "How long the oldest notice has waited.")
WEBHOOK_ATTEMPTS = Series("mesh_refresh_webhook_attempts_total", "counter", "Deliveries tried.", ("outcome",))
LOGINS = Series("mesh_refresh_logins", "gauge", "Logins with an account in that state.", ("broker", "state"))
LOGINS_DUE = Series("mesh_refresh_logins_due", "gauge", "Logins that are due, or late, and not paused.")
MOST_OVERDUE = Series(
    "mesh_refresh_most_overdue_seconds", "gauge", "How long the most overdue login that is not paused has been due."
)
BUILD_INFO = Series("mesh_refresh_build_info", "gauge", "1, with the version of mesh_refresh.", ("version",))

ALL_SERIES = (
    EXCHANGES,
    EXCHANGE_SECONDS,
    LATENESS,
    TOKENS_SECONDS,
    IN_FLIGHT,
    UNSAVED,
    SPOOL_FILES,
    BREAKER_OPEN,
    STORE_FAILURES,
    EVENTS_DROPPED,
    LAST_ROUND,
    NOTICES,
    NOTICE_OLDEST,
    WEBHOOK_ATTEMPTS,
    LOGINS,
    LOGINS_DUE,
    MOST_OVERDUE,
    BUILD_INFO,
)


def broker_label(broker: str) -> str:
    """The label of a broker: its name where this package knows it, ``other`` else."""
    return broker if broker in _BROKERS else OTHER

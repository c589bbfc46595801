"""What clients and keepers tell of themselves, and observers for Prometheus and OpenTelemetry: see docs/metrics.md.

Importing this needs no extra. `PrometheusObserver` needs the extra `prometheus`, `OtelObserver` the extra `otel`.
"""

from mesh_refresh.observing import (
    AnsweredFrom,
    BrokerFigures,
    CombinedObserver,
    ExchangeEnded,
    Figures,
    FleetCounted,
    KeeperEntered,
    KeeperLeft,
    KeeperState,
    Observation,
    Observer,
    StoreFailed,
    TokensAnswered,
    WebhookAttempted,
)
from mesh_refresh.telemetry.otel import OtelObserver
from mesh_refresh.telemetry.prometheus import PrometheusObserver

__all__ = [
    "AnsweredFrom",
    "BrokerFigures",
    "CombinedObserver",
    "ExchangeEnded",
    "Figures",
    "FleetCounted",
    "KeeperEntered",
    "KeeperLeft",
    "KeeperState",
    "Observation",
    "Observer",
    "OtelObserver",
    "PrometheusObserver",
    "StoreFailed",
    "TokensAnswered",
    "WebhookAttempted",
]

"""The observer that Prometheus scrapes. Needs the extra `prometheus`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mesh_refresh.observing import ExchangeEnded, Observation, StoreFailed, TokensAnswered, WebhookAttempted
from mesh_refresh.stores.errors import package_missing
from mesh_refresh.telemetry import series
from mesh_refresh.telemetry.levels import Levels
from mesh_refresh.telemetry.series import ALL_SERIES, Series, broker_label

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric


class PrometheusObserver:
    """Keeps every series of `mesh_refresh` in a registry of prometheus-client: see docs/metrics.md.

    `registry` is where a scrape finds them; None makes one of its own, which is ``observer.registry``. A scrape reads
    what is in memory: it asks no store and counts nothing. One observer may be given to several clients and keepers.

    Raises `InvalidRequest` where the package prometheus-client is missing.
    """

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        try:
            import prometheus_client  # noqa: PLC0415 - an extra
        except ImportError:
            raise package_missing("PrometheusObserver", "prometheus-client", "prometheus") from None
        self._levels = Levels()
        self._metrics: dict[Series, Any] = {
            series.EXCHANGES: _made(prometheus_client.Counter, series.EXCHANGES),
            series.EXCHANGE_SECONDS: _made(prometheus_client.Histogram, series.EXCHANGE_SECONDS),
            series.LATENESS: _made(prometheus_client.Histogram, series.LATENESS),
            series.TOKENS_SECONDS: _made(prometheus_client.Histogram, series.TOKENS_SECONDS),
            series.STORE_FAILURES: _made(prometheus_client.Counter, series.STORE_FAILURES),
            series.WEBHOOK_ATTEMPTS: _made(prometheus_client.Counter, series.WEBHOOK_ATTEMPTS),
        }
        self._children: dict[tuple[Series, tuple[str, ...]], Any] = {}
        """Kept: finding one by its labels costs more than counting."""
        self.registry = prometheus_client.CollectorRegistry() if registry is None else registry
        self.registry.register(self)

    def __repr__(self) -> str:
        return "<PrometheusObserver>"

    def observe(self, told: Observation, /) -> None:
        """See `Observer`."""
        match told:
            case ExchangeEnded(broker, outcome, seconds, _, late):
                label = broker_label(broker)
                self._child(series.EXCHANGES, label, outcome).inc()
                self._child(series.EXCHANGE_SECONDS, label).observe(seconds)
                if late is not None:
                    self._metrics[series.LATENESS].observe(late)
            case TokensAnswered(answer, seconds):
                self._child(series.TOKENS_SECONDS, answer).observe(seconds)
            case StoreFailed(verb):
                self._child(series.STORE_FAILURES, verb).inc()
            case WebhookAttempted(outcome):
                self._child(series.WEBHOOK_ATTEMPTS, outcome).inc()
            case _:
                self._levels.observe(told)

    def _child(self, of: Series, *labels: str) -> Any:
        child = self._children.get((of, labels))
        if child is None:
            child = self._children[of, labels] = self._metrics[of].labels(*labels)
        return child

    def collect(self) -> "Iterator[Metric]":
        """What a scrape gives: the registry calls it."""
        from prometheus_client import Metric  # noqa: PLC0415 - an extra

        for metric in self._metrics.values():
            for family in metric.collect():
                family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
                if any(sample.value for sample in family.samples):
                    yield family
        levels = list(self._levels.read())
        for one in ALL_SERIES:
            found = [(labels, value) for it, labels, value in levels if it is one]
            if found:
                family = Metric(one.name.removesuffix("_total"), one.help, one.kind)
                for labels, value in found:
                    family.add_sample(one.name, dict(zip(one.labels, labels, strict=True)), value)
                yield family


def _made(kind: Any, of: Series) -> Any:
    buckets = {"buckets": of.buckets} if of.buckets else {}
    return kind(of.name, of.help, of.labels, registry=None, **buckets)

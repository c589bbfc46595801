"""The observer that Prometheus scrapes. Needs the extra `prometheus`."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from attrs import define

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
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Series, tuple[str, ...]]] = Counter()
        self._histograms: dict[tuple[Series, tuple[str, ...]], _Histogram] = {}
        self.registry = prometheus_client.CollectorRegistry() if registry is None else registry
        self.registry.register(self)

    def __repr__(self) -> str:
        return "<PrometheusObserver>"

    def observe(self, told: Observation, /) -> None:
        """See `Observer`."""
        match told:
            case ExchangeEnded(broker, outcome, seconds, _, late):
                label = broker_label(broker)
                with self._lock:
                    self._counts[series.EXCHANGES, (label, outcome)] += 1
                    self._time(seconds, series.EXCHANGE_SECONDS, label)
                    if late is not None:
                        self._time(late, series.LATENESS)
            case TokensAnswered(answer, seconds):
                with self._lock:
                    self._time(seconds, series.TOKENS_SECONDS, answer)
            case StoreFailed(verb):
                self._count(series.STORE_FAILURES, verb)
            case WebhookAttempted(outcome):
                self._count(series.WEBHOOK_ATTEMPTS, outcome)
            case _:
                self._levels.observe(told)

    def _count(self, of: Series, *labels: str) -> None:
        with self._lock:
            self._counts[of, labels] += 1

    def _time(self, seconds: float, of: Series, *labels: str) -> None:
        histogram = self._histograms.get((of, labels))
        if histogram is None:
            histogram = self._histograms[of, labels] = _Histogram([0] * (len(of.buckets) + 1))
        histogram.counts[bisect_left(of.buckets, seconds)] += 1
        histogram.total += seconds

    def collect(self) -> "Iterator[Metric]":
        """What a scrape gives: the registry calls it."""
        from prometheus_client import Metric  # noqa: PLC0415 - an extra

        found: dict[Series, Metric] = {}
        for of, suffix, labels, value in self._samples():
            if of not in found:
                found[of] = Metric(of.name.removesuffix("_total"), of.help, of.kind)
            found[of].add_sample(of.name + suffix, labels, value)
        yield from (found[of] for of in ALL_SERIES if of in found)

    def _samples(self) -> "Iterator[tuple[Series, str, dict[str, str], float]]":
        with self._lock:
            counts = list(self._counts.items())
            histograms = [(of, labels, [*it.counts], it.total) for (of, labels), it in self._histograms.items()]
        for (of, labels), count in counts:
            yield of, "", _named(of, labels), count
        for of, labels, counted, total in histograms:
            named = _named(of, labels)
            bounds = (*(repr(float(bucket)) for bucket in of.buckets), "+Inf")
            for bound, count in zip(bounds, accumulate(counted), strict=True):
                yield of, "_bucket", {**named, "le": bound}, count
            yield of, "_count", named, sum(counted)
            yield of, "_sum", named, total
        for of, labels, value in self._levels.read():
            yield of, "", _named(of, labels), value


@define(eq=False)
class _Histogram:
    """Kept here: prometheus-client's takes a lock for each number of it, three per cent of a refresh."""

    counts: list[int]
    """How many were in each bucket and in none before, and how many were beyond the last."""
    total: float = 0.0


def _named(of: Series, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(of.labels, labels, strict=True))

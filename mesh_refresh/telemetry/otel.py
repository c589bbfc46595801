"""The observer for OpenTelemetry: metrics, and a span for each exchange. Needs the extra `otel`, its API."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mesh_refresh.observing import ExchangeEnded, Observation, StoreFailed, TokensAnswered, WebhookAttempted
from mesh_refresh.stores.errors import package_missing
from mesh_refresh.telemetry import series
from mesh_refresh.telemetry.levels import Levels
from mesh_refresh.telemetry.series import ALL_SERIES, Series, broker_label
from mesh_refresh.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import TracerProvider

_NAME = "mesh_refresh"
_GOOD = ("refreshed", "mfa_required")


class OtelObserver:
    """Gives every series to a meter provider, and a span for each exchange to a tracer provider: see docs/metrics.md.

    `meter_provider` None is the one that OpenTelemetry has for the process. Without a `tracer_provider` there are no
    spans. A span is a child of the span in which the exchange was asked for, and has no exception and no text of a
    broker in it.

    Raises `InvalidRequest` where the package opentelemetry-api is missing.
    """

    def __init__(
        self, meter_provider: "MeterProvider | None" = None, tracer_provider: "TracerProvider | None" = None
    ) -> None:
        try:
            from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra
        except ImportError:
            raise package_missing("OtelObserver", "opentelemetry-api", "otel") from None
        self._tracer = None if tracer_provider is None else tracer_provider.get_tracer(_NAME, VERSION)
        self._kind, self._bad = trace.SpanKind.CLIENT, trace.Status(trace.StatusCode.ERROR)
        self._levels = Levels()
        meter = (meter_provider or metrics.get_meter_provider()).get_meter(_NAME, VERSION)
        told = (series.EXCHANGES, series.STORE_FAILURES, series.WEBHOOK_ATTEMPTS)
        self._counters = {one: meter.create_counter(_named(one), "1", one.help) for one in told}
        self._histograms = {
            one: meter.create_histogram(_named(one), "s", one.help, explicit_bucket_boundaries_advisory=one.buckets)
            for one in (series.EXCHANGE_SECONDS, series.LATENESS, series.TOKENS_SECONDS)
        }
        for one in ALL_SERIES:
            if one not in self._counters and one not in self._histograms:
                self._watch(meter, one, metrics.Observation)

    def __repr__(self) -> str:
        return "<OtelObserver>"

    def observe(self, told: Observation, /) -> None:
        """See `Observer`."""
        match told:
            case ExchangeEnded(broker, outcome, seconds, requests, late):
                label = broker_label(broker)
                self._counters[series.EXCHANGES].add(1, {"broker": label, "outcome": outcome})
                self._histograms[series.EXCHANGE_SECONDS].record(seconds, {"broker": label})
                if late is not None:
                    self._histograms[series.LATENESS].record(late)
                if self._tracer is not None:
                    self._trace(self._tracer, label, outcome, seconds, requests)
            case TokensAnswered(answer, seconds):
                self._histograms[series.TOKENS_SECONDS].record(seconds, {"answer": answer})
            case StoreFailed(verb):
                self._counters[series.STORE_FAILURES].add(1, {"verb": verb})
            case WebhookAttempted(outcome):
                self._counters[series.WEBHOOK_ATTEMPTS].add(1, {"outcome": outcome})
            case _:
                self._levels.observe(told)

    def _trace(self, tracer: Any, broker: str, outcome: str, seconds: float, requests: int) -> None:
        end = time.time_ns()
        span = tracer.start_span(
            "mesh_refresh exchange",
            kind=self._kind,
            attributes={
                "mesh_refresh.broker": broker,
                "mesh_refresh.outcome": outcome,
                "mesh_refresh.requests": requests,
            },
            start_time=end - int(seconds * 1e9),
            record_exception=False,
            set_status_on_exception=False,
        )
        if outcome not in _GOOD:
            span.set_status(self._bad)
        span.end(end)

    def _watch(self, meter: "Meter", one: Series, observation: Callable[..., Any]) -> None:
        def look(_: object) -> Iterable[Any]:
            levels = [(labels, value) for it, labels, value in self._levels.read() if it is one]
            return [observation(value, dict(zip(one.labels, labels, strict=True))) for labels, value in levels]

        create = meter.create_observable_counter if one.kind == "counter" else meter.create_observable_gauge
        create(_named(one), [look], "s" if one.name.endswith("_seconds") else "1", one.help)


def _named(one: Series) -> str:
    """Its name without what an exporter for Prometheus adds: the same series come out there."""
    return one.name.removesuffix("_total").removesuffix("_seconds")

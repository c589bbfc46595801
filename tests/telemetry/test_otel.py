"""What OpenTelemetry gets: the series of Prometheus under its names, and a span for each exchange."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mesh_refresh import TokensRefused
from mesh_refresh.telemetry import OtelObserver
from mesh_refresh.telemetry.series import ALL_SERIES
from mesh_refresh.testing import FakeMesh, Fault
from tests.client.odd_parts import bounded
from tests.keeper.stage import HOUR, Stage


def metrics_of(reader: InMemoryMetricReader) -> dict[str, Any]:
    """By name; those without a value are left out."""
    data = reader.get_metrics_data()
    assert data is not None
    found = [it for resource in data.resource_metrics for scope in resource.scope_metrics for it in scope.metrics]
    return {it.name: it for it in found if it.data.data_points}


async def test_figures_of_a_keeper(stage: Stage) -> None:
    """Each value that is known, with labels, units and buckets; the others are absent."""
    reader = InMemoryMetricReader()
    observer = OtelObserver(MeterProvider([reader]))
    assert set(metrics_of(reader)) == {"mesh_refresh_build_info"}
    async with stage.keeper(observer=observer) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(HOUR * 30)
        await keeper.tokens("a")
        found = metrics_of(reader)
        assert set(found) >= {"mesh_refresh_in_flight", "mesh_refresh_unsaved_logins", "mesh_refresh_tokens"}
        assert "mesh_refresh_spool_files" not in found
        (exchanges,) = found["mesh_refresh_exchanges"].data.data_points
        assert (exchanges.value, exchanges.attributes) == (1, {"broker": "coinbase", "outcome": "refreshed"})
        (took,) = found["mesh_refresh_exchange"].data.data_points
        assert took.explicit_bounds[-1] == 60
        assert found["mesh_refresh_exchange"].unit == "s"
    assert "mesh_refresh_in_flight" not in metrics_of(reader)
    names = {one.name for one in ALL_SERIES}
    for name, metric in metrics_of(reader).items():
        assert {name, f"{name}_total", f"{name}_seconds"} & names, f"Prometheus has no {name}"
        assert metric.description


async def test_a_span_for_each_exchange(fake: FakeMesh) -> None:
    """A child of the span in which it was asked for, with its outcome; no exception is in it, and no secret."""
    exported = InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exported))
    tracer = tracing.get_tracer("the application")
    login = fake.login("coinbase")
    async with fake.client(observer=OtelObserver(MeterProvider(), tracing)) as mesh:
        with tracer.start_as_current_span("a request of the application") as outer:
            await mesh.refresh(login.token)
        fake.fail(Fault.refuse())
        assert isinstance(await bounded(mesh.refresh(fake.login("coinbase").token)), TokensRefused)
    child, _, alone = exported.get_finished_spans()
    assert child.parent is not None
    assert child.parent.span_id == outer.get_span_context().span_id
    assert child.kind is SpanKind.CLIENT
    assert child.attributes == {
        "mesh_refresh.broker": "coinbase", "mesh_refresh.outcome": "refreshed", "mesh_refresh.requests": 1
    }  # fmt: skip
    assert child.status.status_code is StatusCode.UNSET
    assert child.start_time is not None
    assert child.end_time is not None
    assert child.end_time > child.start_time
    assert alone.parent is None
    assert alone.status.status_code is StatusCode.ERROR
    assert not alone.events
    assert "fake-" not in alone.to_json() + child.to_json()


async def test_no_spans_without_a_tracer_provider(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own is not taken: an operator says so."""
    asked = list[Any]()
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: asked.append("tracer"))
    async with fake.client(observer=OtelObserver(MeterProvider())) as mesh:
        await mesh.refresh(fake.login("coinbase").token)
    assert not asked

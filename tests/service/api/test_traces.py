"""``traceparent``: an exchange is a span of the caller's trace."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesh_refresh.telemetry import OtelObserver
from tests.service.api.conftest import serve_api

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_an_exchange_is_a_span_of_the_callers_trace() -> None:
    """Each caller's own; what is no header of that form begins a trace, and does no harm."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with serve_api(client={"observer": OtelObserver(tracer_provider=provider)}) as api:
        await api.keeper.add("a", api.fake.login("coinbase").token)
        for header in (f"00-{TRACE}-{SPAN}-01", f"00-{TRACE[::-1]}-{SPAN}-01", "planted", "00-0-0-00", None):
            headers = {} if header is None else {"traceparent": header}
            reply = await api.call("POST", "/v1/logins/a/refresh", headers=headers)
            assert reply.status == 200
    spans = exporter.get_finished_spans()
    traces = [f"{span.context.trace_id:032x}" for span in spans if span.context is not None]
    assert traces[:2] == [TRACE, TRACE[::-1]]
    assert len(set(traces)) == 5
    parents = [None if span.parent is None else f"{span.parent.span_id:016x}" for span in spans]
    assert parents == [SPAN, SPAN, None, None, None]

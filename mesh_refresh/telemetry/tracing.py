"""Traces of callers from other processes: the header ``traceparent`` (W3C Trace Context)."""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager


@contextmanager
def continue_trace(headers: Mapping[str, str]) -> Generator[None]:
    """What is begun inside belongs to the trace that `headers` name, unless it is in a trace already.

    Where OpenTelemetry's API was not imported, there is no tracer that could look, and this does nothing.
    """
    if "traceparent" not in headers or "opentelemetry.trace" not in sys.modules:
        yield
        return
    from opentelemetry import context, trace  # noqa: PLC0415 - an extra
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    if trace.get_current_span().get_span_context().is_valid:
        yield
        return
    token = context.attach(TraceContextTextMapPropagator().extract(headers))
    try:
        yield
    finally:
        context.detach(token)

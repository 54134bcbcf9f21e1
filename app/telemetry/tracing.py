"""OpenTelemetry traces: a span for each request and each job, with its stages in it.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) names a collector; the other
OTEL_* variables mean what OpenTelemetry says. Stages are told when they have ended, with their times, so that
no span has to be carried through threads and generators.
Source of the names: OpenTelemetry semantic conventions for HTTP, 1.23.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE_NAME = "footnote"
# Work with more stages, such as the ingest of many files, tells the first ones.
MAX_STAGES = 500

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage that has ended. began, ended: on the clock of time.perf_counter_ns."""

    name: str
    began: int
    ended: int


class WorkSpan:
    """The span of one request or job. trace_id: 32 hexadecimal digits."""

    def __init__(self, tracer: Any, span: "Span") -> None:
        self._tracer = tracer
        self._span = span
        self._stages: list[StageTime] = []
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def add_stage(self, name: str, began: int, ended: int) -> None:
        """A stage of it has ended. From any thread."""
        if len(self._stages) < MAX_STAGES:
            self._stages.append(StageTime(name, began, ended))

    def end(self, name: str, attributes: Attributes, failed: bool) -> None:
        """Tell the whole of it. name: of a request, the method and the route."""
        from opentelemetry.trace import Status, StatusCode, set_span_in_context  # noqa: PLC0415

        offset = time.time_ns() - time.perf_counter_ns()
        within = set_span_in_context(self._span)
        for each in self._stages:
            child = self._tracer.start_span(each.name, context=within, start_time=each.began + offset)
            child.end(end_time=each.ended + offset)
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Tracing(Protocol):
    """Makes spans."""

    def begin_request(self, name: str, headers: Mapping[str, str]) -> WorkSpan:
        """A span that begins now. headers: traceparent and tracestate, as far as the client sent them."""
        ...

    def begin_job(self, name: str) -> WorkSpan:
        """A span that begins now, the first of its trace."""
        ...

    def close(self) -> None:
        """Send what waits to be sent."""
        ...


class OtlpTracing:
    """Traces that go to a collector, in the background."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE_NAME)
        self._context_of = TraceContextTextMapPropagator().extract

    def begin_request(self, name: str, headers: Mapping[str, str]) -> WorkSpan:
        """A span that begins now, in the trace of the client that names one."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        span = self._tracer.start_span(name, context=self._context_of(headers), kind=SpanKind.SERVER)
        return WorkSpan(self._tracer, span)

    def begin_job(self, name: str) -> WorkSpan:
        """A span that begins now, the first of its trace."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        return WorkSpan(self._tracer, self._tracer.start_span(name, kind=SpanKind.CONSUMER))

    def close(self) -> None:
        """Send what waits to be sent; a collector that does not answer is waited for as OTEL_* says."""
        self._provider.shutdown()


def open_tracing(environ: Mapping[str, str], version: str) -> Tracing | None:
    """Traces to the collector that the environment names; None where it names none.

    Raises InvalidInput when it does and OpenTelemetry is not installed.
    """
    named = next((name for name in ENDPOINTS if environ.get(name)), None)
    if named is None or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise _not_installed(named) from error
    about = {"service.version": version}
    if "OTEL_SERVICE_NAME" not in environ:
        about["service.name"] = SERVICE_NAME
    provider = TracerProvider(resource=Resource.create(about))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtlpTracing(provider)


def _not_installed(variable: str) -> InvalidInput:
    return InvalidInput(
        f"{variable} asks for traces, but OpenTelemetry is not installed here",
        field=variable,
        found="no package opentelemetry-sdk",
        expected="Footnote with its extra otel",
        next_step=f"pip install 'footnote[otel]', or unset {variable}",
    )

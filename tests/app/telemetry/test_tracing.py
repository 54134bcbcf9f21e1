"""Traces as a collector receives them: the real exporter, and a server that takes what it sends."""

import gzip
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from httpx import AsyncClient as Client
from litestar import Litestar

from app.asgi import create_app
from app.jobs.attempts import AttemptRef
from app.jobs.context import JobContext
from app.jobs.runner import JobRunner
from app.resources import Resources
from app.telemetry.tracing import open_tracing
from embeddings.errors import InvalidInput
from embeddings.stages import stage
from tests.app.http.conftest import connect

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Collector(BaseHTTPRequestHandler):
    """Keeps the spans that it is sent."""

    spans: ClassVar[list[Any]] = []
    services: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in trace_service.ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.append(about["service.name"])
            self.spans.extend(span for scope in resource.scope_spans for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Collector]]:
    Collector.spans.clear()
    Collector.services.clear()
    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Collector
    server.shutdown()
    server.server_close()


@asynccontextmanager
async def traced(resources: Resources) -> AsyncIterator[Client]:
    """A client of an application that has the resources open; what was traced is sent at its end."""

    @asynccontextmanager
    async def opener() -> AsyncIterator[Resources]:
        yield resources

    application: Litestar = create_app(resources.settings, opener)
    async with connect(application) as client:
        await application.state.opening.wait_until_ready()
        yield client


def attributes(span: Any) -> dict[str, Any]:
    return {
        each.key: each.value.string_value or each.value.int_value or each.value.bool_value
        for each in span.attributes
    }


async def test_a_search_is_a_span_with_its_stages(resources: Resources, collector: type[Collector]) -> None:
    await resources.collections.create("notes")
    async with traced(resources) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        reply = await client.post("/v1/collections/notes/search", json={"query": "snow"}, headers=headers)
        assert reply.status_code == 200
    (request,) = [span for span in collector.spans if span.name.startswith("POST")]
    assert request.name == "POST /v1/collections/{name}/search"
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    told = attributes(request)
    assert told["http.route"] == "/v1/collections/{name}/search"
    assert told["http.response.status_code"] == 200
    assert told["footnote.request_id"] == reply.headers["X-Request-Id"]
    stages = [span for span in collector.spans if span is not request]
    assert {"encode", "rank"} <= {span.name for span in stages}
    for each in stages:
        assert (each.trace_id, each.parent_span_id) == (request.trace_id, request.span_id)
        assert (
            request.start_time_unix_nano - 1_000_000 <= each.start_time_unix_nano <= each.end_time_unix_nano
        )
        assert each.end_time_unix_nano <= request.end_time_unix_nano + 1_000_000
    assert set(collector.services) == {"footnote"}


async def test_a_failure_marks_its_span_and_a_refusal_does_not(
    resources: Resources, collector: type[Collector], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(type(resources.collections), "list", broken)
    async with traced(resources) as client:
        assert (await client.get("/v1/collections")).status_code == 500
        assert (await client.get("/v1/collections/absent")).status_code == 404
    codes = {span.name: span.status.code for span in collector.spans if span.name.startswith("GET")}
    assert codes == {"GET /v1/collections": 2, "GET /v1/collections/{name}": 0}


def test_nothing_is_traced_unless_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_tracing({}, "1") is None
    assert open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "1") is None
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}
    assert open_tracing(named, "1") is None


def test_without_the_package_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(InvalidInput) as caught:
        open_tracing({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, "1")
    assert caught.value.field == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    assert "footnote[otel]" in str(caught.value.next_step)


async def test_a_job_is_a_trace_of_its_own_with_its_stages(
    resources: Resources, collector: type[Collector]
) -> None:
    async def work(context: JobContext) -> dict[str, object]:
        with stage("commit"):
            if context.attempt == 1:
                raise RuntimeError("broken")
        return {}

    async def opened() -> Resources:
        return resources

    async def run_step(*_: object) -> None:
        raise AssertionError

    tracing = open_tracing(os.environ, "1")
    assert tracing is not None
    job = await resources.jobs.submit("polish")
    await JobRunner(resources.database, {"polish": work}, opened, tracing).run(
        AttemptRef(job.id, 1), run_step
    )
    tracing.close()
    span, inner = sorted(collector.spans, key=lambda each: each.name, reverse=True)
    assert (span.name, inner.name) == ("job polish", "commit")
    assert (span.parent_span_id, inner.parent_span_id) == (b"", span.span_id)
    assert attributes(span)["footnote.job_id"] == job.id
    assert attributes(span)["footnote.job_state"] == "failed"
    assert span.status.code == 2

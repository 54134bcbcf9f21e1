"""The figures that grow with each request, in the form of Prometheus."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector

from app.telemetry.notes import Notes

# From a cached search to an answer of a large decoder, seconds.
REQUEST_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
STAGE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
# Any other token may be sent as a method, and each value is a series.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"


class RequestMetrics:
    """Counts requests, their stages and their tokens. One for an application."""

    def __init__(self) -> None:
        # A second series for each counter, which nobody draws.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "footnote_http_requests",
            "Requests that were answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "footnote_http_request_seconds",
            "From the head of a request to the last byte of its answer",
            ("method", "route"),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "footnote_http_requests_in_flight", "Requests that are being answered", registry=self.registry
        )
        self._stages = Histogram(
            "footnote_stage_seconds",
            "Stages of requests: encode, rank, decode and others",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._answers = Counter(
            "footnote_answers", "Questions that were answered", ("status",), registry=self.registry
        )
        self._tokens = Counter(
            "footnote_decoder_tokens",
            "Tokens of prompts and of what was written, for requests; cached ones are also prompt ones",
            ("kind",),
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self._known_stages: dict[str, Any] = {}

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def count_stage(self, name: str, seconds: float) -> None:
        """A stage ended."""
        series = self._known_stages.get(name)
        if series is None:
            series = self._known_stages.setdefault(name, self._stages.labels(name))
        series.observe(seconds)

    def count_notes(self, notes: Notes) -> None:
        """What a request asked and used."""
        for asked in notes.asked:
            if asked.status is not None:
                self._answers.labels(asked.status).inc()
        tokens = {
            "prompt": notes.prompt_tokens,
            "completion": notes.completion_tokens,
            "cached": notes.cached_tokens,
        }
        for kind, count in tokens.items():
            if count:
                self._tokens.labels(kind).inc(count)

    def collect(self) -> Iterator[Metric]:
        """All of it, as of now."""
        yield from self.registry.collect()

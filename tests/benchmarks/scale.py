"""How an index grows: taking in, sealing, opening, and searching it, from ten thousand chunks to a million.

One process, one thread a search. Every figure of a size comes from one run on the same corpus
(tests/benchmarks/scale_corpus.py); recall is against exact NumPy search over the same float16 vectors.
"""

import shutil
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from retrieval.builds.manifest import BuildOrigin, read_manifest, verify_files
from retrieval.builds.sealing import SealOptions
from retrieval.filters import Filter, parse_filter
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.types import IndexedChunk, SearchMode
from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus

T = TypeVar("T")
# Texts to search for, with their vectors.
Asked = Sequence[tuple[str, NDArray[np.float32]]]

ORIGIN = BuildOrigin("0" * 32, 1, "scale", "scale")
BATCH = 4_000
RECALL_QUERIES = 200
TIMED_QUERIES = 320
WARM_QUERIES = 20
SHARES = (0.001, 0.01, 0.1, 0.5)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--threads", type=int, default=2, help="of FAISS while it builds")
    parser.add_argument("--reuse", action="store_true", help="search the builds that an earlier run left")


def measure(options: Namespace) -> Mapping[str, object]:
    corpus = load_corpus(max(options.sizes))
    threadpool_limits(1, user_api="blas")  # as in the service
    sizes = {str(size): _measure_size(corpus, size, options) for size in options.sizes}
    return {"agreement_of_sums": round(corpus.agreement, 3), "sizes": sizes}


def _measure_size(corpus: ScaleCorpus, size: int, options: Namespace) -> dict[str, object]:
    folder = WORKPLACE / "scale" / f"index-{size}"
    made = {} if options.reuse else _make(corpus, size, folder, options.threads)
    (build,) = (folder / "builds").iterdir()
    _, checking_s = _timed(lambda: verify_files(build, read_manifest(build)))
    shutil.rmtree(folder / "second", ignore_errors=True)
    (folder / "second").mkdir()
    opened, opening_s = _timed(lambda: CollectionIndex.open(build, folder / "second"))
    manifest = read_manifest(build)
    return {
        "kind": manifest.index_kind,
        **made,
        "opening_s": round(opening_s, 3),
        "checking_s": round(checking_s, 2),
        "vectors_and_graph_bytes_a_chunk": round(manifest.files["vectors.faiss"].size_bytes / size),
        "all_bytes_a_chunk": round(manifest.size_bytes / size),
        "recall@10": _recall(corpus, opened, size, None),
        "recall@10_filtered": {f"{share:.1%}": _recall(corpus, opened, size, share) for share in SHARES},
        "questions": _searches(_first(corpus.questions, corpus.question_vectors), opened),
        "sentences": _searches(_first(corpus.queries, corpus.query_vectors), opened),
    }


def _take_in(corpus: ScaleCorpus, size: int, workspace: Path) -> CollectionIndex:
    workspace.mkdir()
    index = CollectionIndex(corpus.vectors.shape[1], workspace)
    for start in range(0, size, BATCH):
        chunks = [_chunk(corpus, i) for i in range(start, min(size, start + BATCH))]
        index.apply(chunks, (), start + len(chunks))
    return index


def _chunk(corpus: ScaleCorpus, i: int) -> IndexedChunk:
    return IndexedChunk(i, i, corpus.text(i), corpus.vectors[i], {"bucket": i % 1_000})


def _make(corpus: ScaleCorpus, size: int, folder: Path, threads: int) -> dict[str, float]:
    """Seconds to take all texts in, and to seal them; only the build is left."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "builds").mkdir(parents=True)
    index, taking_in_s = _timed(lambda: _take_in(corpus, size, folder / "first"))
    options = SealOptions(threads)
    _, sealing_s = _timed(lambda: index.seal(folder / "scratch", folder / "builds", ORIGIN, options))
    return {"taking_in_s": round(taking_in_s, 1), "sealing_s": round(sealing_s, 1)}


def _first(texts: Sequence[str], vectors: NDArray[np.float32]) -> Asked:
    return list(zip(texts[:TIMED_QUERIES], vectors[:TIMED_QUERIES], strict=True))


def _filter(share: float | None) -> Filter | None:
    return None if share is None else parse_filter({"bucket": {"$lt": round(1_000 * share)}})


def _searches(asked: Asked, index: CollectionIndex) -> dict[str, object]:
    """p50 and p99 in ms of each mode, unfiltered and at each share of allowed chunks."""
    return {
        "all" if share is None else f"{share:.1%}": {
            mode.value: _latency(asked, index, mode, _filter(share)) for mode in SearchMode
        }
        for share in (None, *SHARES)
    }


def _latency(
    asked: Asked, index: CollectionIndex, mode: SearchMode, filter_: Filter | None
) -> dict[str, float]:
    times = []
    for text, vector in asked:
        request = SearchRequest(text, vector, mode, 10, filter=filter_)
        _, seconds = _timed(lambda request=request: index.search(request))  # type: ignore[misc]
        times.append(seconds * 1_000)
    cuts = quantiles(times[WARM_QUERIES:], n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2)}


def _recall(corpus: ScaleCorpus, index: CollectionIndex, size: int, share: float | None) -> float:
    """Mean share of the exact ten nearest that dense search returns."""
    exact = _exact(corpus, size, share)
    hits = 0
    for i, wanted in enumerate(exact):
        request = SearchRequest("", corpus.query_vectors[i], SearchMode.DENSE, 10, filter=_filter(share))
        hits += len({chunk.chunk_id for chunk in index.search(request).chunks} & set(wanted))
    return round(hits / sum(map(len, exact)), 4)


def _exact(corpus: ScaleCorpus, size: int, share: float | None) -> Sequence[list[int]]:
    queries = corpus.query_vectors[:RECALL_QUERIES]
    scores: NDArray[np.float32] = np.empty((len(queries), size), np.float32)
    for start in range(0, size, 50_000):
        part = corpus.vectors[start : min(size, start + 50_000)].astype(np.float32)
        scores[:, start : start + len(part)] = queries @ part.T
    if share is not None:
        scores[:, np.arange(size) % 1_000 >= round(1_000 * share)] = -np.inf
    best = np.argpartition(-scores, 10, axis=1)[:, :10]
    return [row.tolist() for row in best]


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started

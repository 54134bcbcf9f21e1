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

from retrieval.builds.manifest import BuildOrigin, read_manifest, verify_files
from retrieval.builds.sealing import SealOptions
from retrieval.filters import Filter, parse_filter
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.types import IndexedChunk, SearchMode
from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus

T = TypeVar("T")

ORIGIN = BuildOrigin("0" * 32, 1, "scale", "scale")
BATCH = 4_000
RECALL_QUERIES = 200
TIMED_QUERIES = 300
SHARES = (0.001, 0.01, 0.1, 0.5)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--threads", type=int, default=2, help="of FAISS while it builds")


def measure(options: Namespace) -> Mapping[str, object]:
    corpus = load_corpus(max(options.sizes))
    sizes = {str(size): _measure_size(corpus, size, options.threads) for size in options.sizes}
    return {"agreement_of_sums": round(corpus.agreement, 3), "sizes": sizes}


def _measure_size(corpus: ScaleCorpus, size: int, threads: int) -> dict[str, object]:
    folder = WORKPLACE / "scale" / f"index-{size}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "builds").mkdir(parents=True)
    taking_in_s, sealing_s = _make(corpus, size, folder, threads)
    (build,) = (folder / "builds").iterdir()
    _, checking_s = _timed(lambda: verify_files(build, read_manifest(build)))
    (folder / "second").mkdir()
    opened, opening_s = _timed(lambda: CollectionIndex.open(build, folder / "second"))
    manifest = read_manifest(build)
    return {
        "kind": manifest.index_kind,
        "taking_in_s": round(taking_in_s, 1),
        "sealing_s": round(sealing_s, 1),
        "opening_s": round(opening_s, 3),
        "checking_s": round(checking_s, 2),
        "vectors_and_graph_bytes_a_chunk": round(manifest.files["vectors.faiss"].size_bytes / size),
        "all_bytes_a_chunk": round(manifest.size_bytes / size),
        "recall@10": _recall(corpus, opened, size, None),
        "searches": _searches(corpus, opened, size),
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


def _make(corpus: ScaleCorpus, size: int, folder: Path, threads: int) -> tuple[float, float]:
    """Seconds to take all texts in, and to seal them; only the build is left."""
    index, taking_in_s = _timed(lambda: _take_in(corpus, size, folder / "first"))
    options = SealOptions(threads)
    _, sealing_s = _timed(lambda: index.seal(folder / "scratch", folder / "builds", ORIGIN, options))
    return taking_in_s, sealing_s


def _filter(share: float | None) -> Filter | None:
    return None if share is None else parse_filter({"bucket": {"$lt": round(1_000 * share)}})


def _searches(corpus: ScaleCorpus, index: CollectionIndex, size: int) -> dict[str, object]:
    """p50 and p99 in ms of each mode, unfiltered and at each share of allowed chunks, with dense recall."""
    found: dict[str, object] = {}
    for share in (None, *SHARES):
        row: dict[str, object] = {
            mode.value: _latency(corpus, index, mode, _filter(share)) for mode in SearchMode
        }
        if share is not None:
            row["recall@10"] = _recall(corpus, index, size, share)
        found["all" if share is None else f"{share:.1%}"] = row
    return found


def _latency(
    corpus: ScaleCorpus, index: CollectionIndex, mode: SearchMode, filter_: Filter | None
) -> dict[str, float]:
    times = []
    for i in range(TIMED_QUERIES):
        request = SearchRequest(corpus.queries[i], corpus.query_vectors[i], mode, 10, filter=filter_)
        _, seconds = _timed(lambda request=request: index.search(request))  # type: ignore[misc]
        times.append(seconds * 1_000)
    cuts = quantiles(times[10:], n=100)
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

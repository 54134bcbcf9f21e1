"""Recall and latency of an index in Milvus: `python -m tests.engines.milvus_speed --rows 20000`.

The vectors lie in clusters, as those of texts do. --url names a server; without it one is started.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.engines.address import parse_engine
from retrieval.engines.milvus import MilvusStore
from retrieval.engines.types import Allowed, IndexKey, StoredChunk
from retrieval.filters import parse_filter
from tests.engines.milvus_server import MilvusServer, milvus_python

DIMENSION, CLUSTERS, SPREAD = 384, 400, 0.7
BATCH, QUERIES, DEPTH = 1_000, 100, 100
YEARS = 100


def clustered(rng: np.random.Generator, centres: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """(rows, DIMENSION) unit vectors around the centres."""
    noise = rng.standard_normal((rows, DIMENSION)) * SPREAD / np.sqrt(DIMENSION)
    vectors: NDArray[np.float32] = (centres[rng.integers(0, len(centres), rows)] + noise).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


def timed(call: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """Milliseconds, and what the call returned."""
    started = time.perf_counter()
    result = call(*given)
    return 1_000 * (time.perf_counter() - started), result


def searched_afresh(store: MilvusStore, query: NDArray[np.float32]) -> None:
    """As after another process wrote."""
    store.refresh()
    store.search(query, DEPTH, None)


def searched(
    store: MilvusStore, vectors: NDArray[np.float32], queries: NDArray[np.float32], years: range | None
) -> dict[str, float]:
    """Recall@10 and milliseconds; years: a filter lets only documents of these pass."""
    rows = np.arange(len(vectors))
    if years is not None:
        rows = rows[(rows % YEARS >= years.start) & (rows % YEARS < years.stop)]
    filter_ = None if years is None else parse_filter({"year": {"$gte": years.start, "$lt": years.stop}})
    allowed = None if filter_ is None else Allowed(filter_, len(rows), None)
    found, took = 0, []
    for query in queries:
        ms, (ids, _) = timed(store.search, query, DEPTH, allowed)
        best = rows[np.argsort(-(vectors[rows] @ query))[:10]]
        found += len({*ids[:10]} & {*best})
        took.append(ms)
    return {
        "recall@10": found / (10 * len(queries)),
        "p50_ms": round(float(np.percentile(took, 50)), 1),
        "p95_ms": round(float(np.percentile(took, 95)), 1),
    }


def all_searches(
    store: MilvusStore, vectors: NDArray[np.float32], queries: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    return {
        "all": searched(store, vectors, queries, None),
        "filter passes 50 %": searched(store, vectors, queries, range(50)),
        "filter passes 1 %": searched(store, vectors, queries, range(1)),
    }


class FlushedStore(MilvusStore):
    """Can have the server do now what it does after ten idle minutes."""

    def flush(self) -> None:
        """Seal what was written and wait for its HNSW graph."""
        client = self._connection.client
        client.flush(self._name, timeout=120)
        while client.describe_index(self._name, "vector").get("pending_index_rows", 0):
            time.sleep(1)
        time.sleep(10)  # until the server searches the graph in place of the raw rows


def measure(url: str, rows: int) -> dict[str, Any]:
    """Fill an index and search it."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((CLUSTERS, DIMENSION)).astype(np.float32) / np.sqrt(DIMENSION)
    vectors, queries = clustered(rng, centres, rows), clustered(rng, centres, QUERIES)
    key = IndexKey(1, "200/30", "encoder@1", f"speed-{time.time_ns()}")
    store = FlushedStore(parse_engine(url, "postgresql://words/unused"), key, DIMENSION)
    store.upsert([StoredChunk(rows, rows, vectors[0], {}, False)])  # makes the collection
    store.delete_documents([rows])
    started = time.perf_counter()
    for first in range(0, rows, BATCH):
        last = min(first + BATCH, rows)
        store.upsert([StoredChunk(i, i, vectors[i], {"year": i % YEARS}, False) for i in range(first, last)])
    writing_s = time.perf_counter() - started
    fresh = [timed(searched_afresh, store, query)[0] for query in queries[:20]]
    figures = {
        "rows": rows,
        "written_rows_per_s": round(rows / writing_s),
        "search after another process wrote, p50_ms": round(float(np.median(fresh)), 1),
        "as written": all_searches(store, vectors, queries),
    }
    store.flush()
    figures["with HNSW built"] = all_searches(store, vectors, queries)
    store.drop()
    store.close()
    return figures


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The URL of a server that runs meanwhile."""
    if url is not None:
        yield url
        return
    with TemporaryDirectory() as folder, MilvusServer(milvus_python(), Path(folder)) as running:
        yield running.address


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--url", help="milvus://host:port or milvus+lite:///path/file.db")
    arguments = parser.parse_args()
    with server(arguments.url) as url:
        print(json.dumps(measure(url, arguments.rows), indent=2))


if __name__ == "__main__":
    main()

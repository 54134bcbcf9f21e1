"""Whether a release may serve: is it whole, does its index find what exact search finds, and do the golden
queries find their documents as well as in the release in service.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from anyio import to_thread
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.engine import Database
from app.db.following import Wanted
from app.db.golden import list_golden
from app.db.hydration import hydrate
from app.db.releases import present_served
from app.db.verifying import (
    SampledChunk,
    StoredCounts,
    chunk_ids,
    count_stored,
    iterate_vectors,
    read_vectors,
    sample_chunks,
)
from app.encoders import Encoders
from app.indexes import Indexes, Served
from app.services.completing import wanted_of
from app.services.encoding import Encoding
from app.services.release_types import GoldenQuery, Release, Verification
from embeddings.errors import Conflict, Overloaded, UpstreamFailed
from retrieval.index import SearchRequest
from retrieval.sentences import sentence_starts
from retrieval.types import SearchMode

logger = logging.getLogger("footnote.verification")

QUERIES = 200
DEPTH = 10
# An exact index has 1.0 and a graph that was built well 0.97 and more; below this something is broken.
MIN_RECALL = 0.95
# Of a release that other processes write into meanwhile: one that serves, or served, on an engine.
MEASURING_ATTEMPTS = 3
# Chunks to look at for ten documents.
GOLDEN_CHUNKS = 100
MAX_QUERY_CHARS = 200
# Rounding of float16 vectors: of two chunks as near as that either may stand in the first ten.
SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is so of a release by itself. indexed: chunks; queries: how many the recall is of."""

    counts: StoredCounts
    indexed: int
    queries: int
    recall: float | None


class Verifier:
    """Measures releases without changing anything."""

    def __init__(self, database: Database, encoders: Encoders, indexes: Indexes) -> None:
        self._database = database
        self._encoders = encoders
        self._indexes = indexes

    async def verify(self, collection: CollectionRef, release: Release) -> Verification:
        """Measure a release that is complete. Its index stands still meanwhile; the one in service does not.

        Raises NotFound when the collection was deleted, Overloaded and UpstreamFailed for its engine.
        """
        measured = await self._measure(collection, release)
        golden, own, serving = await self._golden(collection, release)
        counts = measured.counts
        return Verification(
            documents=counts.documents,
            chunks=counts.chunks,
            vectors=counts.vectors,
            indexed=measured.indexed,
            queries=measured.queries,
            recall_at_10=measured.recall,
            golden_queries=golden,
            golden_recall_at_10=own,
            golden_recall_at_10_in_service=serving,
            reasons=(*_missing(counts, measured.indexed), *_too_low(measured.recall, own, serving)),
        )

    async def _measure(self, collection: CollectionRef, release: Release) -> _Measured:
        """What SQL and the index hold, and what the index finds of it."""
        wanted = wanted_of(release, await self._encoders.of(release))
        attempts = MEASURING_ATTEMPTS
        while True:
            attempts -= 1
            async with self._indexes.release_standing_still(collection, release) as (connection, served):
                counts = await count_stored(connection, wanted)
                queries = await _make_queries(connection, wanted)
                recall = await _recall(connection, wanted, served, queries)
                measured = _Measured(counts, len(served.index), len(queries), recall)
                if not attempts or not await self._indexes.has_moved(served):
                    return measured

    async def _golden(
        self, collection: CollectionRef, release: Release
    ) -> tuple[int, float | None, float | None]:
        """How many golden queries there are, and their recall in this release and in the one in service."""
        async with self._database.read() as connection:
            golden = await list_golden(connection, collection.id)
            _, serving = await present_served(connection, collection)
        if not golden:
            return 0, None, None
        own = await self._golden_recall(await self._indexes.follow_release(collection, release), golden)
        return len(golden), own, await self._serving_recall(collection, serving, golden)

    async def _serving_recall(
        self, collection: CollectionRef, serving: Release, golden: Sequence[GoldenQuery]
    ) -> float | None:
        """Recall of the release in service; None when its engine fails, which must not keep it there."""
        try:
            return await self._golden_recall(await self._indexes.follow_release(collection, serving), golden)
        except (Overloaded, UpstreamFailed, Conflict) as error:
            if serving.engine is None:
                raise
            logger.warning("release %d cannot be compared with: %s", serving.number, error.message)
            return None

    async def _golden_recall(self, served: Served, golden: Sequence[GoldenQuery]) -> float:
        return float(np.mean([await self._found_share(served, each) for each in golden]))

    async def _found_share(self, served: Served, golden: GoldenQuery) -> float:
        """Share of the query's documents among the first ten that hybrid search finds."""
        encoded = await served.encoding.query(golden.query)
        request = SearchRequest(
            golden.query, encoded.vector, SearchMode.HYBRID, GOLDEN_CHUNKS, coverage=encoded.coverage
        )
        ranked = await to_thread.run_sync(served.index.search, request)
        rows = await hydrate(self._database.fetch, served.collection.id, ranked)
        chunks = [rows[chunk.chunk_id].external_id for chunk in ranked.chunks if chunk.chunk_id in rows]
        first = list(dict.fromkeys(chunks))[:DEPTH]
        return len(set(golden.document_ids) & set(first)) / min(len(set(golden.document_ids)), DEPTH)


async def _make_queries(connection: AsyncConnection, wanted: Wanted) -> list[str]:
    """Up to QUERIES questions to the collection: titles of documents and first sentences of chunks."""
    ids = await chunk_ids(connection, wanted)
    # The same sample each time, so that two verifications can be compared.
    picked = random.Random(0).sample(ids.tolist(), min(QUERIES, len(ids)))  # noqa: S311
    chunks = await sample_chunks(connection, picked)
    return [_query(chunk, place % 2 == 0) for place, chunk in enumerate(chunks)]


def _query(chunk: SampledChunk, by_title: bool) -> str:
    if by_title and chunk.title:
        return chunk.title[:MAX_QUERY_CHARS]
    starts = list(sentence_starts(chunk.text, 0, len(chunk.text)))[:2]
    end = starts[1] if len(starts) == 2 else len(chunk.text)
    return chunk.text[:end].strip()[:MAX_QUERY_CHARS]


async def _recall(
    connection: AsyncConnection, wanted: Wanted, served: Served, queries: Sequence[str]
) -> float | None:
    """Mean share of the ten nearest chunks that dense search of the index gives; ties count as found."""
    if not queries:
        return None
    vectors = await _encode(served.encoding, queries)
    least = await _tenth_best(connection, wanted, vectors)
    shares = []
    for query, vector, (count, score) in zip(queries, vectors, least, strict=True):
        request = SearchRequest(query, vector, SearchMode.DENSE, DEPTH)
        ranked = await to_thread.run_sync(served.index.search, request)
        found = await read_vectors(connection, wanted, [chunk.chunk_id for chunk in ranked.chunks])
        near = np.count_nonzero(found @ vector >= score - SCORE_TOLERANCE)
        shares.append(near / count)
    return float(np.mean(shares))


async def _encode(encoding: Encoding, queries: Sequence[str]) -> NDArray[np.float32]:
    return (await encoding.embed(queries, prompt="query", truncate=True)).vectors


async def _tenth_best(
    connection: AsyncConnection, wanted: Wanted, queries: NDArray[np.float32]
) -> list[tuple[int, float]]:
    """For each query (dimension,): how many chunks an exact search for ten finds, and the last one's inner
    product.
    """
    best = np.empty((len(queries), 0), np.float32)
    async for vectors in iterate_vectors(connection, wanted):
        best = await to_thread.run_sync(_merge, best, vectors, queries)
    return [(len(scores), float(scores.min())) for scores in best]


def _merge(
    best: NDArray[np.float32], vectors: NDArray[np.float32], queries: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(queries, up to DEPTH) the greatest inner products, with those of further vectors."""
    scores = np.concatenate([best, queries @ vectors.T], axis=1)
    cut = max(scores.shape[1] - DEPTH, 0)
    return np.partition(scores, cut, axis=1)[:, cut:]


def _missing(counts: StoredCounts, indexed: int) -> list[str]:
    reasons = []
    if counts.cut != counts.documents:
        reasons.append(f"{counts.documents - counts.cut} of {counts.documents} documents have no chunks")
    if counts.vectors != counts.chunks:
        reasons.append(f"{counts.chunks - counts.vectors} of {counts.chunks} chunks have no vector")
    if indexed != counts.chunks:
        reasons.append(f"the index holds {indexed} chunks; SQL has {counts.chunks}")
    return reasons


def _too_low(recall: float | None, golden: float | None, in_service: float | None) -> list[str]:
    reasons = []
    if recall is not None and recall < MIN_RECALL:
        reasons.append(f"recall@10 against exact search is {recall:.3f}; expected at least {MIN_RECALL}")
    if golden is not None and in_service is not None and golden < in_service:
        reasons.append(
            f"golden queries: recall@10 is {golden:.3f}; the release in service has {in_service:.3f}"
        )
    return reasons

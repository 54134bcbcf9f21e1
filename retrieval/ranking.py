"""A request to ranked chunks, on one snapshot: candidates of both sides, exact scores for all of them,
fusion.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.analysis import names_code
from retrieval.filters import Filter
from retrieval.fusion import dense_evidence, fuse_evidence, lexical_evidence, weigh_sides
from retrieval.lexical import QueryTerm
from retrieval.snapshot import Snapshot
from retrieval.types import RankedChunk, RankedList, SearchMode, SideScore

MIN_CANDIDATES = 200  # of each side


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search for.

    vector: (dimension,) unit query vector; needed unless the mode is lexical.
    limit, offset: in chunks. filter: on document metadata, applied before ranking.
    coverage: share of the query's words that the encoder's vocabulary knows, 0 to 1.
    """

    query: str
    vector: NDArray[np.float32] | None = None
    mode: SearchMode = SearchMode.HYBRID
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    coverage: float = 1.0


@dataclass(frozen=True, slots=True)
class _Side:
    """What one retriever found, best first. rows: in the snapshot."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def ranks(self) -> dict[int, int]:
        return {row: rank for rank, row in enumerate(self.rows.tolist(), start=1)}


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Chunks that either retriever found, each with the scores of both; ranks by row."""

    rows: NDArray[np.int64]
    chunk_ids: NDArray[np.int64]
    dense_scores: NDArray[np.float32]
    lexical_scores: NDArray[np.float32]
    dense_ranks: dict[int, int]
    lexical_ranks: dict[int, int]

    def ranked(self, i: int, fused: float) -> RankedChunk:
        row, words = int(self.rows[i]), float(self.lexical_scores[i])
        dense = SideScore(float(self.dense_scores[i]), self.dense_ranks.get(row))
        lexical = SideScore(words, self.lexical_ranks.get(row)) if words > 0 else None
        return RankedChunk(int(self.chunk_ids[i]), fused, dense, lexical)


def rank_chunks(snapshot: Snapshot, request: SearchRequest) -> RankedList:
    """The chunks of a request's page, best first.

    Raises InvalidInput when the vector is missing or of another dimension, or the page is not a valid one.
    """
    _check_page(request)
    match request.mode:
        case SearchMode.DENSE:
            return _rank_dense(snapshot, request)
        case SearchMode.LEXICAL:
            return _rank_lexical(snapshot, request)
        case SearchMode.HYBRID:
            return _rank_hybrid(snapshot, request)


def _rank_dense(snapshot: Snapshot, request: SearchRequest) -> RankedList:
    allowed = snapshot.allowed(request.filter)
    side = _dense_side(snapshot, _vector(snapshot, request), request.offset + request.limit, allowed)
    scored = _scored_page(snapshot, side, request.offset)
    chunks = tuple(RankedChunk(chunk_id, score.score, dense=score) for chunk_id, score in scored)
    return RankedList(chunks, None, len(side.rows))


def _rank_lexical(snapshot: Snapshot, request: SearchRequest) -> RankedList:
    query, allowed = snapshot.lexical.analyse(request.query), snapshot.allowed(request.filter)
    side = _lexical_side(snapshot, query, request.offset + request.limit, allowed)
    scored = _scored_page(snapshot, side, request.offset)
    chunks = tuple(RankedChunk(chunk_id, score.score, lexical=score) for chunk_id, score in scored)
    return RankedList(chunks, None, len(side.rows))


def _rank_hybrid(snapshot: Snapshot, request: SearchRequest) -> RankedList:
    vector = _vector(snapshot, request)
    candidates = _candidates(snapshot, request, vector)
    weights = weigh_sides(request.coverage, snapshot.code_share, names_code(request.query))
    evidence = dense_evidence(candidates.dense_scores, snapshot.moments.background(vector))
    fused = fuse_evidence(evidence, lexical_evidence(candidates.lexical_scores), weights)
    order = np.lexsort((candidates.chunk_ids, -fused))
    page = order[request.offset : request.offset + request.limit].tolist()
    return RankedList(
        tuple(candidates.ranked(i, float(fused[i])) for i in page), weights, len(candidates.rows)
    )


def _candidates(snapshot: Snapshot, request: SearchRequest, vector: NDArray[np.float32]) -> _Candidates:
    """What either side found, scored by both: so the fused order depends on no cut-off but that of the
    page.
    """
    query, allowed = snapshot.lexical.analyse(request.query), snapshot.allowed(request.filter)
    depth = candidate_depth(request.offset + request.limit)
    dense = _dense_side(snapshot, vector, depth, allowed)
    lexical = _lexical_side(snapshot, query, depth, allowed)
    rows = np.union1d(dense.rows, lexical.rows)
    return _Candidates(
        rows,
        snapshot.chunk_ids(rows),
        snapshot.vectors(rows) @ vector,
        _lexical_scores(snapshot, query, rows, lexical, depth),
        dense.ranks(),
        lexical.ranks(),
    )


def candidate_depth(wanted: int) -> int:
    """Candidates of each side for a page that ends at `wanted`; it doubles, so that pages agree."""
    depth = MIN_CANDIDATES
    while depth < 2 * wanted:
        depth *= 2
    return depth


def _dense_side(
    snapshot: Snapshot, vector: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_]
) -> _Side:
    return _Side(*snapshot.search_dense(vector, depth, allowed))


def _lexical_side(
    snapshot: Snapshot, query: list[QueryTerm], depth: int, allowed: NDArray[np.bool_]
) -> _Side:
    found, scores = snapshot.lexical.search(query, depth, snapshot.allowed_chunks(allowed))
    return _Side(snapshot.rows_of(found), scores)


def _lexical_scores(
    snapshot: Snapshot, query: list[QueryTerm], rows: NDArray[np.int64], found: _Side, depth: int
) -> NDArray[np.float32]:
    """(len(rows),) the BM25 scores of these ascending rows, which include those found; 0 without a word."""
    scores = np.zeros(len(rows), np.float32)
    scores[np.searchsorted(rows, found.rows)] = found.scores
    if len(found.rows) < depth:
        return scores  # no other chunk holds a word
    others = np.setdiff1d(rows, found.rows)
    ids, missing = snapshot.lexical.scores(query, snapshot.chunk_ids(others))
    scores[np.searchsorted(rows, snapshot.rows_of(ids))] = missing
    return scores


def _scored_page(snapshot: Snapshot, side: _Side, offset: int) -> Iterator[tuple[int, SideScore]]:
    """Chunk id and score of each chunk that one retriever found, from `offset` on."""
    chunk_ids = snapshot.chunk_ids(side.rows[offset:]).tolist()
    for rank, (chunk_id, score) in enumerate(
        zip(chunk_ids, side.scores[offset:].tolist(), strict=True), offset
    ):
        yield chunk_id, SideScore(score, rank + 1)


def _vector(snapshot: Snapshot, request: SearchRequest) -> NDArray[np.float32]:
    if request.vector is None:
        raise InvalidInput(
            f"mode {request.mode} needs a query vector",
            field="vector",
            found="none",
            expected=f"{snapshot.dimension} numbers",
            next_step="encode the query, or search with mode lexical",
        )
    snapshot.recent.dense.check_dimension(len(request.vector))
    return request.vector


def _check_page(request: SearchRequest) -> None:
    for name, value, least in (("limit", request.limit, 1), ("offset", request.offset, 0)):
        if value < least:
            raise InvalidInput(
                f"{name} is {value}, expected at least {least}",
                field=name,
                found=str(value),
                expected=f"at least {least}",
            )

"""A request to ranked chunks, on one snapshot: candidates of both sides, exact scores for all of them,
fusion.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
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


def rank_chunks(snapshot: Snapshot, request: SearchRequest) -> RankedList:
    """The chunks of a request's page, best first.

    Raises InvalidInput when the vector is missing or of another dimension, or the page is not a valid one.
    """
    _check_page(request)
    if request.mode == SearchMode.HYBRID:
        return _rank_hybrid(snapshot, request)
    depth = request.offset + request.limit
    dense = request.mode == SearchMode.DENSE
    side = _dense_side(snapshot, request, depth) if dense else _lexical_side(snapshot, request, depth)
    return RankedList(_single_sided(snapshot, side, request), None, len(side.rows))


def _rank_hybrid(snapshot: Snapshot, request: SearchRequest) -> RankedList:
    depth = candidate_depth(request.offset + request.limit)
    dense, lexical = _dense_side(snapshot, request, depth), _lexical_side(snapshot, request, depth)
    rows = np.union1d(dense.rows, lexical.rows)
    vector, query = _vector(snapshot, request), snapshot.lexical.analyse(request.query)
    dense_scores = snapshot.dense.vectors(rows) @ vector
    lexical_scores = _lexical_scores(snapshot, query, rows)
    weights = weigh_sides(request.coverage, snapshot.code_share)
    fused = fuse_evidence(
        dense_evidence(dense_scores, snapshot.moments.background(vector)),
        lexical_evidence(lexical_scores),
        weights,
    )
    page = np.lexsort((snapshot.chunk_ids[rows], -fused))[request.offset : request.offset + request.limit]
    dense_ranks, lexical_ranks = dense.ranks(), lexical.ranks()
    chunks = tuple(
        RankedChunk(
            chunk_id=int(snapshot.chunk_ids[rows[i]]),
            score=float(fused[i]),
            dense=SideScore(float(dense_scores[i]), dense_ranks.get(int(rows[i]))),
            lexical=_word_score(float(lexical_scores[i]), lexical_ranks.get(int(rows[i]))),
        )
        for i in page.tolist()
    )
    return RankedList(chunks, weights, len(rows))


def candidate_depth(wanted: int) -> int:
    """Candidates of each side for a page that ends at `wanted`; it doubles, so that pages agree."""
    depth = MIN_CANDIDATES
    while depth < 2 * wanted:
        depth *= 2
    return depth


def _dense_side(snapshot: Snapshot, request: SearchRequest, depth: int) -> _Side:
    rows, scores = snapshot.dense.search(_vector(snapshot, request), depth, snapshot.allowed(request.filter))
    return _Side(rows, scores)


def _lexical_side(snapshot: Snapshot, request: SearchRequest, depth: int) -> _Side:
    allowed = None if request.filter is None else snapshot.allowed(request.filter)
    ids = None if allowed is None else snapshot.live_ids[allowed[snapshot.live_rows]]
    found, scores = snapshot.lexical.search(snapshot.lexical.analyse(request.query), depth, ids)
    return _Side(snapshot.rows_of(found), scores)


def _lexical_scores(
    snapshot: Snapshot, query: list[QueryTerm], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(len(rows),) the BM25 scores of these rows; 0 where a chunk holds none of the words."""
    found, scores = snapshot.lexical.search(query, len(rows), np.sort(snapshot.chunk_ids[rows]))
    result = np.zeros(len(rows), np.float32)
    result[np.searchsorted(rows, snapshot.rows_of(found))] = scores
    return result


def _single_sided(snapshot: Snapshot, side: _Side, request: SearchRequest) -> tuple[RankedChunk, ...]:
    chunks = []
    for rank in range(request.offset, len(side.rows)):
        score = SideScore(float(side.scores[rank]), rank + 1)
        dense, lexical = (score, None) if request.mode == SearchMode.DENSE else (None, score)
        chunks.append(RankedChunk(int(snapshot.chunk_ids[side.rows[rank]]), score.score, dense, lexical))
    return tuple(chunks)


def _word_score(score: float, rank: int | None) -> SideScore | None:
    return SideScore(score, rank) if score > 0 else None


def _vector(snapshot: Snapshot, request: SearchRequest) -> NDArray[np.float32]:
    if request.vector is None:
        raise InvalidInput(
            f"mode {request.mode} needs a query vector",
            field="vector",
            found="none",
            expected=f"{snapshot.dense.dimension} numbers",
            next_step="encode the query, or search with mode lexical",
        )
    snapshot.dense.check_dimension(len(request.vector))
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

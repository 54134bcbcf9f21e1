"""A request to ranked chunks, on one state of an index: candidates of both sides, exact scores for all of
them, fusion.
"""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from embeddings.stages import stage, timed
from retrieval.analysis import names_code
from retrieval.bm25 import QueryTerm
from retrieval.candidates import Candidates
from retrieval.dense import check_dimension
from retrieval.diversity import DIVERSE_POOL, diversify
from retrieval.filters import Filter
from retrieval.fusion import check_fusion, fuse, fused_weights, weigh_sides
from retrieval.searchable import A, Searchable
from retrieval.types import Fusion, RankedChunk, RankedList, SearchMode, SideScore

# Of each side. With 200 no nDCG@10 of the sets in retrieval/fusion.py is another, and a search takes longer.
MIN_CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search for.

    vector: (dimension,) unit query vector; needed unless the mode is lexical.
    limit, offset: in chunks. filter: on document metadata, applied before ranking.
    coverage: share of the query's words that the encoder's vocabulary knows, 0 to 1.
    fusion: of hybrid mode; None: evidence. diversity: 0 ranks by score alone, 1 by difference alone.
    min_score: chunks of a lower final score are left out; None: none is.
    """

    query: str
    vector: NDArray[np.float32] | None = None
    mode: SearchMode = SearchMode.HYBRID
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    coverage: float = 1.0
    fusion: Fusion | None = None
    diversity: float = 0.0
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class _Side:
    """What one retriever found, best first."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def ranks_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(rows),) the rank of each of these ascending rows, which include those found; else 0."""
        ranks = np.zeros(len(rows), np.int64)
        ranks[np.searchsorted(rows, self.rows)] = np.arange(1, len(self.rows) + 1)
        return ranks


def rank_chunks(snapshot: Searchable[A], request: SearchRequest) -> RankedList:
    """The chunks of a request's page, best first.

    Raises InvalidInput when the vector is missing or of another dimension, or another value is out of range.
    """
    _check_page(request)
    match request.mode:
        case SearchMode.DENSE:
            return _rank_dense(snapshot, request)
        case SearchMode.LEXICAL:
            return _rank_lexical(snapshot, request)
        case SearchMode.HYBRID:
            return _rank_hybrid(snapshot, request)


def _rank_dense(snapshot: Searchable[A], request: SearchRequest) -> RankedList:
    allowed = snapshot.allowed(request.filter)
    side = _dense_side(snapshot, _vector(snapshot, request), _single_depth(request), allowed)
    scored = _scored_page(snapshot, side, request)
    chunks = tuple(RankedChunk(chunk_id, score.score, dense=score) for chunk_id, score in scored)
    return RankedList(chunks, None, len(side.rows))


def _rank_lexical(snapshot: Searchable[A], request: SearchRequest) -> RankedList:
    query, allowed = snapshot.analyse(request.query), snapshot.allowed(request.filter)
    side = _lexical_side(snapshot, query, _single_depth(request), allowed)
    scored = _scored_page(snapshot, side, request)
    chunks = tuple(RankedChunk(chunk_id, score.score, lexical=score) for chunk_id, score in scored)
    return RankedList(chunks, None, len(side.rows))


def _rank_hybrid(snapshot: Searchable[A], request: SearchRequest) -> RankedList:
    fusion = Fusion() if request.fusion is None else request.fusion
    candidates = find_candidates(snapshot, request)
    with stage("fuse"):
        fused = fuse(candidates, fusion)
    order = np.lexsort((candidates.chunk_ids, -fused))
    page = order[_page(snapshot, request, candidates.rows[order], fused[order])].tolist()
    chunks = tuple(candidates.ranked(i, float(fused[i])) for i in page)
    return RankedList(chunks, fused_weights(candidates.trust, fusion), len(candidates.rows))


def find_candidates(snapshot: Searchable[A], request: SearchRequest) -> Candidates:
    """What either side found, scored by both: so the fused order depends on no cut-off but that of the
    page. Raises InvalidInput when the vector is missing or of another dimension.
    """
    vector = _vector(snapshot, request)
    query, allowed = snapshot.analyse(request.query), snapshot.allowed(request.filter)
    depth = candidate_depth(request.offset + request.limit)
    dense = _dense_side(snapshot, vector, depth, allowed)
    with stage("lexical"):
        lexical = _Side(*snapshot.word_candidates(query, depth, allowed))
    rows = np.union1d(dense.rows, lexical.rows)
    return Candidates(
        rows,
        snapshot.chunk_ids(rows),
        snapshot.vectors(rows) @ vector,
        _lexical_scores(snapshot, query, rows, lexical),
        dense.ranks_of(rows),
        lexical.ranks_of(rows),
        snapshot.moments.background(vector),
        weigh_sides(request.coverage, snapshot.code_share, names_code(request.query)),
    )


def _page(
    snapshot: Searchable[A], request: SearchRequest, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Positions of the page's chunks among these rows, which stand best first with their final scores."""
    if request.min_score is not None:
        rows = rows[scores >= request.min_score]
    order = np.arange(len(rows))
    if request.diversity > 0:
        vectors = snapshot.vectors(rows[:DIVERSE_POOL])
        order[:DIVERSE_POOL] = diversify(vectors, scores[: len(vectors)], request.diversity)
    return order[request.offset : request.offset + request.limit]


def _single_depth(request: SearchRequest) -> int:
    """How many chunks one retriever alone has to find."""
    wanted = request.offset + request.limit
    return max(wanted, DIVERSE_POOL) if request.diversity > 0 else wanted


def candidate_depth(wanted: int) -> int:
    """Candidates of each side for a page that ends at `wanted`; it doubles, so that pages agree."""
    depth = MIN_CANDIDATES
    while depth < 2 * wanted:
        depth *= 2
    return depth


@timed("dense")
def _dense_side(snapshot: Searchable[A], vector: NDArray[np.float32], depth: int, allowed: A) -> _Side:
    return _Side(*snapshot.search_dense(vector, depth, allowed))


@timed("lexical")
def _lexical_side(snapshot: Searchable[A], query: list[QueryTerm], depth: int, allowed: A) -> _Side:
    return _Side(*snapshot.search_words(query, depth, allowed))


def _lexical_scores(
    snapshot: Searchable[A], query: list[QueryTerm], rows: NDArray[np.int64], found: _Side
) -> NDArray[np.float32]:
    """(len(rows),) the BM25 scores of these ascending rows, which include those found; 0 without a word."""
    scores = np.zeros(len(rows), np.float32)
    scores[np.searchsorted(rows, found.rows)] = found.scores
    others = np.setdiff1d(rows, found.rows)
    holding, missing = snapshot.word_scores(query, others)
    scores[np.searchsorted(rows, holding)] = missing
    return scores


def _scored_page(snapshot: Searchable[A], side: _Side, request: SearchRequest) -> list[tuple[int, SideScore]]:
    """Chunk id and score of each chunk of the page, of what one retriever found."""
    page = _page(snapshot, request, side.rows, side.scores.astype(np.float64))
    chunk_ids = snapshot.chunk_ids(side.rows[page]).tolist()
    scores = [SideScore(float(side.scores[place]), int(place) + 1) for place in page]
    return list(zip(chunk_ids, scores, strict=True))


def _vector(snapshot: Searchable[A], request: SearchRequest) -> NDArray[np.float32]:
    if request.vector is None:
        raise InvalidInput(
            f"mode {request.mode} needs a query vector",
            field="vector",
            found="none",
            expected=f"{snapshot.dimension} numbers",
            next_step="encode the query, or search with mode lexical",
        )
    check_dimension(snapshot.dimension, len(request.vector))
    return request.vector


def _check_page(request: SearchRequest) -> None:
    for name, value, least in (("limit", request.limit, 1), ("offset", request.offset, 0)):
        _require(value >= least, name, value, f"at least {least}")
    _require(0 <= request.diversity <= 1, "diversity", request.diversity, "0 to 1")
    if request.fusion is not None:
        check_fusion(request.fusion)
    if request.min_score is not None:
        _require(isfinite(request.min_score), "min_score", request.min_score, "a finite number")


def _require(holds: bool, field: str, found: float, expected: str) -> None:
    if not holds:
        raise InvalidInput(
            f"{field} is {found}, expected {expected}", field=field, found=str(found), expected=expected
        )

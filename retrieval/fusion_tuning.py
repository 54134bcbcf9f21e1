"""A fusion fitted to the judged queries of one collection.

The queries are split in two. On one half each method gets the parameters that rank best, from a grid; the
other half, which no choice has seen, tells what each of them gains over the fusion in service.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.candidates import Candidates
from retrieval.fusion import fuse
from retrieval.metrics import Interval, bootstrap_interval
from retrieval.types import Fusion, FusionMethod, Normalisation

CUTOFF = 10
# Fewer queries in a half tell little: the interval of a mean of ten is wider than most gains.
MIN_QUERIES = 20

# Of equally good parameters the first are taken, so each grid starts with the usual ones.
_SHARES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.1, 0.05, 0.0)
_GRIDS = {
    FusionMethod.EVIDENCE: (
        *(Fusion(lexical_trust=share) for share in _SHARES),
        *(Fusion(dense_trust=share) for share in _SHARES[1:]),
    ),
    FusionMethod.RRF: tuple(Fusion(FusionMethod.RRF, k=k) for k in (60, 1, 2, 5, 10, 20, 40, 100, 200, 400)),
    FusionMethod.CONVEX: tuple(
        Fusion(FusionMethod.CONVEX, alpha=alpha, normalisation=normalisation)
        for normalisation in Normalisation
        for alpha in sorted(np.linspace(0, 1, 21).round(2).tolist(), key=lambda alpha: abs(alpha - 0.5))
    ),
}


@dataclass(frozen=True, slots=True)
class ScoredQuery:
    """A judged query with what both retrievers found for it.

    documents: (n,) the number of each candidate's document, from 0. gains: (documents,) grade by number.
    ideal_gains: the grades of all right documents, highest first, found or not.
    """

    candidates: Candidates
    documents: NDArray[np.int64]
    gains: NDArray[np.float64]
    ideal_gains: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FittedFusion:
    """A fusion with its mean nDCG@10, 0 to 1. train: on the half that it was chosen on.

    gain: on the other half, over the fusion in service, query by query; 95 % intervals.
    """

    fusion: Fusion
    train: float
    held_out: Interval
    gain: Interval


@dataclass(frozen=True, slots=True)
class TuningReport:
    """present: the fusion in service. fitted: the best of each method."""

    train_queries: int
    held_out_queries: int
    present: FittedFusion
    fitted: tuple[FittedFusion, ...]

    @property
    def best(self) -> FittedFusion:
        """The one that ranks best on the half that fusions are chosen on."""
        return max(self.fitted, key=lambda each: each.train)

    @property
    def is_better(self) -> bool:
        """Whether the best one gains, and the lower bound of its gain is not below zero."""
        return self.best.gain.value > 0 and self.best.gain.low >= 0


def tune_fusion(queries: Sequence[ScoredQuery], present: Fusion, seed: int = 0) -> TuningReport:
    """Fit every method. seed: of the split. Raises InvalidInput for fewer than MIN_QUERIES queries."""
    if len(queries) < MIN_QUERIES:
        raise InvalidInput(
            f"{len(queries)} judged queries are too few to tune on",
            field="judgements",
            found=f"{len(queries)} queries with a right document in the collection",
            expected=f"at least {MIN_QUERIES}, better some hundred",
        )
    order = np.random.default_rng(seed).permutation(len(queries)).tolist()
    half = len(queries) // 2
    train, held_out = ([queries[i] for i in part] for part in (order[:half], order[half:]))
    before = ndcg(held_out, present)

    def judged(fusion: Fusion) -> FittedFusion:
        after = ndcg(held_out, fusion)
        gain = bootstrap_interval(after - before)
        return FittedFusion(fusion, float(ndcg(train, fusion).mean()), bootstrap_interval(after), gain)

    fitted = tuple(judged(_fit(train, grid)) for grid in _GRIDS.values())
    return TuningReport(len(train), len(held_out), judged(present), fitted)


def ndcg(queries: Sequence[ScoredQuery], fusion: Fusion) -> NDArray[np.float64]:
    """(queries,) nDCG@10 of documents, each at the place of its best chunk, 0 to 1.

    Grades are gains and log2(rank + 1) the discount (Järvelin and Kekäläinen, TOIS 20, 2002).
    """
    return np.array([_ndcg(query, fusion) for query in queries])


def _fit(queries: Sequence[ScoredQuery], grid: Sequence[Fusion]) -> Fusion:
    return max(grid, key=lambda fusion: float(ndcg(queries, fusion).mean()))


def _ndcg(query: ScoredQuery, fusion: Fusion) -> float:
    fused = fuse(query.candidates, fusion)
    order = np.lexsort((query.candidates.chunk_ids, -fused))
    _, places = np.unique(query.documents[order], return_index=True)
    best = query.documents[order][np.sort(places)[:CUTOFF]]
    return _discounted(query.gains[best]) / _discounted(query.ideal_gains[:CUTOFF])


def _discounted(gains: NDArray[np.float64]) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())

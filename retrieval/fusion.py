"""Two rankings to one, in one of three ways.

    rrf        the sum of reciprocal ranks (Cormack, Clarke and Buettcher, SIGIR 2009)
    convex     alpha times the dense and 1 - alpha times the lexical score, both brought to [0, 1]
               (Bruch, Gai and Ingber, An analysis of fusion functions for hybrid retrieval, TOIS 42, 2023)
    evidence   the default

The default adds up evidence: how unlikely it is that a chunk which has nothing to do with the query would
score so high, as -ln of the probability (nats). Evidence notices by itself when a retriever is out of its
depth: scores that do not stand out from the background of the collection carry little of it.

    dense     the upper tail of a normal distribution with the mean and deviation of the query's scores over
              the whole collection; adding such logarithms is Fisher's way to combine independent tests (1925)
    lexical   the BM25 score itself: its term weights are log odds (Robertson and Sparck Jones, 1976)

What scores cannot tell is weighed in from outside, each weight with a reason for people: how many words of
the query the encoder's vocabulary knows, and how much of the collection is source code.

Measured nDCG@10 (test queries of ../shared/data/NAME, bundled int8 encoder, one run):

                  scifact  cranfield   cacm  cosqa  xquad ru  xquad zh
    lexical          .685       .514   .463   .386      .955      .976
    dense            .649       .498   .416   .593      .275      .317
    rrf, k = 60      .715       .552   .552   .515      .604      .655
    convex, least    .720       .550   .540   .455      .953      .976
    convex, worst    .738       .566   .564   .533      .935      .961
    evidence         .729       .558   .547   .594      .955      .976

Both of convex have alpha 0.5; they count from the least possible score and from the worst candidate.

On 23 further collections made from the QA sets, queries and manuals of ../shared/data (11 of them encoded in
bf16 instead) it was at worst .003 below the better side, and above it on 19.
"""

from dataclasses import replace
from math import erfc, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.background import Background
from retrieval.candidates import Candidates
from retrieval.types import Fusion, FusionMethod, FusionWeights, Normalisation

# A dense side that knows none of the words still orders what the lexical side ties.
MIN_DENSE_WEIGHT = 0.02
# Below the first share of known words the encoder only sees letters; above the second a rare name is normal.
COVERAGE_RANGE = (0.25, 0.75)
# Questions and code share few words, and those they share ("get", "list") are in every other function.
CODE_LEXICAL_WEIGHT = 0.6
MIN_CODE_SHARE = 0.1  # fewer chunks of code are no reason to name
# Words of one text are not independent: beyond this the best match of a long query counts no further (nats).
MAX_LEXICAL_EVIDENCE = 20.0
MAX_RANK_DAMPING = 10_000
_MAX_DEVIATIONS = 37.0  # erfc underflows beyond


def fuse(candidates: Candidates, fusion: Fusion) -> NDArray[np.float64]:
    """(n,) the fused score of each candidate: nats of evidence, a sum of reciprocal ranks, or 0 to 1."""
    match fusion.method:
        case FusionMethod.EVIDENCE:
            dense = dense_evidence(candidates.dense_scores, candidates.background)
            lexical = lexical_evidence(candidates.lexical_scores)
            return fuse_evidence(dense, lexical, fused_weights(candidates.trust, fusion))
        case FusionMethod.RRF:
            return fuse_ranks(candidates.dense_ranks, candidates.lexical_ranks, fusion.k)
        case FusionMethod.CONVEX:
            return fuse_scores(candidates.dense_scores, candidates.lexical_scores, fusion)


def fused_weights(trust: FusionWeights, fusion: Fusion) -> FusionWeights:
    """What the sides count in the end. trust: of evidence in each side, for this query."""
    match fusion.method:
        case FusionMethod.EVIDENCE:
            dense, lexical = trust.dense * fusion.dense_trust, trust.lexical * fusion.lexical_trust
            return replace(trust, dense=dense, lexical=lexical)
        case FusionMethod.RRF:
            return FusionWeights(1.0, 1.0, (), FusionMethod.RRF)
        case FusionMethod.CONVEX:
            return FusionWeights(fusion.alpha, 1 - fusion.alpha, (), FusionMethod.CONVEX)


def check_fusion(fusion: Fusion, field: str = "fusion") -> None:
    """Raise InvalidInput for a parameter out of range. field: how the whole is called where it was given."""
    trusts = (fusion.dense_trust, fusion.lexical_trust)
    _require(1 <= fusion.k <= MAX_RANK_DAMPING, f"{field}.k", fusion.k, f"1 to {MAX_RANK_DAMPING}")
    shares = zip(("alpha", "dense_trust", "lexical_trust"), (fusion.alpha, *trusts), strict=True)
    for name, value in shares:
        _require(isfinite(value) and 0 <= value <= 1, f"{field}.{name}", value, "0 to 1")
    _require(any(trusts), f"{field}.dense_trust", 0, "above 0 when lexical_trust is 0")


def _require(holds: bool, field: str, found: float, expected: str) -> None:
    if not holds:
        raise InvalidInput(
            f"{field} is {found}; expected {expected}", field=field, found=str(found), expected=expected
        )


def fuse_ranks(dense: NDArray[np.int64], lexical: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Reciprocal-rank fusion of ranks (n,) that start at 1; 0 where a side did not return the chunk.

    k: damping in ranks, at least 1; a larger one flattens the top.
    """
    return sum(
        (np.where(ranks > 0, 1 / (k + ranks), 0.0) for ranks in (dense, lexical)), np.zeros(len(dense))
    )


def fuse_scores(
    dense: NDArray[np.float32], lexical: NDArray[np.float32], fusion: Fusion
) -> NDArray[np.float64]:
    """The convex combination of the scores (n,) of the same chunks; each result is 0 to 1."""
    normalised = [_normalise(dense, -1.0, fusion), _normalise(lexical, 0.0, fusion)]
    return fusion.alpha * normalised[0] + (1 - fusion.alpha) * normalised[1]


def _normalise(scores: NDArray[np.float32], least: float, fusion: Fusion) -> NDArray[np.float64]:
    """Scores from 0 to 1. least: the smallest one that there can be. Scores that are all least count 0."""
    wide = scores.astype(np.float64)
    best = wide.max(initial=least)
    if fusion.normalisation == Normalisation.MIN_MAX:
        least = float(wide.min(initial=best))
    return np.clip((wide - least) / (best - least), 0.0, 1.0) if best > least else np.zeros(len(wide))


def dense_evidence(scores: NDArray[np.float32], background: Background) -> NDArray[np.float64]:
    """-ln of the chance that an unrelated chunk scores as high (nats); same shape as scores."""
    deviations = np.minimum((scores - background.mean) / background.deviation, _MAX_DEVIATIONS)
    return np.array([-log(erfc(z / sqrt(2)) / 2) for z in deviations.tolist()])


def lexical_evidence(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """BM25 scores in nats, scaled down where the best is above MAX_LEXICAL_EVIDENCE; same shape as scores."""
    best = float(scores.max(initial=0.0))
    return scores.astype(np.float64) * min(1.0, MAX_LEXICAL_EVIDENCE / best if best else 1.0)


def fuse_evidence(
    dense: NDArray[np.float64], lexical: NDArray[np.float64], weights: FusionWeights
) -> NDArray[np.float64]:
    """The weighted sum of both evidences of the same chunks (nats)."""
    return weights.dense * dense + weights.lexical * lexical


def weigh_sides(coverage: float, code_share: float, names_code: bool = False) -> FusionWeights:
    """How far to trust each side for one query.

    coverage: share of the query's words that the encoder's vocabulary knows, 0 to 1.
    code_share: share of the collection's chunks that are source code, 0 to 1.
    names_code: the query quotes an identifier, so its words are those of the code.
    """
    dense, lexical, reasons = 1.0, 1.0, []
    low, high = COVERAGE_RANGE
    if coverage < high:
        dense = max(MIN_DENSE_WEIGHT, (coverage - low) / (high - low))
        reasons.append(
            f"the encoder's vocabulary knows {coverage:.0%} of the query's words: meaning counts less"
        )
    if code_share >= MIN_CODE_SHARE and not names_code:
        lexical = 1 - (1 - CODE_LEXICAL_WEIGHT) * code_share
        reasons.append(f"{code_share:.0%} of the chunks are source code: words count less")
    return FusionWeights(dense, lexical, tuple(reasons))

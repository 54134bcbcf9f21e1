"""Two rankings to one.

`fuse_ranks` is plain reciprocal-rank fusion. The default fusion, `fuse_evidence`, adds up evidence instead:
how unlikely it is that a chunk which has nothing to do with the query would score so high, as -ln of the
probability (nats). Evidence notices by itself when a retriever is out of its depth: scores that do not
stand out from the background of the collection carry little of it.

    dense     the upper tail of a normal distribution with the mean and deviation of the query's scores over
    the
              whole collection; adding such logarithms is Fisher's way to combine independent tests (1925)
    lexical   the BM25 score itself: its term weights are log odds (Robertson and Sparck Jones, 1976)

What scores cannot tell is weighed in from outside, each weight with a reason for people: how many words of
the query the encoder's vocabulary knows, and how much of the collection is source code.

Measured nDCG@10 (`footnote eval retrieval --data ../shared/data/NAME`, bundled int8 encoder):

                  scifact  cranfield   cacm  cosqa  xquad ru  xquad zh
    lexical          .685       .514   .463   .386      .955      .976
    dense            .649       .499   .426   .589      .266      .320
    fuse_ranks       .712       .544   .545   .512      .592      .659
    fuse_evidence    .726       .557   .552   .591      .955      .976

On 23 further collections made from the QA sets, queries and manuals of ../shared/data (11 of them encoded in
bf16 instead) it was at worst .003 below the better side, and above it on 19.
"""

from collections.abc import Sequence
from math import erfc, log, sqrt

import numpy as np
from numpy.typing import NDArray

from retrieval.background import Background
from retrieval.types import FusionWeights

# A dense side that knows none of the words still orders what the lexical side ties.
MIN_DENSE_WEIGHT = 0.02
# Below the first share of known words the encoder only sees letters; above the second a rare name is normal.
COVERAGE_RANGE = (0.25, 0.75)
# Questions and code share few words, and those they share ("get", "list") are in every other function.
CODE_LEXICAL_WEIGHT = 0.6
MIN_CODE_SHARE = 0.1  # fewer chunks of code are no reason to name
# Words of one text are not independent: beyond this the best match of a long query counts no further (nats).
MAX_LEXICAL_EVIDENCE = 20.0
_MAX_DEVIATIONS = 37.0  # erfc underflows beyond


def fuse_ranks(rankings: Sequence[Sequence[int]], k: int = 60) -> list[tuple[int, float]]:
    """Merge rankings by reciprocal rank; best first, ties by id.

    rankings: chunk ids, best first, one list for each retriever; lengths may differ.
    k: damping constant in ranks; a larger one flattens the top.
    Raises ValueError when k < 1.
    Source: Cormack, Clarke and Buettcher, SIGIR 2009.
    """
    if k < 1:
        raise ValueError(f"k is {k}; reciprocal-rank fusion needs at least 1")
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, chunk_id in enumerate(ranking, start=1):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + 1 / (k + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


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

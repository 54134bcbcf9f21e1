"""Maximal marginal relevance: hits that matter and do not repeat each other.

Source: Carbonell and Goldstein, The use of MMR, SIGIR 1998.
"""

import numpy as np
from numpy.typing import NDArray

# The best chunks are put into another order; those below keep theirs, so that pages follow one another.
DIVERSE_POOL = 200


def diversify(
    vectors: NDArray[np.float32], scores: NDArray[np.float64], diversity: float
) -> NDArray[np.int64]:
    """(n,) positions in their new order, the best first.

    vectors: (n, dimension) unit rows; scores: (n,), best first, in any unit: the best counts 1, the last 0.
    diversity: 0 keeps the order, 1 only avoids what was shown; it is 1 minus the lambda of the source.
    """
    relevance = _from_0_to_1(scores)
    similarity = np.clip(vectors @ vectors.T, 0.0, 1.0)
    nearest = np.zeros(len(scores))
    left = np.ones(len(scores), np.bool_)
    order = np.empty(len(scores), np.int64)
    for place in range(len(scores)):
        gain = (1 - diversity) * relevance - diversity * nearest
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        order[place], left[best] = best, False
        nearest = np.maximum(nearest, similarity[best])
    return order


def _from_0_to_1(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(np.ptp(scores)) if len(scores) else 0.0
    return (scores - scores.min()) / spread if spread else np.ones(len(scores))

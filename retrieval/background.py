"""What the scores of a query look like over a whole collection, from two moments of its vectors.

The mean of q.x over all vectors x is q.mean(x) and its variance q' Cov(x) q, so both cost one small matrix
product for a query and are exact, however large the collection. Moments add up: taking in and removing
vectors is a sum.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

# A few chunks are no background to speak of. As many chunks with the deviation that is usual for sentence
# encoders (0.08 to 0.14 for all-MiniLM-L6-v2 on the retrieval sets of ../shared/data) are counted in.
PRIOR_CHUNKS = 10
PRIOR_DEVIATION = 0.1


@dataclass(frozen=True, slots=True)
class Background:
    """The distribution of one query's dense scores over a collection."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class VectorMoments:
    """Sums over the vectors of a collection. total: (dimension,); outer: (dimension, dimension), sum of x
    x'.
    """

    count: int
    total: NDArray[np.float64]
    outer: NDArray[np.float64]

    @staticmethod
    def empty(dimension: int) -> "VectorMoments":
        return VectorMoments(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    def added(self, vectors: NDArray[np.float32]) -> "VectorMoments":
        """With further vectors (rows, dimension)."""
        return self._moved(vectors, 1)

    def removed(self, vectors: NDArray[np.float32]) -> "VectorMoments":
        """Without vectors (rows, dimension) that were added before."""
        return self._moved(vectors, -1)

    def _moved(self, vectors: NDArray[np.float32], sign: int) -> "VectorMoments":
        if not len(vectors):
            return self
        return VectorMoments(
            self.count + sign * len(vectors),
            self.total + sign * vectors.sum(axis=0, dtype=np.float64),
            self.outer + sign * (vectors.T @ vectors),
        )

    def background(self, query: NDArray[np.float32]) -> Background:
        """Mean and deviation of the inner products of a query (dimension,) with all vectors."""
        mean = float(query @ self.total) / max(self.count, 1)
        squares = max(
            float(query @ self.outer @ query) - self.count * mean**2, 0.0
        )  # count times the variance
        squares += PRIOR_CHUNKS * PRIOR_DEVIATION**2
        return Background(mean, sqrt(squares / (self.count + PRIOR_CHUNKS)))

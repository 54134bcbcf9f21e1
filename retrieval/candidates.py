"""What both retrievers found for one query, before it is fused."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.background import Background
from retrieval.types import FusionWeights, RankedChunk, SideScore


@dataclass(frozen=True, slots=True)
class Candidates:
    """Chunks that either retriever found, each with the scores of both; every array is (n,).

    rows: in the snapshot. dense_ranks, lexical_ranks: start at 1; 0 where that side did not return the chunk.
    background: of the query's dense scores. trust: how far to trust the evidence of each side.
    """

    rows: NDArray[np.int64]
    chunk_ids: NDArray[np.int64]
    dense_scores: NDArray[np.float32]
    lexical_scores: NDArray[np.float32]
    dense_ranks: NDArray[np.int64]
    lexical_ranks: NDArray[np.int64]
    background: Background
    trust: FusionWeights

    def ranked(self, i: int, fused: float) -> RankedChunk:
        """The i-th candidate with all of its scores."""
        words = float(self.lexical_scores[i])
        dense = SideScore(float(self.dense_scores[i]), int(self.dense_ranks[i]) or None)
        lexical = SideScore(words, int(self.lexical_ranks[i]) or None) if words > 0 else None
        return RankedChunk(int(self.chunk_ids[i]), fused, dense, lexical)

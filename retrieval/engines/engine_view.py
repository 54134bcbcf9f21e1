"""One state of an engine's index, as ranking searches it: a row is a chunk's id."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.background import VectorMoments
from retrieval.bm25 import QueryTerm
from retrieval.engines.postgres.scoring import Bm25
from retrieval.engines.postgres.state import EngineState
from retrieval.engines.postgres.word_store import WordStore
from retrieval.engines.types import Allowed
from retrieval.engines.vector_store import VectorStore
from retrieval.filters import Filter
from retrieval.searchable import Found


@dataclass(frozen=True, slots=True)
class EngineView:
    """A `Searchable` whose rows are chunk ids, so that a chunk keeps its row when others come and go."""

    words: WordStore
    store: VectorStore
    state: EngineState

    @property
    def dimension(self) -> int:
        return self.words.dimension

    @property
    def moments(self) -> VectorMoments:
        return self.state.moments

    @property
    def code_share(self) -> float:
        return self.state.code_share

    def allowed(self, filter_: Filter | None) -> Allowed | None:
        """Which chunks may be found under a filter; None: all."""
        return None if filter_ is None else self.words.allowed(filter_)

    def search_dense(self, query: NDArray[np.float32], depth: int, allowed: Allowed | None) -> Found:
        """The best `depth` allowed chunks by the inner product with a query (dimension,)."""
        return self.store.search(query, depth, allowed)

    def analyse(self, query: str) -> list[QueryTerm]:
        """The distinct terms of a query that the index knows."""
        return self.words.analyse(query)

    def search_words(self, query: Sequence[QueryTerm], depth: int, allowed: Allowed | None) -> Found:
        """The best `depth` allowed chunks by BM25."""
        return self.words.search(query, depth, self._bm25(), allowed)

    def word_candidates(self, query: Sequence[QueryTerm], depth: int, allowed: Allowed | None) -> Found:
        """The same, where common words of a large index need not find any."""
        return self.words.candidates(query, depth, self._bm25(), allowed)

    def word_scores(self, query: Sequence[QueryTerm], rows: NDArray[np.int64]) -> Found:
        """Those of these chunks that hold a word of the query, with their BM25 scores."""
        return self.words.scores(query, rows, self._bm25())

    def chunk_ids(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same numbers."""
        return rows

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), dimension) stored values; zeros for a chunk that went since it was found."""
        return self.store.vectors(rows)[1]

    def _bm25(self) -> Bm25:
        return Bm25(self.state.chunks, self.state.average_terms)

"""What ranking needs of one state of an index, whichever engine holds it."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.background import VectorMoments
from retrieval.bm25 import QueryTerm
from retrieval.filters import Filter

A = TypeVar("A")  # what an index makes of a filter
Found = tuple[NDArray[np.int64], NDArray[np.float32]]  # rows and scores, best first


class Searchable(Protocol[A]):
    """One state of an index. A row is the index's own number of a chunk; it means nothing outside."""

    @property
    def dimension(self) -> int: ...

    @property
    def moments(self) -> VectorMoments: ...

    @property
    def code_share(self) -> float: ...

    def allowed(self, filter_: Filter | None) -> A:
        """Which chunks may be found under a filter."""
        ...

    def search_dense(self, query: NDArray[np.float32], depth: int, allowed: A) -> Found:
        """The best `depth` allowed chunks by the inner product with a query (dimension,)."""
        ...

    def analyse(self, query: str) -> list[QueryTerm]:
        """The distinct terms of a query that the index knows."""
        ...

    def search_words(self, query: Sequence[QueryTerm], depth: int, allowed: A) -> Found:
        """The best `depth` allowed chunks by BM25."""
        ...

    def word_candidates(self, query: Sequence[QueryTerm], depth: int, allowed: A) -> Found:
        """The same, where common words need not find any."""
        ...

    def word_scores(self, query: Sequence[QueryTerm], rows: NDArray[np.int64]) -> Found:
        """Those of these chunks that hold a word of the query, with their BM25 scores."""
        ...

    def chunk_ids(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(rows),)."""
        ...

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), dimension) the stored values of these rows."""
        ...

"""One state of a collection's index: a build and what is newer. Once published nothing in it changes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.background import VectorMoments
from retrieval.bm25 import QueryTerm
from retrieval.columns import MetadataTable
from retrieval.filters import Filter
from retrieval.lexical import AllowedChunks, LexicalSnapshot
from retrieval.recent import RecentPart
from retrieval.sealed import SealedPart
from retrieval.types import IndexedChunk

# Rows whose vectors are read at once when chunks go: 25 MB at 384 dimensions.
REMOVED_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows of the build first, then the newer ones.

    sealed_alive: (rows of the build,) those that were not deleted or replaced since. moments: of all live
    vectors. code_share: the share of live chunks that are source code, 0 to 1.
    """

    seq: int
    sealed: SealedPart
    sealed_alive: NDArray[np.bool_]
    recent: RecentPart
    moments: VectorMoments
    lexical: LexicalSnapshot
    code_share: float

    @staticmethod
    def of_build(sealed: SealedPart, lexical: LexicalSnapshot, seq: int) -> "Snapshot":
        """What a build holds, and nothing newer."""
        recent = RecentPart.empty(sealed.vectors.dimension)
        opened = Snapshot(seq, sealed, sealed.alive, recent, sealed.moments, lexical, 0.0)
        return opened.published(lexical, seq)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.sealed_alive)) + len(self.recent.live_rows)

    @property
    def dimension(self) -> int:
        return self.sealed.vectors.dimension

    @property
    def dead_share(self) -> float:
        """Share of the build's rows that are dead, 0 to 1."""
        return 1 - float(self.sealed_alive.mean()) if len(self.sealed) else 0.0

    def metadata(self) -> tuple[MetadataTable, MetadataTable]:
        """The metadata of the documents of the build and of the newer ones."""
        return self.sealed.metadata, self.recent.metadata

    def allowed(self, filter_: Filter | None) -> NDArray[np.bool_]:
        """(rows,) which chunks may be found under a filter."""
        alive = np.concatenate([self.sealed_alive, self.recent.alive])
        if filter_ is not None:
            alive &= np.concatenate([self.sealed.mask(filter_), self.recent.mask(filter_)])
        return alive

    def allowed_chunks(self, allowed: NDArray[np.bool_]) -> AllowedChunks | None:
        """The same by chunk id, for the lexical engine; None when every live chunk is allowed."""
        count = int(np.count_nonzero(allowed))
        if count == len(self):
            return None
        return AllowedChunks(
            count,
            listed=lambda: np.sort(self.chunk_ids(np.flatnonzero(allowed))),
            passes=lambda chunk_ids: allowed[self.rows_of(chunk_ids)],
        )

    def chunk_ids(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(rows),) the ids of the chunks in these rows."""
        sealed = len(self.sealed)
        result = np.empty(len(rows), np.int64)
        old = rows < sealed
        result[old] = self.sealed.chunk_ids[rows[old]]
        result[~old] = self.recent.chunk_ids[rows[~old] - sealed]
        return result

    def rows_of(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of live chunks."""
        rows = self._live_sealed_rows(chunk_ids)
        newer = rows < 0
        rows[newer] = self.recent.rows_of(chunk_ids[newer]) + len(self.sealed)
        return rows

    def present(self, chunk_ids: Sequence[int]) -> list[int]:
        """Those of these ids that live chunks have."""
        ids = np.array(chunk_ids, np.int64)
        standing = (self._live_sealed_rows(ids) >= 0) | np.isin(ids, self.recent.live_ids)
        return [int(chunk_id) for chunk_id in ids[standing]]

    def _live_sealed_rows(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = self.sealed.rows_of(chunk_ids)
        if len(self.sealed):
            rows[~self.sealed_alive[rows]] = -1
        return rows

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), dimension) the stored values of these rows."""
        sealed = len(self.sealed)
        result = np.empty((len(rows), self.dimension), np.float32)
        old = rows < sealed
        result[old] = self.sealed.vectors.vectors(rows[old])
        result[~old] = self.recent.dense.vectors(rows[~old] - sealed)
        return result

    def search_dense(
        self, query: NDArray[np.float32], depth: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and inner products of the best `depth` allowed rows, best first; ties by row.

        query: (dimension,) unit length. allowed: (rows,).
        """
        sealed = len(self.sealed)
        old_rows, old_scores = self.sealed.vectors.search(query, depth, allowed[:sealed])
        new_rows, new_scores = self.recent.dense.search(query, depth, allowed[sealed:])
        rows = np.concatenate([old_rows, new_rows + sealed])
        scores = np.concatenate([old_scores, new_scores])
        best = np.lexsort((rows, -scores))[:depth]
        return rows[best], scores[best]

    def analyse(self, query: str) -> list[QueryTerm]:
        """The distinct terms of a query that the index knows."""
        return self.lexical.analyse(query)

    def search_words(
        self, query: Sequence[QueryTerm], depth: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and BM25 scores of the best `depth` allowed rows that hold a word of the query."""
        found, scores = self.lexical.search(query, depth, self.allowed_chunks(allowed))
        return self.rows_of(found), scores

    def word_candidates(
        self, query: Sequence[QueryTerm], depth: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The same; of many chunks the best of those that the telling words find."""
        found, scores = self.lexical.candidates(query, depth, self.allowed_chunks(allowed))
        return self.rows_of(found), scores

    def word_scores(
        self, query: Sequence[QueryTerm], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those of these rows that hold a word of the query, and their BM25 scores."""
        found, scores = self.lexical.scores(query, self.chunk_ids(rows))
        return self.rows_of(found), scores

    def without(self, document_keys: Collection[int], chunk_ids: Sequence[int]) -> "Snapshot":
        """With the chunks of these documents, and these chunks, dead."""
        if not document_keys and not chunk_ids:
            return self
        ids = np.array(self.present(chunk_ids), np.int64)
        old = self.sealed.rows_of_documents(document_keys)
        new = self.recent.rows_of_documents(document_keys) + len(self.sealed)
        rows = np.unique(np.concatenate([old, new, self.rows_of(ids)]))
        return self._without_rows(rows[self.allowed(None)[rows]])

    def _without_rows(self, rows: NDArray[np.int64]) -> "Snapshot":
        moments = self.moments
        for start in range(0, len(rows), REMOVED_ROWS):
            moments = moments.removed(self.vectors(rows[start : start + REMOVED_ROWS]))
        sealed = len(self.sealed)
        alive = self.sealed_alive.copy()
        alive[rows[rows < sealed]] = False
        recent = self.recent.without(rows[rows >= sealed] - sealed)
        return replace(self, sealed_alive=alive, recent=recent, moments=moments)

    def extended(self, additions: Sequence[IndexedChunk]) -> "Snapshot":
        """With further chunks."""
        if not additions:
            return self
        vectors = np.stack([chunk.vector for chunk in additions]).astype(np.float16).astype(np.float32)
        recent = self.recent.extended(additions, vectors)
        return replace(self, recent=recent, moments=self.moments.added(vectors))

    def published(self, lexical: LexicalSnapshot, seq: int) -> "Snapshot":
        """Ready to be searched, with the words as of the same change."""
        recent = self.recent.tidied()
        code = np.count_nonzero(self.sealed.is_code & self.sealed_alive)
        code += np.count_nonzero(recent.is_code & recent.alive)
        live = max(1, int(np.count_nonzero(self.sealed_alive)) + len(recent.live_rows))
        return replace(self, seq=seq, lexical=lexical, recent=recent, code_share=float(code / live))

"""The part of an index that is newer than its build: small, exact, in memory. Each change makes another."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import looks_like_code
from retrieval.columns import MetadataTable
from retrieval.dense import DenseSnapshot
from retrieval.filters import Filter
from retrieval.types import IndexedChunk

MAX_DEAD_SHARE = 0.25  # of all rows; more than that and the rows are copied without the dead ones
MIN_COMPACTED_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class RecentPart:
    """Chunks by row, and their documents by slot.

    chunk_ids, slots, alive, is_code: (rows,). slots: where in document_keys and metadata the chunk's
    document stands. live_rows: rows that are alive in the order of their chunk ids; live_ids: those ids.
    """

    chunk_ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    alive: NDArray[np.bool_]
    is_code: NDArray[np.bool_]
    document_keys: NDArray[np.int64]
    metadata: MetadataTable
    dense: DenseSnapshot
    live_rows: NDArray[np.int64]
    live_ids: NDArray[np.int64]

    @staticmethod
    def empty(dimension: int) -> "RecentPart":
        ids, flags = np.empty(0, np.int64), np.empty(0, np.bool_)
        dense = DenseSnapshot.empty(dimension)
        return RecentPart(ids, ids, flags, flags, ids, MetadataTable(), dense, ids, ids)

    def __len__(self) -> int:
        return len(self.chunk_ids)

    def mask(self, filter_: Filter) -> NDArray[np.bool_]:
        """(rows,) whether each row's document passes."""
        return self.metadata.mask(filter_)[self.slots]

    def rows_of(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each live chunk."""
        return self.live_rows[np.searchsorted(self.live_ids, chunk_ids)]

    def rows_of_documents(self, document_keys: Collection[int]) -> NDArray[np.int64]:
        """The rows of all chunks of these documents."""
        wanted = np.fromiter(document_keys, np.int64, len(document_keys))
        return np.flatnonzero(np.isin(self.document_keys, wanted)[self.slots])

    def without(self, rows: NDArray[np.int64]) -> "RecentPart":
        """With these rows dead."""
        alive = self.alive.copy()
        alive[rows] = False
        return replace(self, alive=alive)

    def extended(self, additions: Sequence[IndexedChunk], vectors: NDArray[np.float32]) -> "RecentPart":
        """With further chunks, whose vectors (len(additions), dimension) hold float16 values."""
        slots, documents = _slots(additions, len(self.document_keys))
        return replace(
            self,
            chunk_ids=np.append(self.chunk_ids, [chunk.chunk_id for chunk in additions]),
            slots=np.append(self.slots, slots),
            alive=np.append(self.alive, np.ones(len(additions), np.bool_)),
            is_code=np.append(self.is_code, [looks_like_code(chunk.text) for chunk in additions]),
            document_keys=np.append(self.document_keys, [chunk.document_key for chunk in documents]),
            metadata=self.metadata.extended([chunk.metadata for chunk in documents]),
            dense=self.dense.extended(vectors),
        )

    def tidied(self) -> "RecentPart":
        """Without dead rows, when they have become worth the copying, and ready to be searched."""
        dead = len(self.alive) - int(np.count_nonzero(self.alive))
        crowded = dead > MAX_DEAD_SHARE * len(self.alive) and len(self.alive) >= MIN_COMPACTED_ROWS
        tidy = self._compacted() if crowded or self.dense.needs_sealing() else self
        rows = np.flatnonzero(tidy.alive)
        live_rows = rows[np.argsort(tidy.chunk_ids[rows], kind="stable")]
        return replace(tidy, live_rows=live_rows, live_ids=tidy.chunk_ids[live_rows])

    def _compacted(self) -> "RecentPart":
        rows = np.flatnonzero(self.alive)
        kept, slots = np.unique(self.slots[rows], return_inverse=True)
        return replace(
            self,
            chunk_ids=self.chunk_ids[rows],
            slots=slots,
            alive=self.alive[rows],
            is_code=self.is_code[rows],
            document_keys=self.document_keys[kept],
            metadata=self.metadata.select(kept),
            dense=self.dense.selected(rows),
        )


def _slots(additions: Sequence[IndexedChunk], first: int) -> tuple[list[int], list[IndexedChunk]]:
    """A slot for each chunk, one for each document, from `first` on; and one chunk of each document."""
    slot_of: dict[int, int] = {}
    documents: list[IndexedChunk] = []
    for chunk in additions:
        if slot_of.setdefault(chunk.document_key, first + len(documents)) == first + len(documents):
            documents.append(chunk)
    return [slot_of[chunk.document_key] for chunk in additions], documents

"""One state of a collection's index. Once published nothing in it changes; each change makes another."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import looks_like_code
from retrieval.background import VectorMoments
from retrieval.columns import MetadataTable
from retrieval.dense import DenseSnapshot
from retrieval.filters import Filter
from retrieval.lexical import LexicalSnapshot
from retrieval.types import IndexedChunk

MAX_DEAD_SHARE = 0.25  # of all rows; more than that and the rows are copied without the dead ones
MIN_COMPACTED_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Chunks by row, and their documents by slot.

    chunk_ids, slots, alive, is_code: (rows,). slots: where in document_keys and metadata the chunk's
    document stands. live_rows: rows that are alive in the order of their chunk ids; live_ids: those ids,
    ascending. code_share: the share of live chunks that are source code, 0 to 1.
    """

    seq: int
    chunk_ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    alive: NDArray[np.bool_]
    is_code: NDArray[np.bool_]
    document_keys: NDArray[np.int64]
    metadata: MetadataTable
    dense: DenseSnapshot
    moments: VectorMoments
    lexical: LexicalSnapshot
    live_rows: NDArray[np.int64]
    live_ids: NDArray[np.int64]
    code_share: float

    @staticmethod
    def empty(dimension: int, lexical: LexicalSnapshot) -> "Snapshot":
        ids, flags = np.empty(0, np.int64), np.empty(0, np.bool_)
        dense, moments = DenseSnapshot.empty(dimension), VectorMoments.empty(dimension)
        return Snapshot(
            0, ids, ids, flags, flags, ids, MetadataTable(), dense, moments, lexical, ids, ids, 0.0
        )

    def __len__(self) -> int:
        return len(self.live_rows)

    def allowed(self, filter_: Filter | None) -> NDArray[np.bool_]:
        """(rows,) which chunks may be found under a filter."""
        return self.alive if filter_ is None else self.alive & self.metadata.mask(filter_)[self.slots]

    def rows_of(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of live chunks."""
        return self.live_rows[np.searchsorted(self.live_ids, chunk_ids)]

    def present(self, chunk_ids: Sequence[int]) -> list[int]:
        """Those of these ids that live chunks have."""
        ids = np.array(chunk_ids, np.int64)
        return [int(chunk_id) for chunk_id in ids[np.isin(ids, self.live_ids)]]

    def without(self, document_keys: Collection[int], chunk_ids: Collection[int]) -> "Snapshot":
        """With the chunks of these documents, and these chunks, dead."""
        documents_gone = np.isin(self.document_keys, np.array(list(document_keys), np.int64))
        gone = documents_gone[self.slots] | np.isin(self.chunk_ids, np.array(list(chunk_ids), np.int64))
        rows = np.flatnonzero(gone & self.alive)
        moments = self.moments.removed(self.dense.vectors(rows))
        return replace(self, alive=self.alive & ~gone, moments=moments)

    def extended(self, additions: Sequence[IndexedChunk]) -> "Snapshot":
        """With further chunks."""
        if not additions:
            return self
        vectors = np.stack([chunk.vector for chunk in additions]).astype(np.float16).astype(np.float32)
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
            moments=self.moments.added(vectors),
        )

    def tidied(self) -> "Snapshot":
        """Sealed, and without dead rows, when either has become worth its cost."""
        dead = len(self.alive) - int(np.count_nonzero(self.alive))
        crowded = dead > MAX_DEAD_SHARE * len(self.alive) and len(self.alive) >= MIN_COMPACTED_ROWS
        return self._compacted() if crowded or self.dense.needs_sealing() else self

    def _compacted(self) -> "Snapshot":
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

    def published(self, lexical: LexicalSnapshot, seq: int) -> "Snapshot":
        """Ready to be searched, with the words as of the same change."""
        rows = np.flatnonzero(self.alive)
        live_rows = rows[np.argsort(self.chunk_ids[rows], kind="stable")]
        return replace(
            self,
            seq=seq,
            lexical=lexical,
            live_rows=live_rows,
            live_ids=self.chunk_ids[live_rows],
            code_share=float(self.is_code[rows].mean()) if len(rows) else 0.0,
        )


def _slots(additions: Sequence[IndexedChunk], first: int) -> tuple[list[int], list[IndexedChunk]]:
    """A slot for each chunk, one for each document, from `first` on; and one chunk of each document."""
    slot_of: dict[int, int] = {}
    documents: list[IndexedChunk] = []
    for chunk in additions:
        if slot_of.setdefault(chunk.document_key, first + len(documents)) == first + len(documents):
            documents.append(chunk)
    return [slot_of[chunk.document_key] for chunk in additions], documents

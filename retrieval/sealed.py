"""The part of an index that stands in a build: rows in the order of their chunk ids, never changed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from retrieval.background import VectorMoments
from retrieval.columns import MetadataTable
from retrieval.filters import Filter
from retrieval.sealed_vectors import SealedVectors

_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class StoredRows(Sequence[Mapping[str, Any]]):
    """Metadata of documents as JSON, decoded when it is asked for: a million dicts would cost 400 MB.

    offsets: (documents + 1,) where each row starts in `data`.
    """

    offsets: NDArray[np.int64]
    data: memoryview | bytes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return _decoder.decode(self.encoded(index))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[i] for i in range(len(self)))

    def encoded(self, index: int) -> memoryview | bytes:
        """One row as JSON."""
        return self.data[int(self.offsets[index]) : int(self.offsets[index + 1])]


@dataclass(frozen=True, slots=True)
class SealedPart:
    """Chunks by row, ascending by id, and their documents by slot, ascending by key.

    chunk_ids, slots, is_code, alive: (rows,); alive: as of the build. by_document: (rows,) the rows ordered
    by slot; starts: (documents + 1,) where each document's rows start in it. moments: of the live rows.
    """

    chunk_ids: NDArray[np.int64]
    slots: NDArray[np.int32]
    is_code: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    document_keys: NDArray[np.int64]
    by_document: NDArray[np.int32]
    starts: NDArray[np.int64]
    metadata: MetadataTable
    vectors: SealedVectors
    moments: VectorMoments

    @staticmethod
    def empty(dimension: int) -> "SealedPart":
        ids, flags = np.empty(0, np.int64), np.empty(0, np.bool_)
        rows, moments = np.empty(0, np.int32), VectorMoments.empty(dimension)
        vectors = SealedVectors.empty(dimension)
        starts = np.zeros(1, np.int64)
        return SealedPart(ids, rows, flags, flags, ids, rows, starts, MetadataTable(), vectors, moments)

    def __len__(self) -> int:
        return len(self.chunk_ids)

    def rows_of(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each chunk; -1 for those that are not here."""
        return _positions(self.chunk_ids, chunk_ids)

    def rows_of_documents(self, document_keys: Collection[int]) -> NDArray[np.int64]:
        """The rows of all chunks of these documents."""
        slots = _positions(self.document_keys, np.fromiter(document_keys, np.int64, len(document_keys)))
        slots = slots[slots >= 0]
        if not len(slots):
            return np.empty(0, np.int64)
        spans = [self.by_document[self.starts[slot] : self.starts[slot + 1]] for slot in slots.tolist()]
        return np.concatenate(spans).astype(np.int64)

    def mask(self, filter_: Filter) -> NDArray[np.bool_]:
        """(rows,) whether each row's document passes."""
        return self.metadata.mask(filter_)[self.slots] if len(self) else np.empty(0, np.bool_)


def _positions(ascending: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each wanted value stands in an ascending array; -1 where it does not."""
    if not len(ascending):
        return np.full(len(wanted), -1, np.int64)
    places = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.where(ascending[places] == wanted, places, -1).astype(np.int64)

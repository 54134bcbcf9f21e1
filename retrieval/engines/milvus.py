"""The vectors of an index in Milvus.

Rows of several indexes share a Milvus collection; a partition key tells them apart. Chunk ids are its primary
key: they are unique among the indexes of one model and database.

Milvus acknowledges a write before searches see it. Its level `Strong` cures that, and makes every search wait
for the next tick of the server's clock (0.2 s and more); `Session` does not count deletes. So reads name a
time that they must not be older than: it is taken from the server when the index is opened, after each write,
and when `refresh` says that another process wrote.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import InvalidInput
from retrieval.engines.address import EngineAddress
from retrieval.engines.milvus_connection import (
    CALL_TIMEOUT_S,
    CollectionMissing,
    CollectionNotLoaded,
    MilvusConnection,
)
from retrieval.engines.milvus_schema import (
    collection_name,
    load_collection,
    make_collection,
    partition_value,
)
from retrieval.engines.milvus_search import Found, MilvusRows, best_allowed
from retrieval.engines.milvus_terms import stored_metadata
from retrieval.engines.types import Allowed, IndexKey, StoredChunk

BATCH_BYTES: Final = 8 * 2**20  # of one request or answer; Milvus takes 64 MB
MAX_BATCH_ROWS: Final = 2_048
MAX_LISTED: Final = 4_096  # numbers in one expression
Given = ParamSpec("Given")
Result = TypeVar("Result")


class MilvusStore:
    """A VectorStore; what its methods promise stands in retrieval.engines.vector_store."""

    def __init__(self, address: EngineAddress, key: IndexKey, dimension: int) -> None:
        """Raises InvalidInput without pymilvus, UpstreamFailed when the server refuses us or is not there."""
        self.dimension = dimension
        self._key = key
        self._name = collection_name(key, dimension)
        self._part = partition_value(key)
        self._connection = MilvusConnection(address)
        self._not_before, self._advancing = 0, Lock()
        self.refresh()

    def refresh(self) -> None:
        """Whatever any process wrote until now is seen from now on."""
        now = self._connection.now()
        with self._advancing:  # a thread that was told an older time must not take us back
            self._not_before = max(self._not_before, now)

    def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        # Not Milvus' own upsert: 2.3 files its rows under the hash of another value than the partition key.
        self._delete([chunk.chunk_id for chunk in chunks])
        for rows in _batches_by_size([self._row(chunk) for chunk in chunks]):
            self._write(self._connection.client.insert, rows)
        self.refresh()

    def delete_documents(self, document_keys: Collection[int]) -> None:
        for keys in _batches(sorted(document_keys), MAX_LISTED):
            self._delete(self._read([], self._rows().ids, f"document in {keys}"))

    def search(self, vector: NDArray[np.float32], depth: int, allowed: Allowed | None) -> Found:
        if vector.shape != (self.dimension,):
            raise _wrong_dimension(vector, self.dimension)
        return self._read(_nothing_found(), best_allowed, self._rows(), vector, depth, allowed)

    def vectors(self, chunk_ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        found = np.zeros(len(chunk_ids), np.bool_)
        values = np.zeros((len(chunk_ids), self.dimension), np.float32)
        for start in range(0, len(chunk_ids), self._batch_rows()):
            wanted = chunk_ids[start : start + self._batch_rows()].tolist()
            stored = {row["id"]: row["vector"] for row in self._read([], self._rows().stored, wanted)}
            for row, chunk_id in enumerate(wanted, start):
                if chunk_id in stored:
                    found[row], values[row] = True, stored[chunk_id]
        return found, values

    def count(self) -> int:
        return self._read(0, self._rows().count, "")

    def drop(self) -> None:
        # The Milvus collection stays: another process may be putting an index into it at this moment.
        while ids := self._read([], self._rows().ids, "", MAX_BATCH_ROWS):
            self._delete(ids)

    def close(self) -> None:
        self._connection.close()

    def _rows(self) -> MilvusRows:
        return MilvusRows(self._connection, self._name, self._part, self.dimension, self._not_before)

    def _batch_rows(self) -> int:
        return max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // (4 * self.dimension)))

    def _row(self, chunk: StoredChunk) -> dict[str, Any]:
        stored = stored_metadata(chunk.metadata)
        return {
            "id": chunk.chunk_id,
            "part": self._part,
            "document": chunk.document_key,
            "vector": chunk.vector.astype(np.float16).astype(np.float32),
            "terms": stored.terms,
            "bounds": stored.bounds,
            "rest": stored.rest,
        }

    def _delete(self, ids: Sequence[int]) -> None:
        if not ids:
            return
        for batch in _batches(ids, MAX_LISTED):
            self._write(self._connection.client.delete, ids=batch)
        self.refresh()

    def _write(self, request: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            self._connection.call(request, self._name, *args, timeout=CALL_TIMEOUT_S, **kwargs)
        except CollectionMissing:
            make_collection(self._connection, self._key, self.dimension)
            self._connection.call(request, self._name, *args, timeout=CALL_TIMEOUT_S, **kwargs)

    def _read(
        self, missing: Result, request: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """What a read answers; `missing` where nothing was ever stored."""
        try:
            return request(*args, **kwargs)
        except CollectionMissing:
            return missing
        except CollectionNotLoaded:
            load_collection(self._connection, self._name)
            return request(*args, **kwargs)


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _batches_by_size(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        texts = [*row["rest"], *(value for value in row["bounds"].values() if isinstance(value, str))]
        weight = row["vector"].nbytes + 4 * sum(map(len, texts))
        if batch and (size + weight > BATCH_BYTES or len(batch) == MAX_BATCH_ROWS):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += weight
    if batch:
        yield batch


def _nothing_found() -> Found:
    return np.empty(0, np.int64), np.empty(0, np.float32)


def _wrong_dimension(vector: NDArray[np.float32], dimension: int) -> InvalidInput:
    return InvalidInput(
        f"the vector has {vector.shape} values; the index has {dimension}",
        field="vector",
        found=f"shape {vector.shape}",
        expected=f"({dimension},)",
        next_step="encode with the model that the index was made with",
    )

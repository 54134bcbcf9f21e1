"""What an index has to take in, to go from one sequence number of its collection to a later one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, and_, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.documents import pack_vector, unpack_vector
from app.db.models import Chunk, Document, DocumentVersion, Tombstone, Vector
from app.services.passages import passage_text
from embeddings.errors import Overloaded
from retrieval.types import IndexedChunk

# Chunks taken in at once: about 4 MB of text and vectors, so that loading a large collection stays small in
# memory.
PAGE_CHUNKS = 4000


class VectorsMissingError(Overloaded):
    """Some chunks have no vector of the model in service: they were written while another one was."""


@dataclass(frozen=True, slots=True)
class Changes:
    """One step: take these documents out, then these chunks in; the index has then reached `seq`.

    deleted_documents: keys of documents that were deleted, and of those whose chunks `additions` replaces.
    """

    additions: Sequence[IndexedChunk]
    deleted_documents: frozenset[int]
    seq: int


@dataclass(frozen=True, slots=True)
class UnencodedChunk:
    """A chunk without a vector. text: what the encoder has to see."""

    chunk_id: int
    text: str


class ChangeReader:
    """Reads, in one snapshot of the database, what changed in a collection since `reached`.

    A document that changed comes with all its chunks. Steps end between two documents, and the documents of
    a step are replaced in it, so no search between two steps misses a document that has only changed.
    """

    def __init__(self, connection: AsyncConnection, collection: CollectionRef, model_id: str) -> None:
        self._connection = connection
        self._collection = collection
        self._model_id = model_id

    async def plan(self, reached: int) -> list[tuple[int, int]]:
        """Ranges [first, last] of sequence numbers to read one after the other; the last one ends at
        last_seq.
        """
        columns = select(Document.seq, Document.chunk_count).order_by(Document.seq)
        rows = await self._connection.execute(
            columns.where(*self._changed(reached + 1, self._collection.last_seq))
        )
        return list(_ranges(rows.all(), reached + 1, self._collection.last_seq))

    async def read(self, first: int, last: int) -> Changes:
        """What the writes `first` to `last` left behind. Raises VectorsMissingError."""
        documents = await self._documents(first, last)
        statement = (
            select(Chunk.id, Chunk.document_id, Chunk.start, Chunk.end, Chunk.heading_path, Vector.data)
            .join_from(Chunk, Document, Chunk.document_id == Document.id)
            .outerjoin(Vector, and_(Vector.chunk_id == Chunk.id, Vector.model_id == self._model_id))
            .where(*self._changed(first, last))
            .order_by(Chunk.id)
        )
        rows = await self._connection.execute(statement)
        additions = [_indexed(row, documents[row.document_id]) for row in rows]
        return Changes(additions, frozenset(documents) | await self._buried(first, last), last)

    async def _documents(self, first: int, last: int) -> dict[int, Row[*tuple[Any, ...]]]:
        statement = (
            select(Document.id, Document.title, Document.meta, DocumentVersion.text)
            .join_from(Document, DocumentVersion, DocumentVersion.document_id == Document.id)
            .where(DocumentVersion.version == Document.version, *self._changed(first, last))
        )
        return {row.id: row for row in await self._connection.execute(statement)}

    async def _buried(self, first: int, last: int) -> frozenset[int]:
        statement = select(Tombstone.document_key).where(
            Tombstone.collection_id == self._collection.id, Tombstone.seq.between(first, last)
        )
        return frozenset((await self._connection.execute(statement)).scalars())

    def _changed(self, first: int, last: int) -> tuple[Any, ...]:
        return (Document.collection_id == self._collection.id, Document.seq.between(first, last))


def _ranges(rows: Sequence[Any], first: int, last: int) -> Iterator[tuple[int, int]]:
    chunks = 0
    for row in rows:
        chunks += row.chunk_count
        if chunks >= PAGE_CHUNKS and row.seq < last:
            yield first, row.seq
            first, chunks = row.seq + 1, 0
    yield first, last


def _indexed(row: Row[*tuple[Any, ...]], document: Row[*tuple[Any, ...]]) -> IndexedChunk:
    if row.data is None:
        raise VectorsMissingError(
            "documents written with another encoder are being encoded anew",
            found="chunks without vectors",
            expected="vectors of the encoder in service",
            next_step="send the request again",
        )
    text = passage_text(document.title, row.heading_path, document.text[row.start : row.end])
    return IndexedChunk(row.id, row.document_id, text, unpack_vector(row.data), document.meta)


async def unencoded_chunks(
    connection: AsyncConnection, collection: CollectionRef, model_id: str, limit: int
) -> list[UnencodedChunk]:
    """Up to `limit` chunks of the collection that have no vector of this model."""
    encoded = select(Vector.chunk_id).where(Vector.chunk_id == Chunk.id, Vector.model_id == model_id).exists()
    span = func.substr(DocumentVersion.text, Chunk.start + 1, Chunk.end - Chunk.start).label("text")
    statement = (
        select(Chunk.id, Document.title, Chunk.heading_path, span)
        .join_from(Chunk, Document, Chunk.document_id == Document.id)
        .join(DocumentVersion, DocumentVersion.document_id == Document.id)
        .where(DocumentVersion.version == Document.version, Document.collection_id == collection.id, ~encoded)
        .order_by(Chunk.id)
        .limit(limit)
    )
    rows = await connection.execute(statement)
    return [UnencodedChunk(row.id, passage_text(row.title, row.heading_path, row.text)) for row in rows]


async def write_vectors(
    connection: AsyncConnection, model_id: str, chunks: Sequence[UnencodedChunk], vectors: NDArray[np.float16]
) -> None:
    """Keep vectors for chunks that had none. Chunks deleted meanwhile, or encoded by another process, are
    passed by.
    """
    ids = [chunk.chunk_id for chunk in chunks]
    alive = set((await connection.execute(select(Chunk.id).where(Chunk.id.in_(ids)))).scalars())
    rows = [
        {"chunk_id": chunk_id, "model_id": model_id, "data": pack_vector(vector)}
        for chunk_id, vector in zip(ids, vectors, strict=True)
        if chunk_id in alive
    ]
    if rows:
        await connection.execute(insert(Vector).on_conflict_do_nothing(), rows)

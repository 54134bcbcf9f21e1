"""What an index has to take in, to go from one sequence number of its collection to a later one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.deletions import marked_keys
from app.db.documents import unpack_vector
from app.db.marks import standing
from app.db.models import Chunk, Document, DocumentVersion, Tombstone, Vector
from app.services.passages import passage_text
from embeddings.errors import Overloaded
from retrieval.types import IndexedChunk

# Chunks taken in at once: about 4 MB of text and vectors, so that loading a large collection stays small in
# memory.
PAGE_CHUNKS = 4000


class ReleaseIncompleteError(Overloaded):
    """Some documents have no chunks of the release, or some of these no vector: they were written while
    another release was in service, or another encoder.
    """


@dataclass(frozen=True, slots=True)
class Changes:
    """One step: take these documents out, then these chunks in; the index has then reached `seq`.

    deleted_documents: keys of documents that were deleted, and of those whose chunks `additions` replaces.
    """

    additions: Sequence[IndexedChunk]
    deleted_documents: frozenset[int]
    seq: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a collection an index holds, and where.

    chunking: the chunks' name; model_id: whose vectors; engine: that keeps the index; None: FAISS.
    """

    collection_id: int
    chunking: str
    model_id: str
    engine: str | None = None


class ChangeReader:
    """Reads, in one snapshot of the database, what changed in a collection up to `last_seq`.

    A document that changed comes with all its chunks. Steps end between two documents, and the documents of
    a step are replaced in it, so no search between two steps misses a document that has only changed.
    """

    def __init__(self, connection: AsyncConnection, wanted: Wanted, last_seq: int) -> None:
        self._connection = connection
        self._wanted = wanted
        self._last_seq = last_seq

    async def plan(self, reached: int) -> list[tuple[int, int]]:
        """Ranges [first, last] of sequence numbers to read one after the other; the last one ends at
        last_seq.
        """
        columns = select(Document.seq, Document.chunk_count).order_by(Document.seq)
        rows = await self._connection.execute(columns.where(*self._changed(reached + 1, self._last_seq)))
        return list(_ranges(rows.all(), reached + 1, self._last_seq))

    async def read(self, first: int, last: int) -> Changes:
        """What the writes `first` to `last` left behind. Raises ReleaseIncompleteError."""
        documents = await self._documents(first, last)
        additions = [_indexed(row, documents[row.document_id]) for row in await self._chunks(first, last)]
        if len({chunk.document_key for chunk in additions}) < len(documents):
            raise _incomplete("documents without chunks")
        return Changes(additions, frozenset(documents) | await self._buried(first, last), last)

    async def _chunks(self, first: int, last: int) -> Sequence[Row[*tuple[Any, ...]]]:
        own_vector = and_(Vector.chunk_id == Chunk.id, Vector.model_id == self._wanted.model_id)
        statement = (
            select(Chunk.id, Chunk.document_id, Chunk.start, Chunk.end, Chunk.heading_path, Vector.data)
            .join_from(Chunk, Document, Chunk.document_id == Document.id)
            .outerjoin(Vector, own_vector)
            .where(Chunk.chunking == self._wanted.chunking, *self._changed(first, last))
            .order_by(Chunk.id)
        )
        return (await self._connection.execute(statement)).all()

    async def _documents(self, first: int, last: int) -> dict[int, Row[*tuple[Any, ...]]]:
        statement = (
            select(Document.id, Document.title, Document.meta, DocumentVersion.text)
            .join_from(Document, DocumentVersion, DocumentVersion.document_id == Document.id)
            .where(DocumentVersion.version == Document.version, *self._changed(first, last))
        )
        return {row.id: row for row in await self._connection.execute(statement)}

    async def _buried(self, first: int, last: int) -> frozenset[int]:
        statement = select(Tombstone.document_key).where(
            Tombstone.collection_id == self._wanted.collection_id, Tombstone.seq.between(first, last)
        )
        buried = frozenset((await self._connection.execute(statement)).scalars())
        return buried | await marked_keys(self._connection, self._wanted.collection_id, first, last)

    def _changed(self, first: int, last: int) -> tuple[Any, ...]:
        own = Document.collection_id == self._wanted.collection_id
        return (own, Document.seq.between(first, last), standing())


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
        raise _incomplete("chunks without vectors")
    text = passage_text(document.title, row.heading_path, document.text[row.start : row.end])
    return IndexedChunk(row.id, row.document_id, text, unpack_vector(row.data), document.meta)


def _incomplete(found: str) -> ReleaseIncompleteError:
    return ReleaseIncompleteError(
        "documents that were written under another release or encoder are being made ready for this one",
        found=found,
        expected="chunks and vectors of the release in service",
        next_step="send the request again",
    )

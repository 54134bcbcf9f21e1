"""What of a release is compared when its documents are grouped: the vectors of chunks and whose they are."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.documents import unpack_vector
from app.db.following import Wanted
from app.db.marks import standing
from app.db.models import Chunk, Document, DocumentVersion, Vector

# Rows held at once besides what the caller keeps.
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """key: of the database; content_hash: SHA-256 of its text."""

    key: int
    external_id: str
    title: str | None
    content_hash: str


@dataclass(frozen=True, slots=True)
class VectorBlock:
    """owners: (n,) keys of documents; vectors: (n, dimension)."""

    owners: NDArray[np.int64]
    vectors: NDArray[np.float32]


async def stored_documents(connection: AsyncConnection, collection_id: int) -> list[StoredDocument]:
    """The documents of a collection in the order of their keys."""
    current = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)
    statement = (
        select(Document.id, Document.external_id, Document.title, DocumentVersion.content_hash)
        .join_from(Document, DocumentVersion, current)
        .where(Document.collection_id == collection_id, standing())
        .order_by(Document.id)
    )
    return [StoredDocument(*row) for row in await connection.execute(statement)]


async def iterate_owned_vectors(connection: AsyncConnection, wanted: Wanted) -> AsyncIterator[VectorBlock]:
    """All vectors of a release in the order of their chunks, with the documents that they are of."""
    last = 0
    statement = (
        select(Vector.chunk_id, Vector.data, Chunk.document_id)
        .join(Chunk, Chunk.id == Vector.chunk_id)
        .join(Document)
        .where(
            Document.collection_id == wanted.collection_id,
            Chunk.chunking == wanted.chunking,
            Vector.model_id == wanted.model_id,
            standing(),
        )
        .order_by(Vector.chunk_id)
        .limit(BLOCK)
    )
    while rows := (await connection.execute(statement.where(Vector.chunk_id > last))).all():
        last = rows[-1].chunk_id
        vectors = np.stack([unpack_vector(row.data) for row in rows]).astype(np.float32)
        yield VectorBlock(np.fromiter((row.document_id for row in rows), np.int64), vectors)


async def beginnings(connection: AsyncConnection, keys: Sequence[int], characters: int) -> dict[int, str]:
    """The first characters of these documents' texts, by key."""
    current = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)
    text = func.substr(DocumentVersion.text, 1, characters).label("text")
    statement = select(Document.id, text).join_from(Document, DocumentVersion, current)
    rows = await connection.execute(statement.where(Document.id.in_(keys)))
    return {row.id: row.text for row in rows}

"""What a map of a release shows: its chunks, with where they stand, how they begin and their vectors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.documents import unpack_vector
from app.db.following import Wanted
from app.db.marks import standing
from app.db.models import Chunk, Document, DocumentVersion, Vector

# Rows of one query: below the number of parameters that SQLite takes.
BLOCK = 1000


@dataclass(frozen=True, slots=True)
class MappedDocument:
    """A document as it stands. key: of the database; metadata: of the document."""

    key: int
    id: str
    version: int
    title: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MappedChunk:
    """A chunk. document: key of the database; start, end: code points; beginning: of its text."""

    key: int
    document: int
    start: int
    end: int
    beginning: str


async def chunk_keys(connection: AsyncConnection, wanted: Wanted) -> NDArray[np.int64]:
    """The keys of all chunks of a release that have a vector, ascending."""
    statement = _of_release(select(Chunk.id), wanted).order_by(Chunk.id)
    return np.fromiter((await connection.execute(statement)).scalars(), np.int64)


async def mapped_chunks(
    connection: AsyncConnection, wanted: Wanted, keys: Sequence[int], characters: int
) -> tuple[list[MappedChunk], NDArray[np.float32]]:
    """These chunks in the order of their keys with `characters` of their texts, and (n, dimension)
    vectors.
    """
    current = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)
    text = func.substr(DocumentVersion.text, Chunk.start + 1, characters).label("text")
    columns = select(Chunk.id, Chunk.document_id, Chunk.start, Chunk.end, text, Vector.data)
    statement = _of_release(columns, wanted).join(DocumentVersion, current).order_by(Chunk.id)
    chunks, vectors = [], []
    for block in _blocks(keys):
        for row in await connection.execute(statement.where(Chunk.id.in_(block))):
            beginning = row.text[: row.end - row.start]
            chunks.append(MappedChunk(row.id, row.document_id, row.start, row.end, beginning))
            vectors.append(unpack_vector(row.data))
    return chunks, np.stack(vectors).astype(np.float32) if vectors else np.empty((0, 0), np.float32)


async def mapped_documents(connection: AsyncConnection, keys: Sequence[int]) -> list[MappedDocument]:
    """These documents in the order of their keys."""
    columns = select(Document.id, Document.external_id, Document.version, Document.title, Document.meta)
    found = []
    for block in _blocks(sorted(keys)):
        rows = await connection.execute(columns.where(Document.id.in_(block)).order_by(Document.id))
        found += [MappedDocument(*row) for row in rows]
    return found


def _of_release(statement: Select[Any], wanted: Wanted) -> Select[Any]:
    """Restricted to the standing documents of a collection, a chunking and the vectors of a model."""
    return (
        statement.select_from(Chunk)
        .join(Vector, Vector.chunk_id == Chunk.id)
        .join(Document, Document.id == Chunk.document_id)
        .where(
            Document.collection_id == wanted.collection_id,
            Chunk.chunking == wanted.chunking,
            Vector.model_id == wanted.model_id,
            standing(),
        )
    )


def _blocks(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), BLOCK):
        yield keys[start : start + BLOCK]

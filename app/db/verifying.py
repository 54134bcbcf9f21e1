"""What SQL says of a release, for comparison with its index."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.documents import unpack_vector
from app.db.following import Wanted
from app.db.marks import standing
from app.db.models import Chunk, Document, DocumentVersion, Vector

# Vectors held at once: 12 MB at 384 dimensions in float32.
BLOCK = 8192

_CURRENT = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """documents: of the collection; cut: those with chunks; chunks and vectors: of the release."""

    documents: int
    cut: int
    chunks: int
    vectors: int


@dataclass(frozen=True, slots=True)
class SampledChunk:
    """A chunk that queries are made from. text: of its span."""

    title: str | None
    text: str


async def count_stored(connection: AsyncConnection, wanted: Wanted) -> StoredCounts:
    """Count what the release has in SQL."""
    own = _own(wanted)
    documents = select(func.count()).where(Document.collection_id == wanted.collection_id, standing())
    chunks = select(func.count(), func.count(Chunk.document_id.distinct())).select_from(Chunk)
    count, cut = (await connection.execute(chunks.join(Document).where(*own))).one()
    vectors = select(func.count()).select_from(Vector).join(Chunk).join(Document)
    encoded = await connection.scalar(vectors.where(*own, Vector.model_id == wanted.model_id))
    return StoredCounts(await connection.scalar(documents) or 0, cut, count, encoded or 0)


async def chunk_ids(connection: AsyncConnection, wanted: Wanted) -> NDArray[np.int64]:
    """(chunks,) ids of the release's chunks, ascending."""
    rows = await connection.execute(select(Chunk.id).join(Document).where(*_own(wanted)).order_by(Chunk.id))
    return np.fromiter(rows.scalars(), np.int64)


async def sample_chunks(connection: AsyncConnection, ids: Sequence[int]) -> list[SampledChunk]:
    """The titles and texts of these chunks, in the order of their ids."""
    text = func.substr(DocumentVersion.text, Chunk.start + 1, Chunk.end - Chunk.start).label("text")
    statement = select(Document.title, text).join_from(Chunk, Document).join(DocumentVersion, _CURRENT)
    rows = await connection.execute(statement.where(Chunk.id.in_(ids)).order_by(Chunk.id))
    return [SampledChunk(row.title, row.text) for row in rows]


async def iterate_vectors(connection: AsyncConnection, wanted: Wanted) -> AsyncIterator[NDArray[np.float32]]:
    """All vectors of the release as blocks (n, dimension)."""
    last = 0
    statement = _vectors(wanted).order_by(Vector.chunk_id).limit(BLOCK)
    while rows := (await connection.execute(statement.where(Vector.chunk_id > last))).all():
        last = rows[-1].chunk_id
        yield _stacked(rows)


async def read_vectors(
    connection: AsyncConnection, wanted: Wanted, ids: Sequence[int]
) -> NDArray[np.float32]:
    """(n, dimension) the vectors of those of these chunks that the release has."""
    rows = (await connection.execute(_vectors(wanted).where(Vector.chunk_id.in_(ids)))).all()
    return _stacked(rows)


def _vectors(wanted: Wanted) -> Select[*tuple[Any, ...]]:
    statement = select(Vector.chunk_id, Vector.data).join(Chunk, Chunk.id == Vector.chunk_id).join(Document)
    return statement.where(*_own(wanted), Vector.model_id == wanted.model_id)


def _stacked(rows: Sequence[Row[*tuple[Any, ...]]]) -> NDArray[np.float32]:
    if not rows:
        return np.empty((0, 0), np.float32)
    return np.stack([unpack_vector(row.data) for row in rows]).astype(np.float32)


def _own(wanted: Wanted) -> tuple[ColumnElement[bool], ...]:
    return Document.collection_id == wanted.collection_id, Chunk.chunking == wanted.chunking, standing()

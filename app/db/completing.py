"""What a release lacks, and how it is added. Nothing here takes a sequence number: no text changes.

A release lacks the chunks of documents that were written while another one was in service, and the vectors
of chunks that another encoder saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.dialects import insert_or_pass
from app.db.documents import pack_vector
from app.db.following import Wanted
from app.db.marks import standing
from app.db.models import Chunk, Collection, Document, DocumentVersion, Release, Vector
from app.services.passages import passage_text
from retrieval.types import ChunkSpan

_CURRENT = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)


@dataclass(frozen=True, slots=True)
class IncompleteDocument:
    """A document that a release lacks something of. length: of its text; uncut: it has no chunks at all."""

    key: int
    seq: int
    length: int
    uncut: bool


@dataclass(frozen=True, slots=True)
class UnencodedChunk:
    """A chunk without a vector. text: what the encoder has to see."""

    chunk_id: int
    text: str


async def incomplete_documents(
    connection: AsyncConnection, wanted: Wanted, reached: int, limit: int
) -> list[IncompleteDocument]:
    """Up to `limit` documents above the sequence number `reached`, in the order of their numbers."""
    uncut, incomplete = _lacking(wanted)
    statement = (
        select(Document.id, Document.seq, DocumentVersion.length, uncut.label("uncut"))
        .join(DocumentVersion, _CURRENT)
        .where(Document.collection_id == wanted.collection_id, Document.seq > reached, incomplete)
        .order_by(Document.seq)
        .limit(limit)
    )
    rows = await connection.execute(statement)
    return [IncompleteDocument(row.id, row.seq, row.length, bool(row.uncut)) for row in rows]


async def count_incomplete(connection: AsyncConnection, wanted: Wanted) -> int:
    """How many documents lack something."""
    statement = select(func.count()).select_from(Document)
    own = Document.collection_id == wanted.collection_id
    return await connection.scalar(statement.where(own, _lacking(wanted)[1])) or 0


async def incomplete_chars(connection: AsyncConnection, wanted: Wanted) -> int:
    """Characters of the documents that lack something."""
    statement = select(func.coalesce(func.sum(DocumentVersion.length), 0)).join_from(
        Document, DocumentVersion, _CURRENT
    )
    own = Document.collection_id == wanted.collection_id
    return int(await connection.scalar(statement.where(own, _lacking(wanted)[1])) or 0)


def _lacking(wanted: Wanted) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Whether a document has no chunks, and whether it lacks chunks or vectors."""
    own = and_(Chunk.document_id == Document.id, Chunk.chunking == wanted.chunking)
    encoded = and_(Vector.chunk_id == Chunk.id, Vector.model_id == wanted.model_id)
    uncut = ~select(Chunk.id).where(own).exists()
    unencoded = select(Chunk.id).where(own, ~select(Vector.chunk_id).where(encoded).exists()).exists()
    return uncut, and_(or_(uncut, unencoded), standing())


async def read_texts(connection: AsyncConnection, keys: Sequence[int]) -> list[Row[*tuple[Any, ...]]]:
    """What cutting a document anew needs: `id`, `seq`, `outline`, `media_type` and `text`."""
    columns = (
        Document.id,
        Document.seq,
        Document.outline,
        DocumentVersion.media_type,
        DocumentVersion.text,
    )
    statement = select(*columns).join(DocumentVersion, _CURRENT).where(Document.id.in_(keys))
    return list(await connection.execute(statement))


async def read_any_chunks(connection: AsyncConnection, key: int) -> list[Row[*tuple[Any, ...]]]:
    """`start`, `end`, `page` and `heading_path` of the document's chunks of one chunking, in their order."""
    chunking = select(func.min(Chunk.chunking)).where(Chunk.document_id == key).scalar_subquery()
    columns = select(Chunk.start, Chunk.end, Chunk.page, Chunk.heading_path)
    statement = columns.where(Chunk.document_id == key, Chunk.chunking == chunking).order_by(Chunk.ordinal)
    return list(await connection.execute(statement))


async def write_chunks(
    connection: AsyncConnection,
    wanted: Wanted,
    spans: Mapping[int, Sequence[ChunkSpan]],
    seqs: Mapping[int, int],
) -> None:
    """Keep the chunks of documents (by key) that have none.

    seqs: the write that each text was read after. Documents that changed since, or that another process has
    cut meanwhile, are passed by.
    """
    cut = select(Chunk.id).where(Chunk.document_id == Document.id, Chunk.chunking == wanted.chunking).exists()
    statement = select(Document.id, Document.seq).where(Document.id.in_(spans), ~cut)
    keys = [row.id for row in await connection.execute(statement) if row.seq == seqs[row.id]]
    rows = [
        _chunk_row(key, wanted.chunking, ordinal, span)
        for key in keys
        for ordinal, span in enumerate(spans[key])
    ]
    if rows:
        await connection.execute(insert(Chunk), rows)
        await _count_if_served(connection, wanted, keys)


async def _count_if_served(connection: AsyncConnection, wanted: Wanted, keys: Sequence[int]) -> None:
    """Documents tell the number of chunks that they have in the release in service."""
    served = select(Collection.id).join(Release, Release.id == Collection.release_id)
    serves = served.where(Collection.id == wanted.collection_id, Release.chunking == wanted.chunking).exists()
    count = select(func.count()).where(Chunk.document_id == Document.id, Chunk.chunking == wanted.chunking)
    statement = update(Document).where(Document.id.in_(keys), serves)
    await connection.execute(statement.values(chunk_count=count.correlate(Document).scalar_subquery()))


async def unencoded_chunks(
    connection: AsyncConnection, wanted: Wanted, keys: Sequence[int]
) -> list[UnencodedChunk]:
    """The chunks of these documents that have no vector."""
    encoded = and_(Vector.chunk_id == Chunk.id, Vector.model_id == wanted.model_id)
    span = func.substr(DocumentVersion.text, Chunk.start + 1, Chunk.end - Chunk.start).label("text")
    statement = (
        select(Chunk.id, Document.title, Chunk.heading_path, span)
        .join_from(Chunk, Document, Chunk.document_id == Document.id)
        .join(DocumentVersion, _CURRENT)
        .where(Chunk.document_id.in_(keys), Chunk.chunking == wanted.chunking)
        .where(~select(Vector.chunk_id).where(encoded).exists())
        .order_by(Chunk.id)
    )
    rows = await connection.execute(statement)
    return [UnencodedChunk(row.id, passage_text(row.title, row.heading_path, row.text)) for row in rows]


async def write_vectors(
    connection: AsyncConnection, model_id: str, chunks: Sequence[UnencodedChunk], vectors: NDArray[np.float16]
) -> None:
    """Keep vectors for chunks that had none. Chunks deleted meanwhile, or encoded by another process, are
    passed by.
    """
    ids = [chunk.chunk_id for chunk in chunks]  # few enough for one statement: the caller goes in parts
    alive = set((await connection.execute(select(Chunk.id).where(Chunk.id.in_(ids)))).scalars())
    rows = [
        {"chunk_id": chunk_id, "model_id": model_id, "data": pack_vector(vector)}
        for chunk_id, vector in zip(ids, vectors, strict=True)
        if chunk_id in alive
    ]
    if rows:
        await connection.execute(insert_or_pass(connection, Vector), rows)


def _chunk_row(key: int, chunking: str, ordinal: int, span: ChunkSpan) -> dict[str, Any]:
    return {
        "document_id": key,
        "chunking": chunking,
        "ordinal": ordinal,
        "start": span.start,
        "end": span.end,
        "page": span.page,
        "heading_path": list(span.heading_path),
    }

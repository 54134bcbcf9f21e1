"""From chunk ids to what a reader sees. What SQL no longer holds can't be shown."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Function, Row, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database, Fetch
from app.db.marks import standing
from app.db.models import Chunk, Document, DocumentVersion
from retrieval.types import RankedList


async def hydrate(fetch: Fetch, collection_id: int, ranked: RankedList) -> dict[int, Row[*tuple[Any, ...]]]:
    """Chunk id to row, for the chunks that exist: span, text of the span, and the document as it stands."""
    return _by_chunk(await fetch(_HITS, _wanted(collection_id, ranked)))


def hydrate_now(
    database: Database, collection_id: int, ranked: RankedList
) -> dict[int, Row[*tuple[Any, ...]]]:
    """The same, for a thread that may wait."""
    return _by_chunk(database.fetch_now(_HITS, _wanted(collection_id, ranked)))


def _wanted(collection_id: int, ranked: RankedList) -> dict[str, Any]:
    return {"collection_id": collection_id, "chunk_ids": [chunk.chunk_id for chunk in ranked.chunks]}


def _by_chunk(rows: Sequence[Row[*tuple[Any, ...]]]) -> dict[int, Row[*tuple[Any, ...]]]:
    return {row.id: row for row in rows}


async def read_span(connection: AsyncConnection, chunk_id: int, start: int, end: int) -> str | None:
    """text[start:end] of the document version that a chunk was cut from; None when the chunk is gone."""
    statement = (
        select(_span(start, end))
        .join_from(Chunk, Document, Chunk.document_id == Document.id)
        .join(DocumentVersion, DocumentVersion.document_id == Document.id)
        .where(DocumentVersion.version == Document.version, Chunk.id == chunk_id)
    )
    return (await connection.execute(statement)).scalar_one_or_none()


def _span(start: Any, end: Any) -> Function[str]:
    # SQLite and PostgreSQL both count code points in substr, from 1.
    return func.substr(DocumentVersion.text, start + 1, end - start)


_HITS = (
    select(
        Chunk.id,
        Chunk.ordinal,
        Chunk.start,
        Chunk.end,
        Chunk.page,
        Chunk.heading_path,
        Document.external_id,
        Document.version,
        Document.title,
        Document.meta,
        _span(Chunk.start, Chunk.end).label("text"),
    )
    .join_from(Chunk, Document, Chunk.document_id == Document.id)
    .join(DocumentVersion, DocumentVersion.document_id == Document.id)
    .where(DocumentVersion.version == Document.version)
    .where(Document.collection_id == bindparam("collection_id"), standing())
    .where(Chunk.id.in_(bindparam("chunk_ids", expanding=True)))
)

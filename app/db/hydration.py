"""From chunk ids to what a reader sees. What SQL no longer holds can't be shown."""

from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import Chunk, Document, DocumentVersion
from retrieval.types import RankedList


async def hydrate(
    connection: AsyncConnection, collection_id: int, ranked: RankedList
) -> dict[int, Row[*tuple[Any, ...]]]:
    """Chunk id to row, for the chunks that exist: span, text of the span, and the document as it stands."""
    chunk_ids = [chunk.chunk_id for chunk in ranked.chunks]
    # SQLite and PostgreSQL both count code points in substr, from 1.
    text = func.substr(DocumentVersion.text, Chunk.start + 1, Chunk.end - Chunk.start).label("text")
    statement = (
        select(
            Chunk.id,
            Chunk.start,
            Chunk.end,
            Chunk.page,
            Chunk.heading_path,
            Document.external_id,
            Document.version,
            Document.title,
            Document.meta,
            text,
        )
        .join_from(Chunk, Document, Chunk.document_id == Document.id)
        .join(DocumentVersion, DocumentVersion.document_id == Document.id)
        .where(DocumentVersion.version == Document.version)
        .where(Document.collection_id == collection_id, Chunk.id.in_(chunk_ids))
    )
    return {row.id: row for row in await connection.execute(statement)}

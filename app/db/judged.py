"""What judgements of documents need to know of them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import Chunk, Document

# SQLite takes at least 32,766 parameters in a statement.
BATCH_IDS = 10_000


async def known_documents(connection: AsyncConnection, collection_id: int, ids: Sequence[str]) -> set[str]:
    """Those of these external ids that documents of the collection have."""
    statement = select(Document.external_id).where(Document.collection_id == collection_id)
    known: set[str] = set()
    for start in range(0, len(ids), BATCH_IDS):
        batch = statement.where(Document.external_id.in_(ids[start : start + BATCH_IDS]))
        known.update(await connection.scalars(batch))
    return known


async def documents_of(connection: AsyncConnection, chunk_ids: Sequence[int]) -> dict[int, str]:
    """Chunk id to the external id of its document, for the chunks that exist."""
    statement = select(Chunk.id, Document.external_id).join(Document, Chunk.document_id == Document.id)
    rows = await connection.execute(statement.where(Chunk.id.in_(chunk_ids)))
    return {row.id: row.external_id for row in rows}

"""Chunks and vectors that no kept release needs. Their going changes nothing that is searched."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import Chunk, Document, Vector


async def unused_chunks(
    connection: AsyncConnection, collection_id: int, kept: Collection[str], limit: int
) -> list[int]:
    """Up to `limit` ids of chunks of the collection whose chunking is not among the kept ones."""
    statement = select(Chunk.id).join(Document, Document.id == Chunk.document_id)
    unused = statement.where(Document.collection_id == collection_id, Chunk.chunking.not_in(kept))
    return list((await connection.execute(unused.limit(limit))).scalars())


async def delete_chunks(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """Delete chunks with their vectors."""
    await connection.execute(delete(Chunk).where(Chunk.id.in_(ids)))


async def unused_vectors(
    connection: AsyncConnection, collection_id: int, kept: Collection[tuple[str, str]], limit: int
) -> list[tuple[int, str]]:
    """Up to `limit` keys (chunk id, model id) of vectors whose (chunking, model id) is not among the kept."""
    joined = (
        select(Vector.chunk_id, Vector.model_id)
        .join(Chunk, Chunk.id == Vector.chunk_id)
        .join(Document, Document.id == Chunk.document_id)
    )
    of_kept = tuple_(Chunk.chunking, Vector.model_id).in_(list(kept))
    rows = await connection.execute(
        joined.where(Document.collection_id == collection_id, ~of_kept).limit(limit)
    )
    return [(row.chunk_id, row.model_id) for row in rows]


async def delete_vectors(connection: AsyncConnection, keys: Sequence[tuple[int, str]]) -> None:
    """Delete vectors by their keys."""
    await connection.execute(delete(Vector).where(tuple_(Vector.chunk_id, Vector.model_id).in_(list(keys))))

"""Rows of golden queries."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import GoldenQuery as GoldenRow
from app.services.release_types import GoldenQuery

_COLUMNS = (GoldenRow.id, GoldenRow.query, GoldenRow.document_ids)


async def list_golden(connection: AsyncConnection, collection_id: int) -> tuple[GoldenQuery, ...]:
    """The golden queries of a collection, in the order of their making."""
    statement = select(*_COLUMNS).where(GoldenRow.collection_id == collection_id).order_by(GoldenRow.id)
    rows = await connection.execute(statement)
    return tuple(GoldenQuery(row.id, row.query, tuple(row.document_ids)) for row in rows)


async def add_golden(
    connection: AsyncConnection, collection_id: int, query: str, document_ids: Sequence[str]
) -> GoldenQuery:
    """Keep a golden query; one with the same words is replaced."""
    same = (GoldenRow.collection_id == collection_id, GoldenRow.query == query)
    await connection.execute(delete(GoldenRow).where(*same))
    row = {"collection_id": collection_id, "query": query, "document_ids": list(document_ids)}
    made = await connection.execute(insert(GoldenRow).values(row).returning(GoldenRow.id))
    return GoldenQuery(made.scalar_one(), query, tuple(document_ids))


async def remove_golden(connection: AsyncConnection, collection_id: int, golden_id: int) -> bool:
    """Remove a golden query. False when there is none of this id."""
    statement = delete(GoldenRow).where(GoldenRow.collection_id == collection_id, GoldenRow.id == golden_id)
    return (await connection.execute(statement)).rowcount > 0

"""What is left of a deleted document."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import Document, Tombstone
from app.db.parts import parts_of


def hash_id(external_id: str) -> str:
    """SHA-256, hex: all that is kept of a deleted document's id."""
    return hashlib.sha256(external_id.encode()).hexdigest()


async def bury(
    connection: AsyncConnection, collection_id: int, rows: Sequence[Row[*tuple[Any, ...]]], seq: int
) -> None:
    """Remove documents with all their versions, originals, chunks and vectors, and leave their tombstones.

    rows: with `id`, `external_id` and `version`. seq: of the write that deleted them.
    """
    if not rows:
        return
    await connection.execute(insert(Tombstone), [_tombstone(row, collection_id, seq) for row in rows])
    for part in parts_of([row.id for row in rows]):
        await connection.execute(delete(Document).where(Document.id.in_(part)))


def _tombstone(row: Row[*tuple[Any, ...]], collection_id: int, seq: int) -> dict[str, Any]:
    return {
        "document_key": row.id,
        "collection_id": collection_id,
        "seq": seq,
        "external_id_hash": hash_id(row.external_id),
        "last_version": row.version,
    }

"""Where the pages and headings of a document's current version start."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.marks import standing
from app.db.models import Document


async def find_outline(
    connection: AsyncConnection, collection: CollectionRef, external_id: str
) -> Mapping[str, Any]:
    """`pages` and `headings` as app.services.outlines packs them; empty where they are not known."""
    statement = select(Document.outline).where(
        Document.collection_id == collection.id, Document.external_id == external_id, standing()
    )
    outline = (await connection.execute(statement)).scalar_one_or_none()
    return outline or {"pages": [], "headings": []}

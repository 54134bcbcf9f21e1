"""Rows of documents: what is written of one, what stands already, and how they are deleted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, next_seq
from app.db.deletions import mark_deleted
from app.db.marks import is_deleted
from app.db.models import Document, DocumentVersion
from app.db.parts import parts_of
from app.db.tombstones import bury
from app.services.types import ItemStatus
from retrieval.types import ChunkSpan

# Their rows go in about 50 ms, together with those of their chunks.
DELETED_AT_ONCE = 256

_CURRENT = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """All that is written about a document.

    outline: where its pages and headings start; vectors: (len(spans), dimension) unit float16 of model_id.
    """

    external_id: str
    fingerprint: str
    title: str | None
    metadata: Mapping[str, Any]
    media_type: str
    filename: str | None
    text: str
    outline: Mapping[str, Any]
    content_hash: str
    original: bytes | None
    original_hash: str
    chunking: str
    spans: Sequence[ChunkSpan]
    model_id: str
    vectors: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it stands after a write. chunks: their number."""

    status: ItemStatus
    version: int
    chunks: int


async def unchanged(
    connection: AsyncConnection, collection: CollectionRef, fingerprints: Mapping[str, str]
) -> dict[str, Stored]:
    """Those of the documents (external id to fingerprint) that already stand as given."""
    return {
        row.external_id: Stored(ItemStatus.UNCHANGED, row.version, row.chunk_count)
        for row in await rows_of(connection, collection.id, fingerprints)
        if row.fingerprint == fingerprints[row.external_id]
    }


async def delete_documents(connection: AsyncConnection, collection: CollectionRef, ids: Sequence[str]) -> int:
    """Delete documents by external id with all their versions, originals, chunks and vectors; unknown ids
    pass.

    Returns how many there were.
    """
    found = await rows_of(connection, collection.id, ids)
    if found:
        await bury(connection, collection.id, found, await next_seq(connection, collection))
    return len(found)


async def delete_keys(connection: AsyncConnection, collection: CollectionRef, keys: NDArray[np.int64]) -> int:
    """Delete documents that stand. A few go at once; of many the rows go later, in the background.

    keys: (documents,) ascending. Returns how many there were.
    """
    if len(keys) > DELETED_AT_ONCE:
        await mark_deleted(connection, collection, keys)
    elif len(keys):
        columns = select(Document.id, Document.external_id, Document.version)
        rows = (await connection.execute(columns.where(Document.id.in_(keys.tolist())))).all()
        await bury(connection, collection.id, rows, await next_seq(connection, collection))
    return len(keys)


async def rows_of(
    connection: AsyncConnection, collection_id: int, external_ids: Iterable[str]
) -> list[Row[*tuple[Any, ...]]]:
    """The rows of those of the documents that stand, with the hashes of their current version."""
    return [
        row for row in await rows_with_deleted(connection, collection_id, external_ids) if not row.deleted
    ]


async def rows_with_deleted(
    connection: AsyncConnection, collection_id: int, external_ids: Iterable[str]
) -> list[Row[*tuple[Any, ...]]]:
    """The same, with those that are `deleted` and only wait to be removed."""
    columns = (
        Document.id,
        Document.external_id,
        Document.version,
        Document.fingerprint,
        Document.chunk_count,
        DocumentVersion.content_hash,
        DocumentVersion.original_hash,
        DocumentVersion.media_type,
        is_deleted().label("deleted"),
    )
    rows: list[Row[*tuple[Any, ...]]] = []
    for part in parts_of(list(dict.fromkeys(external_ids))):
        wanted = (Document.collection_id == collection_id, Document.external_id.in_(part))
        rows += (
            await connection.execute(select(*columns).join(DocumentVersion, _CURRENT).where(*wanted))
        ).all()
    return rows


def pack_vector(vector: NDArray[np.float16]) -> bytes:
    """A vector as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpack_vector(data: bytes) -> NDArray[np.float16]:
    """The vector (dimension,) in a stored blob."""
    return np.frombuffer(data, dtype="<f2").astype(np.float16, copy=False)

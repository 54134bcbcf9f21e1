"""Rows of documents: what is written of one, what stands already, and how they are deleted."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, next_seq
from app.db.models import Document, DocumentVersion, Tombstone
from app.services.types import ItemStatus
from retrieval.types import ChunkSpan

# SQLite allows 32,766 values in one statement; a list of ids goes in parts of this many.
IDS_AT_ONCE = 500

T = TypeVar("T")
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
    found = list(await rows_of(connection, collection.id, ids))
    if not found:
        return 0
    seq = await next_seq(connection, collection)
    await connection.execute(insert(Tombstone), [_tombstone(row, collection, seq) for row in found])
    for part in parts_of([row.id for row in found]):
        await connection.execute(delete(Document).where(Document.id.in_(part)))
    return len(found)


async def rows_of(
    connection: AsyncConnection, collection_id: int, external_ids: Iterable[str]
) -> list[Row[*tuple[Any, ...]]]:
    """The rows of those of the documents that exist, with the hashes of their current version."""
    columns = (
        Document.id,
        Document.external_id,
        Document.version,
        Document.fingerprint,
        Document.chunk_count,
        DocumentVersion.content_hash,
        DocumentVersion.original_hash,
        DocumentVersion.media_type,
    )
    rows: list[Row[*tuple[Any, ...]]] = []
    for part in parts_of(list(dict.fromkeys(external_ids))):
        wanted = (Document.collection_id == collection_id, Document.external_id.in_(part))
        rows += (
            await connection.execute(select(*columns).join(DocumentVersion, _CURRENT).where(*wanted))
        ).all()
    return rows


def parts_of(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in parts that fit into one statement."""
    return (values[start : start + IDS_AT_ONCE] for start in range(0, len(values), IDS_AT_ONCE))


def hash_id(external_id: str) -> str:
    """SHA-256, hex: all that is kept of a deleted document's id."""
    return hashlib.sha256(external_id.encode()).hexdigest()


def _tombstone(row: Row[*tuple[Any, ...]], collection: CollectionRef, seq: int) -> dict[str, Any]:
    return {
        "document_key": row.id,
        "collection_id": collection.id,
        "seq": seq,
        "external_id_hash": hash_id(row.external_id),
        "last_version": row.version,
    }


def pack_vector(vector: NDArray[np.float16]) -> bytes:
    """A vector as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpack_vector(data: bytes) -> NDArray[np.float16]:
    """The vector (dimension,) in a stored blob."""
    return np.frombuffer(data, dtype="<f2").astype(np.float16, copy=False)

"""Rows of documents: written whole or not at all, in the caller's transaction."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, next_seq
from app.db.models import Chunk, Document, DocumentVersion, Tombstone, Vector
from app.services.types import ItemStatus
from retrieval.types import ChunkSpan

# SQLite allows 32,766 values in one statement; a list of ids goes in parts of this many.
IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """All that is written about a document. vectors: (len(spans), dimension) unit float16 of model_id."""

    external_id: str
    fingerprint: str
    title: str | None
    metadata: Mapping[str, Any]
    media_type: str
    filename: str | None
    text: str
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
    found = await rows_of(connection, collection.id, fingerprints)
    same = (row for row in found if row.fingerprint == fingerprints[row.external_id])
    return {row.external_id: _kept(row) for row in same}


async def write_document(
    connection: AsyncConnection, collection: CollectionRef, given: DocumentRow
) -> Stored:
    """Make or replace a document.

    The version counts texts: it rises when the text, the original bytes or the media type change, and stays
    when only title, metadata or chunking do. Chunks and vectors are replaced in either case.
    """
    found = list(await rows_of(connection, collection.id, [given.external_id]))
    if found and found[0].fingerprint == given.fingerprint:
        return _kept(found[0])
    seq, now = await next_seq(connection, collection), datetime.now(UTC)
    changes = {
        "fingerprint": given.fingerprint,
        "seq": seq,
        "chunk_count": len(given.spans),
        "updated_at": now,
    }
    changes |= {"title": given.title, "meta": dict(given.metadata)}
    if found:
        key, version = found[0].id, await _next_version(connection, found[0], given)
        await connection.execute(delete(Chunk).where(Chunk.document_id == key))
        await connection.execute(
            update(Document).where(Document.id == key).values(version=version, **changes)
        )
    else:
        version = 1 + await _last_version_before(connection, collection, given.external_id)
        changes |= {"collection_id": collection.id, "external_id": given.external_id, "created_at": now}
        statement = insert(Document).values(version=version, **changes).returning(Document.id)
        key = (await connection.execute(statement)).scalar_one()
    if not found or version != found[0].version:
        await _insert_version(connection, key, version, given, now)
    await _insert_chunks(connection, key, given)
    return Stored(ItemStatus.UPDATED if found else ItemStatus.CREATED, version, len(given.spans))


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
    for part in _parts([row.id for row in found]):
        await connection.execute(delete(Document).where(Document.id.in_(part)))
    return len(found)


async def rows_of(
    connection: AsyncConnection, collection_id: int, external_ids: Iterable[str]
) -> list[Row[*tuple[Any, ...]]]:
    """The rows of those of the documents that exist."""
    columns = (
        Document.id,
        Document.external_id,
        Document.version,
        Document.fingerprint,
        Document.chunk_count,
    )
    rows: list[Row[*tuple[Any, ...]]] = []
    for part in _parts(list(dict.fromkeys(external_ids))):
        wanted = (Document.collection_id == collection_id, Document.external_id.in_(part))
        rows += (await connection.execute(select(*columns).where(*wanted))).all()
    return rows


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + IDS_AT_ONCE] for start in range(0, len(values), IDS_AT_ONCE))


def _kept(row: Row[*tuple[Any, ...]]) -> Stored:
    return Stored(ItemStatus.UNCHANGED, row.version, row.chunk_count)


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


async def _next_version(connection: AsyncConnection, row: Row[*tuple[Any, ...]], given: DocumentRow) -> int:
    columns = (DocumentVersion.content_hash, DocumentVersion.original_hash, DocumentVersion.media_type)
    current = select(*columns).where(
        DocumentVersion.document_id == row.id, DocumentVersion.version == row.version
    )
    stored = tuple((await connection.execute(current)).one())
    same = stored == (given.content_hash, given.original_hash, given.media_type)
    return int(row.version) + (0 if same else 1)


async def _last_version_before(
    connection: AsyncConnection, collection: CollectionRef, external_id: str
) -> int:
    deleted = select(func.max(Tombstone.last_version)).where(
        Tombstone.collection_id == collection.id, Tombstone.external_id_hash == hash_id(external_id)
    )
    return (await connection.execute(deleted)).scalar_one() or 0


async def _insert_version(
    connection: AsyncConnection, key: int, version: int, given: DocumentRow, now: datetime
) -> None:
    values = {
        "document_id": key,
        "version": version,
        "media_type": given.media_type,
        "filename": given.filename,
        "length": len(given.text),
        "content_hash": given.content_hash,
        "original_hash": given.original_hash,
        "created_at": now,
        "text": given.text,
        "original": given.original,
    }
    await connection.execute(insert(DocumentVersion).values(values))


async def _insert_chunks(connection: AsyncConnection, key: int, given: DocumentRow) -> None:
    if not given.spans:
        return
    rows = [_chunk(key, given.chunking, ordinal, span) for ordinal, span in enumerate(given.spans)]
    inserted = await connection.execute(insert(Chunk).returning(Chunk.id, Chunk.ordinal), rows)
    blobs = [
        {"chunk_id": row.id, "model_id": given.model_id, "data": pack_vector(given.vectors[row.ordinal])}
        for row in inserted
    ]
    await connection.execute(insert(Vector), blobs)


def pack_vector(vector: NDArray[np.float16]) -> bytes:
    """A vector as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpack_vector(data: bytes) -> NDArray[np.float16]:
    """The vector (dimension,) in a stored blob."""
    return np.frombuffer(data, dtype="<f2").astype(np.float16, copy=False)


def _chunk(key: int, chunking: str, ordinal: int, span: ChunkSpan) -> dict[str, Any]:
    return {
        "document_id": key,
        "chunking": chunking,
        "ordinal": ordinal,
        "start": span.start,
        "end": span.end,
        "page": span.page,
        "heading_path": list(span.heading_path),
    }

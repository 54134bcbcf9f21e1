"""Documents into their tables, in the caller's transaction.

Statements are few and long: each costs several switches between threads, and one document needs seven.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef, next_seq
from app.db.deletions import bury_marked
from app.db.documents import DocumentRow, Stored, pack_vector, rows_with_deleted, unchanged
from app.db.models import Chunk, Document, DocumentVersion, Tombstone, Vector
from app.db.parts import parts_of
from app.db.tombstones import hash_id
from app.services.types import ItemStatus

_Standing = Mapping[str, Row[*tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class _Change:
    """A document to write. key: None while it has no row; seq: of this write; new_text: this version is
    new.
    """

    given: DocumentRow
    key: int | None
    version: int
    new_text: bool
    seq: int
    now: datetime


async def write_documents(
    connection: AsyncConnection, collection: CollectionRef, given: Sequence[DocumentRow]
) -> list[Stored]:
    """Make, replace or keep documents; one answer for each, in their order. One that comes twice is written
    once.

    The version counts texts: it rises when the text, the original bytes or the media type change, and stays
    when only title, metadata or outline do. Chunks and vectors are replaced in either case.
    """
    kept = await unchanged(connection, collection, {row.external_id: row.fingerprint for row in given})
    changed = list({row.external_id: row for row in given if row.external_id not in kept}.values())
    stored = await _write(connection, collection, changed) if changed else {}
    answers = []
    for row in given:
        answer = stored.get(row.external_id) or kept[row.external_id]
        answers.append(answer)
        kept[row.external_id] = replace(answer, status=ItemStatus.UNCHANGED)
        stored.pop(row.external_id, None)
    return answers


async def _write(
    connection: AsyncConnection, collection: CollectionRef, given: Sequence[DocumentRow]
) -> dict[str, Stored]:
    rows = await rows_with_deleted(connection, collection.id, _ids(given))
    if deleted := [row.id for row in rows if row.deleted]:
        await bury_marked(connection, collection.id, deleted)
    standing = {row.external_id: row for row in rows if not row.deleted}
    changes = await _plan(connection, collection, given, standing)
    await _replace([change for change in changes if change.key is not None], connection)
    new = await _insert([change for change in changes if change.key is None], connection, collection)
    changes = [replace(change, key=new.get(change.given.external_id, change.key)) for change in changes]
    versions = [_version(change) for change in changes if change.new_text]
    if versions:
        await connection.execute(insert(DocumentVersion), versions)
    await _insert_chunks(connection, changes)
    return {change.given.external_id: _stored(change, standing) for change in changes}


async def _plan(
    connection: AsyncConnection, collection: CollectionRef, given: Sequence[DocumentRow], standing: _Standing
) -> list[_Change]:
    fresh = [row.external_id for row in given if row.external_id not in standing]
    before = await _last_versions(connection, collection, fresh)
    first_seq, now = await next_seq(connection, collection, len(given)) - len(given) + 1, datetime.now(UTC)
    changes = []
    for seq, document in enumerate(given, start=first_seq):
        row = standing.get(document.external_id)
        if row is None:
            version = before.get(hash_id(document.external_id), 0) + 1
            changes.append(_Change(document, None, version, True, seq, now))
        else:
            new_text = _text_differs(row, document)
            changes.append(_Change(document, row.id, row.version + new_text, new_text, seq, now))
    return changes


async def _last_versions(
    connection: AsyncConnection, collection: CollectionRef, external_ids: Sequence[str]
) -> dict[str, int]:
    """Id hash to last version, of those of the documents that were deleted before."""
    columns = (Tombstone.external_id_hash, func.max(Tombstone.last_version).label("last_version"))
    grouped = select(*columns).where(Tombstone.collection_id == collection.id).group_by(columns[0])
    found: dict[str, int] = {}
    for part in parts_of([hash_id(external_id) for external_id in external_ids]):
        rows = await connection.execute(grouped.where(Tombstone.external_id_hash.in_(part)))
        found |= {row.external_id_hash: row.last_version for row in rows}
    return found


async def _replace(changes: Sequence[_Change], connection: AsyncConnection) -> None:
    if not changes:
        return
    for part in parts_of([change.key for change in changes]):
        await connection.execute(delete(Chunk).where(Chunk.document_id.in_(part)))
    statement = update(Document).where(Document.id == bindparam("key"))
    await connection.execute(statement, [{**_columns(change), "key": change.key} for change in changes])


async def _insert(
    changes: Sequence[_Change], connection: AsyncConnection, collection: CollectionRef
) -> dict[str, int]:
    """External id to the key of its new row."""
    if not changes:
        return {}
    rows = [
        {
            **_columns(change),
            "collection_id": collection.id,
            "external_id": change.given.external_id,
            "created_at": change.now,
        }
        for change in changes
    ]
    inserted = await connection.execute(insert(Document).returning(Document.external_id, Document.id), rows)
    return {row.external_id: row.id for row in inserted}


async def _insert_chunks(connection: AsyncConnection, changes: Sequence[_Change]) -> None:
    rows = [row for change in changes for row in _chunks(change)]
    if not rows:
        return
    columns = (Chunk.id, Chunk.document_id, Chunk.ordinal)
    inserted = await connection.execute(insert(Chunk).returning(*columns), rows)
    given = {change.key: change.given for change in changes}
    vectors = [
        {
            "chunk_id": row.id,
            "model_id": given[row.document_id].model_id,
            "data": pack_vector(given[row.document_id].vectors[row.ordinal]),
        }
        for row in inserted
    ]
    await connection.execute(insert(Vector), vectors)


def _ids(given: Sequence[DocumentRow]) -> list[str]:
    return [row.external_id for row in given]


def _text_differs(row: Row[*tuple[Any, ...]], given: DocumentRow) -> bool:
    stands = (row.content_hash, row.original_hash, row.media_type)
    return stands != (given.content_hash, given.original_hash, given.media_type)


def _stored(change: _Change, standing: _Standing) -> Stored:
    status = ItemStatus.UPDATED if change.given.external_id in standing else ItemStatus.CREATED
    return Stored(status, change.version, len(change.given.spans))


def _columns(change: _Change) -> dict[str, Any]:
    given = change.given
    return {
        "version": change.version,
        "fingerprint": given.fingerprint,
        "seq": change.seq,
        "chunk_count": len(given.spans),
        "title": given.title,
        "meta": dict(given.metadata),
        "outline": dict(given.outline),
        "updated_at": change.now,
    }


def _version(change: _Change) -> dict[str, Any]:
    given = change.given
    return {
        "document_id": change.key,
        "version": change.version,
        "media_type": given.media_type,
        "filename": given.filename,
        "length": len(given.text),
        "content_hash": given.content_hash,
        "original_hash": given.original_hash,
        "created_at": change.now,
        "text": given.text,
        "original": given.original,
    }


def _chunks(change: _Change) -> list[dict[str, Any]]:
    return [
        {
            "document_id": change.key,
            "chunking": change.given.chunking,
            "ordinal": ordinal,
            "start": span.start,
            "end": span.end,
            "page": span.page,
            "heading_path": list(span.heading_path),
        }
        for ordinal, span in enumerate(change.given.spans)
    ]

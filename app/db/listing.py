"""Reading documents back: as they stand, as pages, as text, as the file that was sent."""

from typing import Any

from sqlalchemy import Row, Select, and_, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.marks import standing
from app.db.models import Document, DocumentVersion
from app.services.types import DocumentInfo
from embeddings.errors import NotFound

_CURRENT = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)
_INFO = (
    Document.external_id,
    Document.version,
    Document.title,
    Document.chunk_count,
    Document.meta,
    Document.created_at,
    Document.updated_at,
    DocumentVersion.media_type,
    DocumentVersion.filename,
    DocumentVersion.length,
    DocumentVersion.content_hash,
)


async def find_document(
    connection: AsyncConnection, collection: CollectionRef, external_id: str
) -> DocumentInfo:
    """One document. Raises NotFound."""
    statement = _documents(collection).where(Document.external_id == external_id)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise no_such_document(collection, external_id)
    return _info(row)


async def list_documents(
    connection: AsyncConnection, collection: CollectionRef, limit: int, after: str | None
) -> list[DocumentInfo]:
    """Up to `limit` documents in the order of their ids, those after the id `after`."""
    statement = _documents(collection).order_by(Document.external_id).limit(limit)
    if after is not None:
        statement = statement.where(Document.external_id > after)
    return [_info(row) for row in await connection.execute(statement)]


async def find_text(
    connection: AsyncConnection, collection: CollectionRef, external_id: str, version: int | None
) -> Row[*tuple[Any, ...]]:
    """`version` and `text` of one version, the current one when None. Raises NotFound."""
    columns = (DocumentVersion.version, DocumentVersion.text)
    return await _find_version(connection, collection, external_id, version, columns)


async def find_original(
    connection: AsyncConnection, collection: CollectionRef, external_id: str, version: int | None
) -> Row[*tuple[Any, ...]]:
    """One version with its `original`, and its `text` only when there is none. Raises NotFound."""
    given_as_text = case((DocumentVersion.original.is_(None), DocumentVersion.text)).label("text")
    columns = (
        DocumentVersion.version,
        DocumentVersion.media_type,
        DocumentVersion.filename,
        DocumentVersion.original,
        given_as_text,
    )
    return await _find_version(connection, collection, external_id, version, columns)


def no_such_document(collection: CollectionRef, external_id: str) -> NotFound:
    """The error for an id that no document of the collection has."""
    return NotFound(
        f"there is no document {external_id!r} in the collection {collection.name!r}",
        field="id",
        found=external_id,
        expected="the id of a document",
        next_step="list the documents of the collection",
    )


def _documents(collection: CollectionRef) -> Select[*tuple[Any, ...]]:
    joined = select(*_INFO).join_from(Document, DocumentVersion, _CURRENT)
    return joined.where(Document.collection_id == collection.id, standing())


async def _find_version(
    connection: AsyncConnection,
    collection: CollectionRef,
    external_id: str,
    version: int | None,
    columns: tuple[Any, ...],
) -> Row[*tuple[Any, ...]]:
    document = await find_document(connection, collection, external_id)
    wanted = document.version if version is None else version
    statement = (
        select(*columns)
        .join_from(DocumentVersion, Document, DocumentVersion.document_id == Document.id)
        .where(Document.collection_id == collection.id, Document.external_id == external_id)
        .where(DocumentVersion.version == wanted, standing())
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFound(
            f"the document {external_id!r} has no version {wanted}",
            field="version",
            found=str(wanted),
            expected=f"a version up to {document.version}",
            next_step="leave the version out to get the current one",
        )
    return row


def _info(row: Row[*tuple[Any, ...]]) -> DocumentInfo:
    return DocumentInfo(
        id=row.external_id,
        version=row.version,
        title=row.title,
        media_type=row.media_type,
        filename=row.filename,
        length=row.length,
        chunks=row.chunk_count,
        metadata=row.meta,
        content_hash=row.content_hash,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )

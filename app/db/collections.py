"""Rows of collections."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.marks import standing
from app.db.models import Collection, Document, GoldenQuery, Release
from app.services.release_types import FAISS
from app.services.types import CollectionInfo, CollectionSettings
from embeddings.errors import NotFound
from generation.causal.prompt_template import PromptTemplate
from retrieval.types import Fusion


@dataclass(frozen=True, slots=True)
class CollectionRef:
    """A collection as other tables know it. last_seq: number of its latest write."""

    id: int
    name: str
    settings: CollectionSettings
    last_seq: int


_COLUMNS = (
    Collection.id,
    Collection.name,
    Collection.chunk_max_tokens,
    Collection.chunk_overlap_tokens,
    Collection.refusal_threshold,
    Collection.fusion,
    Collection.prompt,
    Collection.keep_conversations,
    Collection.last_seq,
    Collection.created_at,
    Collection.updated_at,
)
_EXISTS = Collection.deleted_at.is_(None)


async def find_collection(connection: AsyncConnection, name: str) -> CollectionRef:
    """The collection of this name. Raises NotFound."""
    statement = select(*_COLUMNS).where(Collection.name == name, _EXISTS)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise no_such_collection(name)
    return to_reference(row)


async def present_state(connection: AsyncConnection, collection: CollectionRef) -> CollectionRef:
    """The same collection as this connection sees it. Raises NotFound, also when another took over the
    name.
    """
    statement = select(*_COLUMNS).where(Collection.id == collection.id, _EXISTS)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise no_such_collection(collection.name)
    return to_reference(row)


async def last_seq_of(connection: AsyncConnection, collection_id: int) -> int:
    """The number of a collection's latest write. Raises NotFound when the collection is no more."""
    seq = await connection.scalar(select(Collection.last_seq).where(Collection.id == collection_id))
    if seq is None:
        raise NotFound("the collection was deleted meanwhile", field="collection", found="no such collection")
    return seq


async def all_collections(connection: AsyncConnection) -> Sequence[CollectionRef]:
    """Every collection, in the order of their making."""
    rows = await connection.execute(select(*_COLUMNS).where(_EXISTS).order_by(Collection.id))
    return [to_reference(row) for row in rows]


async def next_seq(connection: AsyncConnection, collection: CollectionRef, count: int = 1) -> int:
    """Take the collection's next `count` sequence numbers; returns the last of them.

    Raises NotFound when the collection has been deleted.
    """
    statement = (
        update(Collection)
        .where(Collection.id == collection.id, _EXISTS)
        .values(last_seq=Collection.last_seq + count, updated_at=datetime.now(UTC))
        .returning(Collection.last_seq)
    )
    seq = (await connection.execute(statement)).scalar_one_or_none()
    if seq is None:
        raise no_such_collection(collection.name)
    return seq


async def hide_collection(connection: AsyncConnection, collection: CollectionRef) -> None:
    """Delete a collection for everybody at once. Its rows go later, in the background; its name is free."""
    for table in (Release, GoldenQuery):
        await connection.execute(delete(table).where(table.collection_id == collection.id))
    # No collection can be given a name with a slash.
    values = {"deleted_at": datetime.now(UTC), "name": f"deleted/{collection.id}", "release_id": None}
    await connection.execute(update(Collection).where(Collection.id == collection.id).values(values))


async def describe_collections(
    connection: AsyncConnection, name: str | None = None
) -> tuple[CollectionInfo, ...]:
    """Collections with their counts, by name; only the one of this name when it is given."""
    statement = _counted() if name is None else _counted().where(Collection.name == name)
    return tuple(_info(row) for row in await connection.execute(statement))


def collection_columns() -> tuple[Any, ...]:
    """What `to_reference` needs of a row."""
    return _COLUMNS


def to_reference(row: Row[*tuple[Any, ...]]) -> CollectionRef:
    """The collection of a row that has the columns of `collection_columns`."""
    return CollectionRef(row.id, row.name, _settings(row), row.last_seq)


def _settings(row: Row[*tuple[Any, ...]]) -> CollectionSettings:
    fusion = None if row.fusion is None else msgspec.convert(row.fusion, Fusion)
    prompt = None if row.prompt is None else msgspec.convert(row.prompt, PromptTemplate)
    sizes = row.chunk_max_tokens, row.chunk_overlap_tokens
    return CollectionSettings(*sizes, row.refusal_threshold, fusion, prompt, row.keep_conversations)


def no_such_collection(name: str) -> NotFound:
    """The error for a name that no collection has."""
    return NotFound(
        f"there is no collection {name!r}",
        field="collection",
        found=name,
        expected="the name of a collection",
        next_step="list the collections, or create this one",
    )


def _counted() -> Select[*tuple[Any, ...]]:
    documents = func.count(Document.id).label("documents")
    chunks = func.coalesce(func.sum(Document.chunk_count), 0).label("chunks")
    owned = and_(Document.collection_id == Collection.id, standing())
    serving = Release.id == Collection.release_id
    joined = select(*_COLUMNS, Release.engine, documents, chunks).outerjoin(Release, serving)
    counted = joined.outerjoin(Document, owned).where(_EXISTS)
    return counted.group_by(Collection.id, Release.engine).order_by(Collection.name)


def _info(row: Row[*tuple[Any, ...]]) -> CollectionInfo:
    return CollectionInfo(
        name=row.name,
        settings=_settings(row),
        documents=row.documents,
        chunks=row.chunks,
        last_seq=row.last_seq,
        created_at=row.created_at,
        updated_at=row.updated_at,
        engine=row.engine or FAISS,
    )

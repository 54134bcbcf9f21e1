"""Rows of feedback."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import CollectionRef
from app.db.listing import find_document
from app.db.marks import standing
from app.db.models import Document, DocumentVersion
from app.db.models import Feedback as FeedbackRow
from app.services.feedback_types import Feedback, FeedbackInput, FeedbackKind
from embeddings.errors import NotFound


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """The version of a document that a verdict is about. length: of its text, in code points."""

    key: int
    version: int
    length: int


async def find_shown(
    connection: AsyncConnection, collection: CollectionRef, external_id: str, version: int | None
) -> ShownVersion:
    """A version of a document that stands, the current one when None. Raises NotFound."""
    present = await find_document(connection, collection, external_id)
    wanted = present.version if version is None else version
    statement = (
        select(Document.id, DocumentVersion.version, DocumentVersion.length)
        .join(DocumentVersion, DocumentVersion.document_id == Document.id)
        .where(Document.collection_id == collection.id, Document.external_id == external_id)
        .where(DocumentVersion.version == wanted)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFound(
            f"the document {external_id!r} has no version {wanted}",
            field="version",
            found=str(wanted),
            expected=f"a version up to {present.version}",
            next_step="send the version that the search told",
        )
    return ShownVersion(row.id, row.version, row.length)


async def add_feedback(
    connection: AsyncConnection,
    collection: CollectionRef,
    shown: ShownVersion,
    given: FeedbackInput,
    release: int,
) -> Feedback:
    """Keep a verdict; one that says the same of the same place is replaced."""
    place = {"document_id": shown.key, "version": shown.version, "start": given.start, "end": given.end}
    values = {**place, "query": given.query, "kind": given.kind}
    same = (getattr(FeedbackRow, name).is_not_distinct_from(value) for name, value in values.items())
    await connection.execute(delete(FeedbackRow).where(*same))
    row = {**values, "collection_id": collection.id, "release": release, "created_at": datetime.now(UTC)}
    made = await connection.execute(insert(FeedbackRow).values(row).returning(FeedbackRow.id))
    listed = await connection.execute(_listed(collection.id).where(FeedbackRow.id == made.scalar_one()))
    return _feedback(listed.one())


async def list_feedback(
    connection: AsyncConnection,
    collection_id: int,
    limit: int,
    after: int = 0,
    kind: FeedbackKind | None = None,
) -> list[Feedback]:
    """Up to `limit` verdicts above the id `after`, in the order of their making."""
    statement = _listed(collection_id).where(FeedbackRow.id > after).order_by(FeedbackRow.id).limit(limit)
    if kind is not None:
        statement = statement.where(FeedbackRow.kind == kind)
    return [_feedback(row) for row in await connection.execute(statement)]


async def count_feedback(connection: AsyncConnection, collection_id: int) -> dict[FeedbackKind, int]:
    """How many verdicts of each kind there are on documents that stand, of kinds that somebody gave."""
    statement = (
        select(FeedbackRow.kind, func.count())
        .join(Document, Document.id == FeedbackRow.document_id)
        .where(FeedbackRow.collection_id == collection_id, standing())
        .group_by(FeedbackRow.kind)
    )
    return {FeedbackKind(kind): count for kind, count in await connection.execute(statement)}


async def remove_feedback(connection: AsyncConnection, collection_id: int, ids: Sequence[int]) -> int:
    """Remove verdicts by their ids; returns how many there were."""
    wanted = (FeedbackRow.collection_id == collection_id, FeedbackRow.id.in_(ids))
    return (await connection.execute(delete(FeedbackRow).where(*wanted))).rowcount


async def read_shown_text(connection: AsyncConnection, collection_id: int, given: Feedback) -> str | None:
    """The text that a verdict with a span is about; None when the document is gone."""
    start, end = given.start or 0, given.end or 0
    # SQLite and PostgreSQL both count code points in substr, from 1.
    statement = (
        select(func.substr(DocumentVersion.text, start + 1, end - start))
        .join(Document, DocumentVersion.document_id == Document.id)
        .where(Document.collection_id == collection_id, Document.external_id == given.document_id)
        .where(DocumentVersion.version == given.version, standing())
    )
    return (await connection.execute(statement)).scalar_one_or_none()


def _listed(collection_id: int) -> Select[*tuple[Any, ...]]:
    """What is listed: verdicts on documents that stand."""
    columns = (
        FeedbackRow.id,
        FeedbackRow.query,
        FeedbackRow.kind,
        Document.external_id.label("document_id"),
        FeedbackRow.version,
        FeedbackRow.start,
        FeedbackRow.end,
        FeedbackRow.release,
        FeedbackRow.created_at,
    )
    joined = select(*columns).join(Document, Document.id == FeedbackRow.document_id)
    return joined.where(FeedbackRow.collection_id == collection_id, standing())


def _feedback(row: Row[*tuple[Any, ...]]) -> Feedback:
    fields = {name: getattr(row, name) for name in Feedback.__dataclass_fields__}
    return Feedback(**{**fields, "kind": FeedbackKind(fields["kind"])})

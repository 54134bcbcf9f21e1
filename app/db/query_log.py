"""The table of what was asked, and its rows."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from app.db.column_types import Id, Key, text
from app.db.models import NEVER_REUSE_IDS, Collection, Model

PAGE = 1000


class QueryLogRow(Model):
    """A question to a collection. It goes with the collection.

    kind: search or answer. question, filter: None where only hashes are kept, and after a redaction.
    question_hash: keyed, hex, so that the same question can be counted. hits: ids, spans and scores of what
    was found, best first. status: of an answer; None for a search, and for an answer that was broken off.
    """

    __tablename__ = "query_log"
    __table_args__ = (
        Index("ix_query_log_collection_id", "collection_id", "id"),
        Index("ix_query_log_asked_at", "asked_at"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[Id]
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    asked_at: Mapped[datetime]
    kind: Mapped[str]
    question: Mapped[str | None]
    question_hash: Mapped[str] = mapped_column(text(64))
    filter: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    mode: Mapped[str]
    release: Mapped[int | None]
    hits: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    status: Mapped[str | None]
    took_ms: Mapped[float]
    request_id: Mapped[str | None] = mapped_column(text(64))


@dataclass(frozen=True, slots=True)
class LoggedQuery:
    """A row as it is told. collection: its name."""

    id: int
    asked_at: datetime
    collection: str
    kind: str
    question: str | None
    question_hash: str
    filter: Mapping[str, Any] | None
    mode: str
    release: int | None
    hits: Sequence[Mapping[str, Any]]
    status: str | None
    took_ms: float
    request_id: str | None


async def add_queries(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Keep rows, whose `collection` is a name. Returns how many; those of collections that were deleted
    meanwhile are left out.
    """
    names = {row["collection"] for row in rows}
    known = select(Collection.name, Collection.id).where(
        Collection.name.in_(names), Collection.deleted_at.is_(None)
    )
    ids = {row.name: row.id for row in await connection.execute(known)}
    kept = [
        {**{key: value for key, value in row.items() if key != "collection"}, "collection_id": ids[name]}
        for row in rows
        if (name := row["collection"]) in ids
    ]
    if kept:
        await connection.execute(insert(QueryLogRow), kept)
    return len(kept)


async def read_queries(
    connection: AsyncConnection, collection_id: int | None = None
) -> AsyncIterator[LoggedQuery]:
    """All rows in the order of their asking; None: of all collections."""
    after = 0
    while page := (await connection.execute(_page(collection_id, after))).all():
        for row in page:
            yield _logged(row)
        after = page[-1].id


async def count_queries(connection: AsyncConnection, before: datetime | None = None) -> int:
    """How many rows there are. before: of those that were asked earlier than this; None: of all."""
    statement = select(func.count()).select_from(QueryLogRow).where(*_chosen(None, before))
    return (await connection.execute(statement)).scalar_one()


async def remove_queries(
    connection: AsyncConnection, collection_id: int | None = None, before: datetime | None = None
) -> int:
    """Remove rows; returns how many. before: asked earlier than this; None: whenever."""
    statement = delete(QueryLogRow).where(*_chosen(collection_id, before))
    return (await connection.execute(statement)).rowcount


async def redact_queries(
    connection: AsyncConnection, collection_id: int | None = None, containing: str | None = None
) -> int:
    """Take the words of questions and filters out of rows; returns of how many. containing: only of those
    whose question or filter holds this text, whatever its case; None: of all.
    """
    rows = select(QueryLogRow.id, QueryLogRow.question, QueryLogRow.filter).where(
        QueryLogRow.question.is_not(None), *_chosen(collection_id, None)
    )
    found = await connection.execute(rows)
    ids = [row.id for row in found if containing is None or _holds(row, containing.casefold())]
    for first in range(0, len(ids), PAGE):
        chosen = QueryLogRow.id.in_(ids[first : first + PAGE])
        await connection.execute(update(QueryLogRow).where(chosen).values(question=None, filter=None))
    return len(ids)


def _holds(row: Row[*tuple[Any, ...]], folded: str) -> bool:
    # SQLite folds the case of ASCII letters only.
    return folded in row.question.casefold() or folded in str(row.filter or "").casefold()


def _chosen(collection_id: int | None, before: datetime | None) -> list[Any]:
    chosen: list[Any] = []
    if collection_id is not None:
        chosen.append(QueryLogRow.collection_id == collection_id)
    if before is not None:
        chosen.append(QueryLogRow.asked_at < before)
    return chosen


def _page(collection_id: int | None, after: int) -> Select[*tuple[Any, ...]]:
    statement = (
        select(QueryLogRow.__table__, Collection.name.label("collection"))
        .join(Collection, Collection.id == QueryLogRow.collection_id)
        .where(QueryLogRow.id > after, Collection.deleted_at.is_(None), *_chosen(collection_id, None))
    )
    return statement.order_by(QueryLogRow.id).limit(PAGE)


def _logged(row: Row[*tuple[Any, ...]]) -> LoggedQuery:
    return LoggedQuery(**{name: getattr(row, name) for name in LoggedQuery.__dataclass_fields__})

"""Kept conversations: their tables and rows.

    collections ── conversations ── turns

An answer's quotes are not kept: they are read from the documents, so that none outlives its document.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import JSON

from app.db.column_types import Id, Key
from app.db.marks import standing
from app.db.models import NEVER_REUSE_IDS, Document, DocumentVersion, Model
from app.services.conversation_types import Asker, ConversationInfo, KeptCitation, NewTurn, Turn
from generation.types import AnswerStatus


class ConversationRow(Model):
    """Questions that followed one another. owner: the identity of whoever asked; None: a caller without one.

    updated_at: of its latest turn.
    """

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_collection_id", "collection_id", "id"), NEVER_REUSE_IDS)

    id: Mapped[Id]
    collection_id: Mapped[Key] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    owner: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class TurnRow(Model):
    """One question and what was answered.

    ordinal: starts at 1. citations: number, document_id (external), version, start, end, title and page.
    """

    __tablename__ = "turns"

    conversation_id: Mapped[Key] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    question: Mapped[str]
    question_used: Mapped[str]
    status: Mapped[str]
    answer: Mapped[str | None]
    citations: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    release: Mapped[int]
    created_at: Mapped[datetime]


async def find_conversation(
    connection: AsyncConnection, collection_id: int, asker: Asker, conversation_id: int
) -> ConversationInfo | None:
    """A conversation that the asker may see; None when there is none of this id."""
    statement = _described(collection_id, asker).where(ConversationRow.id == conversation_id)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _info(row)


async def list_conversations(
    connection: AsyncConnection, collection_id: int, asker: Asker, limit: int, after: int | None
) -> list[ConversationInfo]:
    """Up to `limit` conversations, the newest first, that are older than the one with the id `after`."""
    statement = _described(collection_id, asker).order_by(ConversationRow.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(ConversationRow.id < after)
    return [_info(row) for row in await connection.execute(statement)]


async def begin_conversation(connection: AsyncConnection, collection_id: int, asker: Asker) -> int:
    """Make an empty conversation; returns its id."""
    now = datetime.now(UTC)
    row = {"collection_id": collection_id, "owner": asker.identity, "created_at": now, "updated_at": now}
    made = await connection.execute(insert(ConversationRow).values(row).returning(ConversationRow.id))
    return made.scalar_one()


async def add_turn(connection: AsyncConnection, conversation_id: int, turn: NewTurn) -> None:
    """Keep a turn behind the others of its conversation."""
    now = datetime.now(UTC)
    own = TurnRow.conversation_id == conversation_id
    latest = await connection.scalar(select(func.max(TurnRow.ordinal)).where(own))
    row = {
        "conversation_id": conversation_id,
        "ordinal": (latest or 0) + 1,
        "question": turn.question,
        "question_used": turn.question_used,
        "status": turn.status.value,
        "answer": turn.answer,
        "citations": [_without_quote(citation) for citation in turn.citations],
        "release": turn.release,
        "created_at": now,
    }
    await connection.execute(insert(TurnRow).values(row))
    touched = update(ConversationRow).where(ConversationRow.id == conversation_id).values(updated_at=now)
    await connection.execute(touched)


async def latest_turns(connection: AsyncConnection, conversation_id: int, limit: int) -> list[Turn]:
    """The last `limit` turns, the oldest first, without their citations."""
    own = select(TurnRow).where(TurnRow.conversation_id == conversation_id)
    rows = (await connection.execute(own.order_by(TurnRow.ordinal.desc()).limit(limit))).all()
    return [_turn(row, ()) for row in reversed(rows)]


async def read_turns(connection: AsyncConnection, collection_id: int, conversation_id: int) -> list[Turn]:
    """Every turn, the oldest first, with the quotes as the documents hold them."""
    own = select(TurnRow).where(TurnRow.conversation_id == conversation_id)
    rows = (await connection.execute(own.order_by(TurnRow.ordinal))).all()
    return [_turn(row, await _cited(connection, collection_id, row.citations)) for row in rows]


async def remove_conversations(
    connection: AsyncConnection, collection_id: int, asker: Asker, conversation_id: int | None = None
) -> int:
    """Remove one conversation, or all that the asker may see; returns how many there were."""
    statement = delete(ConversationRow).where(_visible(collection_id, asker))
    if conversation_id is not None:
        statement = statement.where(ConversationRow.id == conversation_id)
    return (await connection.execute(statement)).rowcount


def _visible(collection_id: int, asker: Asker) -> ColumnElement[bool]:
    own = ConversationRow.collection_id == collection_id
    if asker.sees_all:
        return own
    return own & ConversationRow.owner.is_not_distinct_from(asker.identity)


def _described(collection_id: int, asker: Asker) -> Select[*tuple[Any, ...]]:
    """Conversations with their first questions and counts. One without a turn was never answered."""
    own = TurnRow.conversation_id == ConversationRow.id
    turns = select(func.count()).where(own).scalar_subquery()
    first = select(TurnRow.question).where(own, TurnRow.ordinal == 1)
    columns = (ConversationRow.id, ConversationRow.created_at, ConversationRow.updated_at)
    described = select(*columns, turns.label("turns"), first.scalar_subquery().label("title"))
    return described.where(_visible(collection_id, asker))


def _info(row: Row[*tuple[Any, ...]]) -> ConversationInfo:
    return ConversationInfo(row.id, row.title or "", row.turns, row.created_at, row.updated_at)


def _turn(row: Row[*tuple[Any, ...]], citations: tuple[KeptCitation, ...]) -> Turn:
    return Turn(
        number=row.ordinal,
        question=row.question,
        question_used=row.question_used,
        status=AnswerStatus(row.status),
        answer=row.answer,
        citations=citations,
        release=row.release,
        created_at=row.created_at,
    )


def _without_quote(citation: Any) -> dict[str, Any]:
    names = (name for name in KeptCitation.__dataclass_fields__ if name != "quote")
    return {name: getattr(citation, name) for name in names}


async def _cited(
    connection: AsyncConnection, collection_id: int, kept: Sequence[dict[str, Any]]
) -> tuple[KeptCitation, ...]:
    quotes = [await _quote(connection, collection_id, each) for each in kept]
    return tuple(KeptCitation(**each, quote=quote) for each, quote in zip(kept, quotes, strict=True))


async def _quote(connection: AsyncConnection, collection_id: int, cited: dict[str, Any]) -> str | None:
    start, end = cited["start"], cited["end"]
    # SQLite and PostgreSQL both count code points in substr, from 1.
    statement = (
        select(func.substr(DocumentVersion.text, start + 1, end - start))
        .join(Document, DocumentVersion.document_id == Document.id)
        .where(Document.collection_id == collection_id, Document.external_id == cited["document_id"])
        .where(DocumentVersion.version == cited["version"], standing())
    )
    return (await connection.execute(statement)).scalar_one_or_none()

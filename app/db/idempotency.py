"""Answers to writes, kept under the keys that clients gave them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.dialects import insert_or_pass
from app.db.models import IdempotencyKey
from embeddings.errors import Conflict

# Longer than any client goes on trying, and no more than a day of answers to keep.
KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A write that its client can repeat. scope: whose key it is, and for which route.

    request_hash: SHA-256, hex, of what is asked.
    """

    scope: str
    key: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was sent. body: empty for an answer without one."""

    status_code: int
    body: bytes


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer with the hash of the request that it was given to."""

    request_hash: str
    answer: Answer


async def find_answer(connection: AsyncConnection, request: KeyedRequest) -> KeptAnswer | None:
    """The answer that was given under this key, to this or another request."""
    columns = (IdempotencyKey.request_hash, IdempotencyKey.status_code, IdempotencyKey.answer)
    own = (IdempotencyKey.scope == request.scope, IdempotencyKey.key == request.key)
    statement = select(*columns).where(*own, IdempotencyKey.created_at > datetime.now(UTC) - KEPT_FOR)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else KeptAnswer(row.request_hash, Answer(row.status_code, row.answer))


async def keep_answer(connection: AsyncConnection, request: KeyedRequest, answer: Answer) -> None:
    """Keep the answer in the transaction of the write.

    Raises Conflict when another process has kept one meanwhile; the caller's transaction must not be
    committed then.
    """
    await purge_answers(connection)
    row = {
        "scope": request.scope,
        "key": request.key,
        "request_hash": request.request_hash,
        "status_code": answer.status_code,
        "answer": answer.body,
        "created_at": datetime.now(UTC),
    }
    inserting = insert_or_pass(connection, IdempotencyKey).values(row)
    # PostgreSQL counts the rows of an INSERT, but SQLAlchemy only hands the number on when it is asked to.
    kept = await connection.execute(inserting, execution_options={"preserve_rowcount": True})
    if kept.rowcount == 0:
        raise still_in_progress(request.key)


async def purge_answers(connection: AsyncConnection) -> None:
    """Forget answers that are too old."""
    expired = IdempotencyKey.created_at <= datetime.now(UTC) - KEPT_FOR
    await connection.execute(delete(IdempotencyKey).where(expired))


def still_in_progress(key: str) -> Conflict:
    """The error for a request that comes while the first one under its key is not answered yet."""
    return Conflict(
        "a request with this idempotency key is still in progress",
        field="Idempotency-Key",
        found=key,
        expected="a key whose first request was answered",
        next_step="send the same request again in a moment; it then gets the answer of the first one",
    )
